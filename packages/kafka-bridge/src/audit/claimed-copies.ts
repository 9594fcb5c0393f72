import type { RecordHead } from '../contract/index.js';
import type { FetchedRecord } from '../kafka/fetched-record.js';
import { HEADER } from '../message/headers.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
import { isCopyOf, type ClaimedCopy } from './mirror-window.js';

/** A Kafka record that says to be the copy of the OwlMQ record at `copyOf`. */
export interface Claimant {
  record: FetchedRecord;
  id: string;
  copyOf: number;
}

const PAGE_RECORDS = 500;

/** What a Kafka record says of itself, for a comparison with what it says to be a copy of. */
export function claimOf(record: FetchedRecord, id: string): ClaimedCopy {
  const { offset, payloadBytes: bytes, timestamp, appendTime } = record;
  return { id, offset, bytes, timestamp: appendTime ? undefined : timestamp };
}

/** Those of a partition's records that say to be copies of records which OwlMQ has had, and are not. */
export async function findStrangers(
  owlmq: OwlmqApi,
  topic: string,
  partition: number,
  claimants: readonly Claimant[],
  signal: AbortSignal | undefined,
): Promise<{ record: FetchedRecord; id: string }[]> {
  const strangers: { record: FetchedRecord; id: string }[] = [];
  const call = { maxRecords: PAGE_RECORDS, ...(signal === undefined ? {} : { signal }) };
  let heads = new Map<number, RecordHead>();
  for (const { record, id, copyOf } of [...claimants].sort((one, other) => one.copyOf - other.copyOf)) {
    if (!heads.has(copyOf)) {
      const read = await owlmq.readHeads(topic, partition, copyOf, HEADER.source, call);
      heads = new Map(read.heads.map((head) => [head.offset, head]));
    }
    const head = heads.get(copyOf);
    const bytes = Math.max(0, head?.keyLength ?? 0) + Math.max(0, head?.valueLength ?? 0);
    if (head === undefined || !isCopyOf(claimOf(record, id), { ...head, bytes })) strangers.push({ record, id });
  }
  return strangers;
}
