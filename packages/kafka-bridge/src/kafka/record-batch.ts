import { crc32c } from '@platformatic/kafka';
import type { Message } from 'kafkajs';
import { nameBytes, utf8Length, writeUtf8 } from '../contract/text-bytes.js';

/** What a record batch says of its producer. `sequence` is that of the first record. */
export interface BatchProducer {
  id: bigint;
  epoch: number;
  sequence: number;
}

const MAGIC = 2;
/** From the begin of a batch to its records: offset, length, leader epoch, magic, CRC and what the CRC covers. */
const BATCH_HEAD_BYTES = 61;
const LENGTH_AT = 8;
const MAGIC_AT = 16;
const CRC_AT = 17;
const ATTRIBUTES_AT = 21;

/**
 * Messages as an uncompressed record batch of Kafka's message format 2. Measured first, then written into a buffer of
 * the caller's: kafkajs's own encoder makes, fills with zeroes and copies a buffer for each record and each header.
 *
 * The layout is that of https://kafka.apache.org/documentation/#recordbatch.
 */
export class RecordBatch {
  readonly #messages: readonly Message[];
  /** Of each record, without the length that stands before it. */
  readonly #sizes: number[] = [];
  readonly #timestamps: number[] = [];
  /** Bytes that `write` will take. */
  readonly bytes: number;

  constructor(messages: readonly Message[]) {
    this.#messages = messages;
    const now = Date.now();
    let bytes = BATCH_HEAD_BYTES;
    for (const [index, message] of messages.entries()) {
      const timestamp = message.timestamp === undefined ? now : Number(message.timestamp);
      this.#timestamps.push(timestamp);
      const size = recordBytes(message, index, timestamp - this.#firstTimestamp);
      this.#sizes.push(size);
      bytes += zigzagBytes(size) + size;
    }
    this.bytes = bytes;
  }

  get #firstTimestamp(): number {
    return this.#timestamps[0] ?? 0;
  }

  /** Writes the batch at a place; returns the one after it. */
  write(buffer: Buffer, start: number, producer: BatchProducer): number {
    let maxTimestamp = this.#firstTimestamp;
    let at = start + BATCH_HEAD_BYTES;
    for (const [index, message] of this.#messages.entries()) {
      const timestamp = this.#timestamps[index] ?? 0;
      if (timestamp > maxTimestamp) maxTimestamp = timestamp;
      at = writeZigzag(buffer, at, this.#sizes[index] ?? 0);
      at = writeRecord(buffer, at, message, index, timestamp - this.#firstTimestamp);
    }
    buffer.writeBigInt64BE(0n, start);
    buffer.writeInt32BE(at - start - LENGTH_AT - 4, start + LENGTH_AT);
    buffer.writeInt32BE(0, start + LENGTH_AT + 4);
    buffer.writeInt8(MAGIC, start + MAGIC_AT);
    let head = buffer.writeInt16BE(0, start + ATTRIBUTES_AT);
    head = buffer.writeInt32BE(this.#messages.length - 1, head);
    head = buffer.writeBigInt64BE(BigInt(this.#firstTimestamp), head);
    head = buffer.writeBigInt64BE(BigInt(maxTimestamp), head);
    head = buffer.writeBigInt64BE(producer.id, head);
    head = buffer.writeInt16BE(producer.epoch, head);
    head = buffer.writeInt32BE(producer.sequence, head);
    buffer.writeInt32BE(this.#messages.length, head);
    buffer.writeUInt32BE(crc32c(buffer.subarray(start + ATTRIBUTES_AT, at)) >>> 0, start + CRC_AT);
    return at;
  }
}

type Bytes = Buffer | string | null | undefined;

function recordBytes({ key, value, headers }: Message, index: number, delta: number): number {
  let count = 0;
  let bytes = 1 + zigzagBytes(delta) + zigzagBytes(index) + sizedBytes(lengthOf(key)) + sizedBytes(lengthOf(value));
  for (const name in headers) {
    const given = headers[name];
    const nameSize = sizedBytes(nameBytes(name).length);
    if (!Array.isArray(given)) {
      bytes += nameSize + sizedBytes(lengthOf(given));
      count++;
      continue;
    }
    for (const one of given) bytes += nameSize + sizedBytes(lengthOf(one));
    count += given.length;
  }
  return bytes + zigzagBytes(count);
}

function writeRecord(buffer: Buffer, start: number, message: Message, index: number, delta: number): number {
  const { key, value, headers } = message;
  let at = start;
  buffer[at++] = 0;
  at = writeZigzag(buffer, at, delta);
  at = writeZigzag(buffer, at, index);
  at = writeSized(buffer, at, key);
  at = writeSized(buffer, at, value);
  at = writeZigzag(buffer, at, headerCount(headers));
  for (const name in headers) {
    const given = headers[name];
    if (!Array.isArray(given)) {
      at = writeSized(buffer, writeSized(buffer, at, nameBytes(name)), given);
      continue;
    }
    for (const one of given) at = writeSized(buffer, writeSized(buffer, at, nameBytes(name)), one);
  }
  return at;
}

/** A header with a list stands there once for each value. */
function headerCount(headers: Message['headers']): number {
  let count = 0;
  for (const name in headers) {
    const given = headers[name];
    count += Array.isArray(given) ? given.length : 1;
  }
  return count;
}

/** -1 for null. */
function lengthOf(bytes: Bytes): number {
  if (bytes === null || bytes === undefined) return -1;
  return typeof bytes === 'string' ? utf8Length(bytes) : bytes.length;
}

/** Bytes of a length and of what it counts. */
function sizedBytes(length: number): number {
  return zigzagBytes(length) + Math.max(0, length);
}

function writeSized(buffer: Buffer, start: number, bytes: Bytes): number {
  const at = writeZigzag(buffer, start, lengthOf(bytes));
  if (bytes === null || bytes === undefined) return at;
  if (typeof bytes === 'string') return at + writeUtf8(buffer, at, bytes);
  buffer.set(bytes, at);
  return at + bytes.length;
}

/** Zigzag takes small negative numbers into few bytes too. Above 2^31 in floating point, which is exact up to 2^53. */
function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

function zigzagBytes(value: number): number {
  let rest = zigzag(value);
  let bytes = 1;
  while (rest >= 128) {
    rest = Math.floor(rest / 128);
    bytes++;
  }
  return bytes;
}

function writeZigzag(buffer: Buffer, start: number, value: number): number {
  let rest = zigzag(value);
  let at = start;
  while (rest >= 128) {
    buffer[at++] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  buffer[at++] = rest;
  return at;
}
