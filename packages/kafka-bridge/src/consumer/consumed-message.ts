import type { KafkaMessage } from 'kafkajs';
import { foreignMessageId, groupHeaders, readProvenance, type Leg, type Provenance } from '../message/headers.js';
import type { OwlmqStoredRecord } from '../owlmq/owlmq-api.js';

/**
 * What `process` and `apply` are given. Everything but `position` is the same for a message whichever side it was read
 * from, so a handler whose output depends on nothing else has the same output on both.
 */
export interface ConsumedMessage {
  readonly topic: string;
  readonly partition: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** The producer's headers; those of the bridge itself (`owlmq-…`) are left out. A name that came twice has a list. */
  readonly headers: Readonly<Record<string, Buffer | Buffer[]>>;
  /** Message time, Unix ms. */
  readonly timestamp: number;
  /** The publisher's message id, or `TOPIC/PARTITION/OFFSET` of a Kafka record whose producer writes none. */
  readonly id: string;
  /** The leg it was read from, and its offsets as far as this side knows them: for logs, not for decisions. */
  readonly position: { readonly leg: Leg; readonly kafka?: number; readonly owlmq?: number };
}

/** A message with what the bridge's headers say of it. */
export interface ReceivedMessage {
  message: ConsumedMessage;
  provenance: Provenance;
}

const BRIDGE_PREFIX = 'owlmq-';

/** Reads a Kafka record as kafkajs hands it out. */
export function fromKafka(topic: string, partition: number, record: KafkaMessage): ReceivedMessage {
  const provenance = readProvenance(record.headers);
  const offset = Number(record.offset);
  const owlmq = provenance.source?.leg === 'owlmq' ? provenance.source.offset : undefined;
  const entries = Object.entries(record.headers ?? {}).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one): [string, Buffer] => [name, toBuffer(one)]),
  );
  return {
    provenance,
    message: {
      topic,
      partition,
      key: record.key,
      value: record.value,
      headers: ownHeaders(entries),
      timestamp: Number(record.timestamp),
      id: provenance.id ?? foreignMessageId(topic, partition, offset),
      position: { leg: 'kafka', kafka: offset, ...(owlmq === undefined ? {} : { owlmq }) },
    },
  };
}

/** Reads an OwlMQ record. */
export function fromOwlmq(topic: string, record: OwlmqStoredRecord): ReceivedMessage {
  const provenance = readProvenance(Object.fromEntries(record.headers));
  const kafka = provenance.source?.leg === 'kafka' ? provenance.source.offset : undefined;
  return {
    provenance,
    message: {
      topic,
      partition: record.partition,
      key: record.key,
      value: record.value,
      headers: ownHeaders(record.headers),
      timestamp: record.timestamp,
      id: provenance.id ?? record.id,
      position: { leg: 'owlmq', ...(kafka === undefined ? {} : { kafka }), owlmq: record.offset },
    },
  };
}

function toBuffer(value: Buffer | string | null | undefined): Buffer {
  // A header may be null in Kafka; OwlMQ has bytes only.
  if (value === undefined || value === null) return Buffer.alloc(0);
  return typeof value === 'string' ? Buffer.from(value) : value;
}

function ownHeaders(entries: readonly [string, Buffer][]): Record<string, Buffer | Buffer[]> {
  return groupHeaders(entries.filter(([name]) => !name.startsWith(BRIDGE_PREFIX)));
}
