import type { Message } from 'kafkajs';
import { v7 as uuidv7 } from 'uuid';
import { PublishInputError, type PublishError } from './publisher-errors.js';
import { formatPosition, HEADER, type Leg, type Position } from '../message/headers.js';
import type { OwlmqRecord, PartitionOffset } from '../owlmq/owlmq-api.js';

/** Where a published message is. */
export interface PublishResult {
  id: string;
  /** Epoch it was published under; 0 without a migration. */
  epoch: number;
  /** Set when Kafka acknowledged it before `publish()` resolved. */
  kafka?: PartitionOffset;
  /** Set when OwlMQ did: after cutover. Copies before it are written later. */
  owlmq?: PartitionOffset;
}

/** Options of one message. */
export interface PublishOptions {
  /** Messages of one key keep their order. Text is written as UTF-8. */
  key?: string | Uint8Array | null | undefined;
  /** Names of the bridge's own headers (`owlmq-…`) are left out: what is republished gets new ones. */
  headers?: Readonly<Record<string, string | Uint8Array | readonly (string | Uint8Array)[] | undefined>> | undefined;
  /** Default: by the key, as Java clients and kafkajs do; without a key, one after the other. */
  partition?: number | undefined;
  /** Unix ms or a Date; default now. */
  timestamp?: number | Date | undefined;
  /** Message id; default a new UUIDv7. Publish with the id of an earlier attempt to repeat it. */
  id?: string | undefined;
  /**
   * Ends the call: with `PublishAbortedError` while the message was not handed to a leg, which it then never is; with
   * `PublishOutcomeUnknownError` while it is on its way. After cutover it also ends the wait for Kafka's mirror write of
   * a message that OwlMQ has acknowledged: the call resolves.
   */
  signal?: AbortSignal | undefined;
}

/** What becomes of a message when it is routed; set again when it is routed again. Shared by messages, never changed. */
export interface Routing {
  readonly epoch: number;
  /** Whether the topic is one of the migration's. */
  readonly migrated: boolean;
  /** Leg that must acknowledge it. */
  readonly primary: Leg;
  readonly copied: boolean;
}

/** A message on its way. */
export interface Outgoing {
  readonly id: string;
  readonly topic: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly [string, Buffer][];
  readonly timestamp: number;
  readonly wantedPartition: number | undefined;
  /** Size on the wire, about. */
  readonly bytes: number;
  /** `performance.now()` of the call. */
  readonly acceptedAt: number;
  settle: { resolve: (result: PublishResult) => void; reject: (error: PublishError) => void };
  /** Ends the wait for room in the buffer; undefined when it does not wait for it. */
  leaveLine: (() => void) | undefined;
  /** Chosen once, when it is first looked at for a batch. */
  partition: number | undefined;
  /** Number among the messages of its partition from this instance, from 1; 0 before it is routed. */
  sequence: number;
  routing: Routing | undefined;
  /** As it was routed when OwlMQ may have got it although nobody said so. */
  attempted: Routing | undefined;
  /** Whether OwlMQ was asked for it since. */
  lookedUp: boolean;
  settled: boolean;
  /** `performance.now()` of Kafka's acknowledgement, for a message whose copy is due from then on. */
  copyDueAt: number;
  kafka: PartitionOffset | undefined;
  owlmq: PartitionOffset | undefined;
}

const RECORD_OVERHEAD_BYTES = 200;
const MAX_ID_LENGTH = 256;
const ownNames: ReadonlySet<string> = new Set(Object.values(HEADER));

/**
 * A message from what was given to `publish()`.
 *
 * @throws {PublishInputError} when it cannot be one.
 */
export function newOutgoing(
  topic: string,
  value: unknown,
  options: PublishOptions,
  settle: Outgoing['settle'],
): Outgoing {
  if (typeof topic !== 'string' || topic === '') throw new PublishInputError('The topic must be a name.');
  const { id = uuidv7(), partition } = options;
  if (typeof id !== 'string' || id === '' || id.length > MAX_ID_LENGTH) {
    throw new PublishInputError(`The id must be text of 1 to ${MAX_ID_LENGTH} characters.`);
  }
  // Not by instanceof: test runners and polyfills have an AbortSignal of their own.
  if (options.signal !== undefined && typeof (options.signal as Partial<AbortSignal>).addEventListener !== 'function') {
    throw new PublishInputError('The signal must be an AbortSignal.');
  }
  if (partition !== undefined && !(Number.isSafeInteger(partition) && partition >= 0)) {
    throw new PublishInputError('The partition must be a whole number from 0.');
  }
  const key = options.key === undefined || options.key === null ? null : bytesOf(options.key, 'The key');
  const encoded = encodeValue(value);
  const headers = encodeHeaders(options.headers ?? {});
  let bytes = RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (encoded?.length ?? 0);
  for (const [name, content] of headers) bytes += name.length + content.length + 8;
  return {
    id,
    topic,
    key,
    value: encoded,
    headers,
    timestamp: encodeTimestamp(options.timestamp),
    wantedPartition: partition,
    bytes,
    acceptedAt: performance.now(),
    settle,
    leaveLine: undefined,
    partition: undefined,
    sequence: 0,
    routing: undefined,
    attempted: undefined,
    lookedUp: false,
    settled: false,
    copyDueAt: 0,
    kafka: undefined,
    owlmq: undefined,
  };
}

