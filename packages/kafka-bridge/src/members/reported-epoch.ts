import { z } from 'zod';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader } from '../kafka/log-reader.js';
import { MEMBERS_TOPIC } from './member-report.js';

/** What every report has said in every version. */
const anyReport = z.looseObject({ epoch: z.number() });

/**
 * Highest epoch that any member of a migration has reported, those that left included; 0 for none. Reads the whole
 * members topic, which compaction keeps at a report or so an instance.
 *
 * @throws {UnknownTopicError} when there is no such topic.
 * @throws the reason of the signal when it was aborted.
 */
export async function highestReportedEpoch(
  connection: KafkaConnection,
  clientId: string,
  migration: string,
  signal: AbortSignal,
): Promise<number> {
  const reader = new LogReader(connection, { clientId, maxWaitMs: 500 });
  try {
    let highest = 0;
    for await (const { key, value } of reader.readToEnd(MEMBERS_TOPIC, 0, 'begin', { signal })) {
      if (value === null || key?.toString().startsWith(`${migration}/`) !== true) continue;
      highest = Math.max(highest, epochOf(value.toString()));
    }
    return highest;
  } finally {
    await reader.close();
  }
}

/** A record that is no report says nothing. */
function epochOf(text: string): number {
  try {
    return anyReport.parse(JSON.parse(text)).epoch;
  } catch {
    return 0;
  }
}
