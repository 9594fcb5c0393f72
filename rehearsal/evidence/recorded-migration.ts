import { QueryNotRegisteredError, WorkflowNotFoundError, type Client, type WorkflowHandle } from '@temporalio/client';
import { defaultPayloadConverter, type PayloadCodec } from '@temporalio/common';
import { decodePayloads } from '../../src/codec/decode-payloads.js';
import type { MigrationStatus } from '../../src/workflows/status.js';

const STATUS_WITHIN_MS = 15_000;
/** A run of default length has one; each continues the one before. */
const MOST_RUNS = 100;

type HistoryEvents = NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>;
export type HistoryEvent = HistoryEvents[number];
type Payload = Parameters<typeof defaultPayloadConverter.fromPayload>[0];

/** A migration as Temporal knows it: the histories of its runs, oldest first, and its last status. */
export interface RecordedMigration {
  workflowId: string;
  runs: { runId: string; events: HistoryEvents }[];
  /** Null where neither the history nor a worker says it; then `noStatus` says why. */
  status: MigrationStatus | null;
  noStatus?: string;
}

/** There is nothing to make a report of. */
export class NoSuchMigrationError extends Error {
  override readonly name = 'NoSuchMigrationError';
}

/**
 * Reads what Temporal has of a migration: every run that it continued as new, and the status, which a run that has
 * completed has in its history. Of any other a worker has to say it.
 *
 * @param codec where payloads are encrypted: what the client converts with, too.
 * @throws {NoSuchMigrationError}
 */
export async function readMigration(
  client: Client,
  workflowId: string,
  codec?: PayloadCodec,
): Promise<RecordedMigration> {
  const runs: RecordedMigration['runs'] = [];
  for (let runId: string | undefined; runs.length < MOST_RUNS;) {
    const handle = client.workflow.getHandle(workflowId, runId);
    const { events } = await handle.fetchHistory().catch((error: unknown) => {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      // Retention may have taken the older ones.
      return { events: null };
    });
    const started = events?.[0]?.workflowExecutionStartedEventAttributes;
    if (events === undefined || events === null || started === undefined || started === null) break;
    if (codec !== undefined) await decodePayloads(events, codec);
    runs.unshift({ runId: started.originalExecutionRunId ?? runId ?? '', events });
    if (!started.continuedExecutionRunId) break;
    runId = started.continuedExecutionRunId;
  }
  const last = runs.at(-1)?.events.at(-1);
  if (last === undefined) throw new NoSuchMigrationError(`There is no workflow ${workflowId} in this namespace.`);
  const result = last.workflowExecutionCompletedEventAttributes?.result?.payloads?.[0];
  if (result !== undefined) return { workflowId, runs, status: decode(result) as MigrationStatus };
  try {
    const status = await client.withDeadline(Date.now() + STATUS_WITHIN_MS, () =>
      client.workflow.getHandle(workflowId).query<MigrationStatus>('status'),
    );
    return { workflowId, runs, status };
  } catch (error) {
    if (error instanceof QueryNotRegisteredError)
      throw new NoSuchMigrationError(`Workflow ${workflowId} is no migration.`);
    const noStatus = `no worker has told the status: ${error instanceof Error ? error.message : String(error)}`;
    return { workflowId, runs, status: null, noStatus };
  }
}

/** What a payload holds; undefined where there is none, or where it is of another converter. */
export function decode(payload: Payload | null | undefined): unknown {
  if (payload === null || payload === undefined) return undefined;
  try {
    return defaultPayloadConverter.fromPayload(payload);
  } catch {
    return undefined;
  }
}
