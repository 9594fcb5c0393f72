import { setTimeout as delay } from 'node:timers/promises';
import type { FetchedRecord } from '../kafka/fetched-record.js';
import { formatPosition, HEADER, VIA } from '../message/headers.js';
import type { OwlmqApi, OwlmqRecord, PartitionOffset } from '../owlmq/owlmq-api.js';
import { AuditRepairError } from './audit-errors.js';

const LOOKUP_BATCH = 500;
const PUBLISH_BATCH = 200;
const PUBLISH_BATCH_BYTES = 512 * 1024;
const PUBLISH_ATTEMPTS = 4;
const REFUSALS_SHOWN = 10;

/** Where messages are on OwlMQ, by id; those that the topic does not have are absent. */
export async function lookupAll(
  owlmq: OwlmqApi,
  topic: string,
  ids: Iterable<string>,
  signal?: AbortSignal,
): Promise<Map<string, PartitionOffset>> {
  const places = new Map<string, PartitionOffset>();
  const distinct = [...new Set(ids)];
  for (let start = 0; start < distinct.length; start += LOOKUP_BATCH) {
    const batch = distinct.slice(start, start + LOOKUP_BATCH);
    const found = await owlmq.lookup(topic, batch, signal === undefined ? {} : { signal });
    for (const [index, id] of batch.entries()) {
      const place = found[index];
      if (place !== undefined) places.set(id, place);
    }
  }
  return places;
}

/** A Kafka record that OwlMQ lacks, with its message id. */
export interface MissingCopy {
  id: string;
  record: FetchedRecord;
  /** Whether its producer does not use the library. */
  foreign: boolean;
}

/** Where a copy is now, and whether this call wrote it. */
export interface WrittenCopy extends PartitionOffset {
  /** False when someone else's copy arrived first. */
  written: boolean;
}

/**
 * Writes copies of Kafka records of one partition to OwlMQ, in order. Message ids make it idempotent: a copy that
 * arrived meanwhile is answered with its place.
 *
 * @throws {AuditRepairError} when OwlMQ refuses records for good, or still after a few attempts.
 */
export async function copyToOwlmq(
  owlmq: OwlmqApi,
  topic: string,
  partition: number,
  missing: readonly MissingCopy[],
  signal?: AbortSignal,
): Promise<Map<string, WrittenCopy>> {
  const places = new Map<string, WrittenCopy>();
  for (const batch of batches(missing)) {
    let pending = batch;
    for (let attempt = 1; pending.length > 0; attempt++) {
      const answers = await owlmq.publish(topic, pending.map(owlmqCopy), signal === undefined ? {} : { signal });
      const refused: (MissingCopy & { reason: string; retriable: boolean })[] = [];
      for (const [index, copy] of pending.entries()) {
        const answer = answers[index];
        if (answer?.ok === true) {
          const written = !answer.duplicate || places.get(copy.id)?.written === true;
          places.set(copy.id, { partition: answer.partition, offset: answer.offset, written });
        } else {
          refused.push({ ...copy, reason: answer?.detail ?? 'no answer', retriable: answer?.retriable ?? true });
        }
      }
      if (refused.length > 0 && (attempt === PUBLISH_ATTEMPTS || refused.some(({ retriable }) => !retriable))) {
        throw new AuditRepairError(
          'owlmq',
          topic,
          partition,
          refused.slice(0, REFUSALS_SHOWN).map(({ id, record, reason }) => ({ id, offset: record.offset, reason })),
        );
      }
      pending = refused;
      if (pending.length > 0) await delay(100 * 2 ** attempt, undefined, signal === undefined ? {} : { signal });
    }
  }
  return places;
}

/** Key and value bytes of a record: what parity is measured in. */
export function payloadBytes(record: { key: Buffer | null; value: Buffer | null }): number {
  return (record.key?.length ?? 0) + (record.value?.length ?? 0);
}

function owlmqCopy({ id, record, foreign }: MissingCopy): OwlmqRecord {
  const source = formatPosition({ leg: 'kafka', partition: record.partition, offset: record.offset });
  // A record without an id has none of the library's headers, whatever they are called. One that has borrowed its
  // headers keeps them, so that consumers of both legs are told the same.
  const replaced: ReadonlySet<string> = new Set(
    record.headers[HEADER.id] === undefined ? Object.values(HEADER) : [HEADER.source, HEADER.via],
  );
  return {
    partition: record.partition,
    id,
    key: record.key,
    value: record.value,
    headers: [
      ...Object.entries(record.headers)
        .filter(([name]) => !replaced.has(name))
        .flatMap(([name, values]) =>
          (Array.isArray(values) ? values : [values]).map((one): [string, Buffer] => [name, one]),
        ),
      [HEADER.source, Buffer.from(source)],
      [HEADER.via, Buffer.from(foreign ? VIA.forward : VIA.audit)],
    ],
    timestamp: record.timestamp,
  };
}

function* batches(missing: readonly MissingCopy[]): Generator<MissingCopy[]> {
  let batch: MissingCopy[] = [];
  let bytes = 0;
  for (const copy of missing) {
    const size = payloadBytes(copy.record);
    if (batch.length > 0 && (batch.length >= PUBLISH_BATCH || bytes + size > PUBLISH_BATCH_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(copy);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