/** What its call resolves with. */
export function resultOf({ id, routing, kafka, owlmq }: Outgoing): PublishResult {
  const result: PublishResult = { id, epoch: routing?.epoch ?? 0 };
  if (kafka !== undefined) result.kafka = kafka;
  if (owlmq !== undefined) result.owlmq = owlmq;
  return result;
}

/** The message as a Kafka record; with where its first write is, when this is the mirror. */
export function kafkaMessage(message: Outgoing, instance: string, source?: Position): Message {
  const headers: Record<string, Buffer | string | (Buffer | string)[]> = {};
  for (const [name, value] of message.headers) {
    const present = headers[name];
    if (present === undefined) headers[name] = value;
    else headers[name] = [...(Array.isArray(present) ? present : [present]), value];
  }
  headers[HEADER.id] = message.id;
  headers[HEADER.epoch] = String(message.routing?.epoch ?? 0);
  headers[HEADER.sequence] = `${instance}:${message.sequence}`;
  headers[HEADER.copied] = copiedText(message);
  if (source !== undefined) headers[HEADER.source] = formatPosition(source);
  const { key, value, partition = 0, timestamp } = message;
  return { key, value, headers, timestamp: String(timestamp), partition };
}

/** The message as an OwlMQ record; with where its first write is, when this is the copy. */
export function owlmqRecord(message: Outgoing, instance: string, source?: Position): OwlmqRecord {
  const { id, key, value, timestamp, partition = 0 } = message;
  const headers: [string, Buffer | string][] = [
    ...message.headers,
    [HEADER.id, id],
    [HEADER.epoch, String(message.routing?.epoch ?? 0)],
    [HEADER.sequence, `${instance}:${message.sequence}`],
    [HEADER.copied, copiedText(message)],
  ];
  if (source !== undefined) headers.push([HEADER.source, formatPosition(source)]);
  return { partition, id, key, value, headers, timestamp };
}

function copiedText({ routing }: Outgoing): string {
  return routing?.copied === true ? '1' : '0';
}

/** Bytes and text as they are, null as a tombstone, everything else as JSON. */
function encodeValue(value: unknown): Buffer | null {
  if (value === null) return null;
  if (typeof value === 'string' || value instanceof Uint8Array) return bytesOf(value, 'The value');
  return Buffer.from(jsonOf(value));
}

function jsonOf(value: unknown): string {
  let text: unknown;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw new PublishInputError('The value cannot be written as JSON.', { cause: error });
  }
  // Functions, symbols and undefined have no JSON.
  if (typeof text !== 'string') throw new PublishInputError(`A value of type ${typeof value} cannot be published.`);
  return text;
}

function encodeHeaders(headers: NonNullable<PublishOptions['headers']>): [string, Buffer][] {
  const encoded: [string, Buffer][] = [];
  for (const [name, given] of Object.entries(headers)) {
    if (given === undefined || ownNames.has(name)) continue;
    const values = typeof given === 'string' || given instanceof Uint8Array ? [given] : given;
    for (const value of values) encoded.push([name, bytesOf(value, `Header ${name}`)]);
  }
  return encoded;
}

function encodeTimestamp(timestamp: number | Date | undefined): number {
  const time = timestamp instanceof Date ? timestamp.getTime() : (timestamp ?? Date.now());
  if (!Number.isSafeInteger(time) || time < 0) {
    throw new PublishInputError('The timestamp must be whole milliseconds since 1970, or a valid Date.');
  }
  return time;
}

function bytesOf(value: unknown, what: string): Buffer {
  if (typeof value === 'string') return Buffer.from(value);
  if (Buffer.isBuffer(value)) return value;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  throw new PublishInputError(`${what} must be text or bytes.`);
}
