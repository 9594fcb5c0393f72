import type { LogReader } from '../kafka/log-reader.js';
import type { LogRecord } from '../kafka/log-record.js';
import { readProvenance } from '../message/headers.js';
import type { PreflightRequest } from '../playbook/preflight-request.js';
import type { Finding } from './finding.js';

/** Records of a topic that are looked at for producers without the library. */
const RECENT_RECORDS = 500;

/** Reads the newest records of each topic and looks for the library's headers. */
export async function producerFindings(
  { forward }: PreflightRequest,
  topics: readonly string[],
  reader: LogReader,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const topic of topics) {
    const bounds = await reader.bounds(topic);
    const share = Math.max(1, Math.floor(RECENT_RECORDS / Math.max(1, bounds.length)));
    let read = 0;
    let foreign = 0;
    for (const { partition, beginOffset, endOffset } of bounds) {
      const records = await newestRecords(
        reader,
        topic,
        partition,
        Math.max(beginOffset, endOffset - share),
        endOffset,
      );
      read += records.length;
      foreign += records.filter(({ headers }) => readProvenance(headers).id === undefined).length;
    }
    if (foreign > 0) findings.push(foreignFinding(topic, foreign, read, forward.includes(topic)));
  }
  return findings;
}

async function newestRecords(
  reader: LogReader,
  topic: string,
  partition: number,
  from: number,
  end: number,
): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  for (let offset = from; offset < end;) {
    const [slice] = await reader.read(topic, [{ partition, offset }], { maxWaitMs: 100 });
    // Nothing where the bounds say that there is something: retention, or a control record at the end.
    if (slice === undefined || slice.nextOffset <= offset) break;
    records.push(...slice.records.filter((record) => record.offset < end));
    offset = slice.nextOffset;
  }
  return records;
}

/** What is said of producers without the library that wrote lately. */
function foreignFinding(topic: string, foreign: number, read: number, forwarded: boolean): Finding {
  const what = `${foreign} of the last ${read} records of ${topic} are of producers that do not use the library`;
  return forwarded
    ? {
        kind: 'warning',
        what: `${what}: the bridge copies what they write, as forward says.`,
        todo: `They have to be moved or stopped before the decommission: from there on what they write to Kafka is lost.`,
      }
    : {
        kind: 'warning',
        what: `${what}, and ${topic} is not in forward: as long as they write there is no cutover.`,
        todo: `Move them to DualPublisher before the cutover, or start with ${topic} in forward.`,
      };
}
