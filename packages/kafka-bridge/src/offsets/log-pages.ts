import { LogReadStalledError } from '../audit/audit-errors.js';
import type { LogReader } from '../kafka/log-reader.js';
import type { FetchedRecord } from '../kafka/fetched-record.js';
import type { RecordHead } from '../contract/index.js';
import { HEADER } from '../message/headers.js';
import type { OwlmqApi, OwlmqStoredRecord } from '../owlmq/owlmq-api.js';
import type { LogPage } from './read-ranges.js';
import { signalOf } from './translate-options.js';

const MAX_IDLE_READS = 20;
const WAIT_MS = 250;
const HEADS_AT_ONCE = 10_000;
const HEADS_BYTES = 8 * 1024 * 1024;

/** The records of a Kafka partition from an offset up to another (exclusive), page by page. */
export async function* kafkaPages(
  reader: LogReader,
  topic: string,
  partition: number,
  from: number,
  to: number,
  signal?: AbortSignal,
): AsyncGenerator<LogPage<FetchedRecord>> {
  let offset = from;
  let idle = 0;
  while (offset < to) {
    signal?.throwIfAborted();
    const [slice] = await reader.read(topic, [{ partition, offset }], { maxWaitMs: WAIT_MS, signal });
    const next = slice?.nextOffset ?? offset;
    idle = next === offset ? idle + 1 : 0;
    if (idle > MAX_IDLE_READS) throw stalled('Kafka', topic, partition, offset, to);
    offset = next;
    const records = (slice?.records ?? []).filter((record) => record.offset < to);
    yield { records, next: Math.min(next, to) };
  }
}

/** The records of an OwlMQ partition from an offset up to another (exclusive), page by page. */
export function owlmqPages(
  owlmq: OwlmqApi,
  topic: string,
  partition: number,
  from: number,
  to: number,
  signal?: AbortSignal,
): AsyncGenerator<LogPage<OwlmqStoredRecord>> {
  return pagesOfOwlmq(topic, partition, from, to, async (offset, call) => {
    return (await owlmq.read(topic, partition, offset, { ...call, ...signalOf(signal) })).records;
  });
}

/** The same of their heads alone, with the header that names where a record was written first. */
export function owlmqHeads(
  owlmq: OwlmqApi,
  topic: string,
  partition: number,
  from: number,
  to: number,
  signal?: AbortSignal,
): AsyncGenerator<LogPage<RecordHead>> {
  return pagesOfOwlmq(topic, partition, from, to, async (offset, call) => {
    const options = { ...call, maxRecords: HEADS_AT_ONCE, maxBytes: HEADS_BYTES, ...signalOf(signal) };
    return (await owlmq.readHeads(topic, partition, offset, HEADER.source, options)).heads;
  });
}

async function* pagesOfOwlmq<T extends { offset: number }>(
  topic: string,
  partition: number,
  from: number,
  to: number,
  read: (offset: number, call: { waitMs: number }) => Promise<T[]>,
): AsyncGenerator<LogPage<T>> {
  let offset = from;
  let idle = 0;
  while (offset < to) {
    const records = await read(offset, { waitMs: WAIT_MS });
    const last = records.at(-1);
    idle = last === undefined ? idle + 1 : 0;
    if (idle > MAX_IDLE_READS) throw stalled('OwlMQ', topic, partition, offset, to);
    if (last !== undefined) offset = last.offset + 1;
    yield { records: records.filter((record) => record.offset < to), next: Math.min(offset, to) };
  }
}

function stalled(leg: string, topic: string, partition: number, offset: number, to: number): LogReadStalledError {
  return new LogReadStalledError(`${leg} ${topic}/${partition}: no records at ${offset}, and ${to} was to be reached.`);
}
