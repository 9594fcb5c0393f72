import { LogReadStalledError } from '../audit/audit-errors.js';
import type { LogReader } from '../kafka/log-reader.js';
import type { FetchedRecord } from '../kafka/fetched-record.js';
import type { OwlmqApi, OwlmqStoredRecord } from '../owlmq/owlmq-api.js';

const MAX_IDLE_READS = 20;
const WAIT_MS = 250;

/** The records of a Kafka partition from an offset up to another (exclusive), page by page. */
export async function* kafkaPages(
  reader: LogReader,
  topic: string,
  partition: number,
  from: number,
  to: number,
  signal?: AbortSignal,
): AsyncGenerator<FetchedRecord[]> {
  let offset = from;
  let idle = 0;
  while (offset < to) {
    signal?.throwIfAborted();
    const [slice] = await reader.read(topic, [{ partition, offset }], { maxWaitMs: WAIT_MS, signal });
    const next = slice?.nextOffset ?? offset;
    idle = next === offset ? idle + 1 : 0;
    if (idle > MAX_IDLE_READS) throw stalled('Kafka', topic, partition, offset, to);
    offset = next;
    yield (slice?.records ?? []).filter((record) => record.offset < to);
  }
}

/** The records of an OwlMQ partition from an offset up to another (exclusive), page by page. */
export async function* owlmqPages(
  owlmq: OwlmqApi,
  topic: string,
  partition: number,
  from: number,
  to: number,
  signal?: AbortSignal,
): AsyncGenerator<OwlmqStoredRecord[]> {
  let offset = from;
  let idle = 0;
  while (offset < to) {
    const { records } = await owlmq.read(topic, partition, offset, {
      waitMs: WAIT_MS,
      ...(signal === undefined ? {} : { signal }),
    });
    const last = records.at(-1);
    idle = last === undefined ? idle + 1 : 0;
    if (idle > MAX_IDLE_READS) throw stalled('OwlMQ', topic, partition, offset, to);
    if (last !== undefined) offset = last.offset + 1;
    yield records.filter((record) => record.offset < to);
  }
}

function stalled(leg: string, topic: string, partition: number, offset: number, to: number): LogReadStalledError {
  return new LogReadStalledError(`${leg} ${topic}/${partition}: no records at ${offset}, and ${to} was to be reached.`);
}
