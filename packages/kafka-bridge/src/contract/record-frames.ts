import { isUtf8 } from 'node:buffer';
import { nameBytes, utf8Length, writeUtf8 } from './text-bytes.js';

/**
 * Codec of the media types `application/vnd.owlmq.records` and `application/vnd.owlmq.fetch`; the layout is described
 * in openapi/owlmq.yaml. A writer builds whole bodies of records; a server can also scan the frames of a body and
 * pass their bytes on without taking them apart.
 */
export const RECORDS_MEDIA_TYPE = 'application/vnd.owlmq.records';
export const FETCH_MEDIA_TYPE = 'application/vnd.owlmq.fetch';

/** A record as it travels. Keys and values are bytes; null is a value of its own. */
export interface FramedRecord {
  partition: number;
  /** Undefined in a publish request. */
  offset?: number;
  id: string;
  key: Buffer | null;
  value: Buffer | null;
  /** In order; a name may come twice. */
  headers: [string, Buffer][];
  /** Message time, Unix ms. */
  timestamp: number;
}

/** A record to encode; the value of a header may be text, written as UTF-8. */
export type RecordToFrame = Omit<FramedRecord, 'headers'> & {
  headers: readonly (readonly [string, Buffer | string])[];
};

/** Where a record lies in a body. `start` is that of its length field. */
export interface Frame {
  start: number;
  end: number;
  partition: number;
  timestamp: number;
  idStart: number;
  idEnd: number;
  /** -1 when the key is null. */
  keyStart: number;
  keyEnd: number;
}

/** A body that breaks the layout. */
export class RecordFramesError extends Error {
  override readonly name = 'RecordFramesError';
}

const MAGIC = 0x4f574c01;
const HEAD_BYTES = 8;
const MAX_ID_BYTES = 512;
const MAX_HEADERS = 1000;
/** Bytes of a frame up to its id: length, partition, offset, timestamp, idLength. */
const FIXED_BYTES = 4 + 4 + 8 + 8 + 2;
/** Bytes of the least record: an id of one byte, null key and value, no headers. */
const MIN_FRAME_BYTES = FIXED_BYTES + 1 + 4 + 4 + 2;
const OFFSET_POSITION = 8;
const UINT32 = 2 ** 32;

/** Bytes of a record in its frame, the length field included. This is what `maxRecordBytes` limits. */
export function frameBytes(record: RecordToFrame): number {
  return sizeOf(record, utf8Length);
}

/** At least what `frameBytes` says, at the price of a few additions. */
export function frameBytesBound(record: RecordToFrame): number {
  return sizeOf(record, utf8Bound);
}

/** Most bytes that a UTF-16 unit takes in UTF-8. */
function utf8Bound(text: string): number {
  return 3 * text.length;
}

function sizeOf({ id, key, value, headers }: RecordToFrame, textBytes: (text: string) => number): number {
  let bytes = FIXED_BYTES + textBytes(id) + 4 + 4 + 2 + (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, content] of headers) {
    bytes += 2 + textBytes(name) + 4 + (typeof content === 'string' ? textBytes(content) : content.length);
  }
  return bytes;
}

/** Bytes of a body around its frames. */
export const BODY_HEAD_BYTES = HEAD_BYTES;

/**
 * Encodes a body of records.
 *
 * @throws {TypeError} for a record that the layout cannot hold: an id that is empty, longer than 512 bytes or not
 *   well-formed text, more than 1000 headers, a partition, offset or timestamp that is not a safe integer from 0 on.
 */
export function encodeRecords(records: readonly RecordToFrame[]): Buffer {
  let bound = HEAD_BYTES;
  for (const record of records) bound += frameBytesBound(record);
  const body = Buffer.allocUnsafe(bound);
  writeHead(body, records.length);
  let at = HEAD_BYTES;
  for (const record of records) at = writeRecord(body, at, record);
  return body.subarray(0, at);
}

/**
 * Decodes a body of records. Keys, values and headers are views of `body`.
 *
 * @throws {RecordFramesError} when the body breaks the layout.
 */
export function decodeRecords(body: Buffer): FramedRecord[] {
  return scanFrames(body).map((frame) => decodeFrame(body, frame));
}

/**
 * Finds the frames of a body and checks all of its layout.
 *
 * @throws {RecordFramesError} when the body breaks the layout.
 */
export function scanFrames(body: Buffer): Frame[] {
  if (body.length < HEAD_BYTES || body.readUInt32BE(0) !== MAGIC)
    throw new RecordFramesError('does not begin with 4F574C01');
  const count = body.readUInt32BE(4);
  if (count > (body.length - HEAD_BYTES) / MIN_FRAME_BYTES) throw new RecordFramesError('is too short for its count');
  return scanBareFrames(body, HEAD_BYTES, count);
}

/** As `scanFrames`, for `count` frames that begin at `start` without a head and fill the rest of the buffer. */
export function scanBareFrames(body: Buffer, start: number, count: number): Frame[] {
  const frames: Frame[] = [];
  let at = start;
  for (let index = 0; index < count; index++) {
    const frame = scanFrame(body, at, index);
    frames.push(frame);
    at = frame.end;
  }
  if (at !== body.length) throw new RecordFramesError(`goes on after record ${count - 1}`);
  return frames;
}

/** Writes a record's offset into its frame. */
export function setFrameOffset(body: Buffer, frame: Frame, offset: number): void {
  writeInt64(body, frame.start + OFFSET_POSITION, offset);
}

/** The head that makes `count` frames a body. */
export function bodyHead(count: number): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  writeHead(head, count);
  return head;
}

/** Encodes the answer of a group fetch from its JSON head and a body of records. */
export function encodeFetch(head: unknown, records: readonly Buffer[]): Buffer {
  const json = Buffer.from(JSON.stringify(head));
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32BE(json.length, 0);
  return Buffer.concat([length, json, ...records]);
}

/**
 * Takes the answer of a group fetch apart. The head is as parsed: its shape is the caller's to know.
 *
 * @throws {RecordFramesError} when the body breaks the layout.
 */
export function decodeFetch(body: Buffer): { head: unknown; records: FramedRecord[] } {
  const length = body.length < 4 ? -1 : body.readUInt32BE(0);
  if (length < 0 || 4 + length > body.length) throw new RecordFramesError('is too short for its head');
  let head: unknown;
  try {
    head = JSON.parse(body.toString('utf8', 4, 4 + length));
  } catch (error) {
    throw new RecordFramesError('has a head that is not JSON', { cause: error });
  }
  return { head, records: decodeRecords(body.subarray(4 + length)) };
}

function writeHead(body: Buffer, count: number): void {
  body.writeUInt32BE(MAGIC, 0);
  body.writeUInt32BE(count, 4);
}

function writeRecord(body: Buffer, start: number, record: RecordToFrame): number {
  checkRecord(record);
  let at = body.writeUInt32BE(record.partition, start + 4);
  at = writeInt64(body, at, record.offset ?? -1);
  at = writeInt64(body, at, record.timestamp);
  at = writeText(body, at, record.id);
  at = writeBytes(body, at, record.key);
  at = writeBytes(body, at, record.value);
  at = body.writeUInt16BE(record.headers.length, at);
  for (const [name, value] of record.headers) {
    const bytes = nameBytes(name);
    if (bytes.length > 0xffff || !wellFormed(name))
      throw new TypeError('A header name is well-formed text of at most 65535 bytes');
    at = body.writeUInt16BE(bytes.length, at);
    body.set(bytes, at);
    at += bytes.length;
    const length = typeof value === 'string' ? writeUtf8(body, at + 4, value) : value.length;
    if (typeof value !== 'string') body.set(value, at + 4);
    at = body.writeUInt32BE(length, at) + length;
  }
  body.writeUInt32BE(at - start - 4, start);
  return at;
}

function checkRecord(record: RecordToFrame): void {
  if (!Number.isInteger(record.partition) || record.partition < 0 || record.partition >= UINT32) {
    throw new TypeError(`A record partition is an integer from 0 on, not ${record.partition}`);
  }
  if (record.offset !== undefined && (!Number.isSafeInteger(record.offset) || record.offset < 0)) {
    throw new TypeError(`A record offset is a safe integer from 0 on, not ${record.offset}`);
  }
  const idBytes = utf8Length(record.id);
  if (idBytes === 0 || idBytes > MAX_ID_BYTES)
    throw new TypeError(`A record id has 1 to ${MAX_ID_BYTES} bytes, not ${idBytes}`);
  if (!wellFormed(record.id)) throw new TypeError('A record id must be well-formed text');
  if (!Number.isSafeInteger(record.timestamp) || record.timestamp < 0) {
    throw new TypeError(`A record timestamp is Unix milliseconds, not ${record.timestamp}`);
  }
  if (record.headers.length > MAX_HEADERS) throw new TypeError(`A record has at most ${MAX_HEADERS} headers`);
}

/** Whether text can be written as UTF-8: no half of a surrogate pair stands alone. */
function wellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

function writeText(body: Buffer, at: number, text: string): number {
  const length = writeUtf8(body, at + 2, text);
  return body.writeUInt16BE(length, at) + length;
}

function writeBytes(body: Buffer, at: number, bytes: Buffer | null): number {
  if (bytes === null) return body.writeInt32BE(-1, at);
  const next = body.writeInt32BE(bytes.length, at);
  body.set(bytes, next);
  return next + bytes.length;
}

function writeInt64(body: Buffer, at: number, value: number): number {
  body.writeInt32BE(Math.floor(value / UINT32), at);
  return body.writeUInt32BE(value >>> 0, at + 4);
}

function readInt64(body: Buffer, at: number): number {
  return body.readInt32BE(at) * UINT32 + body.readUInt32BE(at + 4);
}

function scanFrame(body: Buffer, start: number, index: number): Frame {
  const broken = (what: string): RecordFramesError => new RecordFramesError(`record ${index}: ${what}`);
  if (start + MIN_FRAME_BYTES > body.length) throw broken('is cut off');
  const end = start + 4 + body.readUInt32BE(start);
  if (end > body.length || end - start < MIN_FRAME_BYTES) throw broken('has a length that cannot be');
  /** The end of a part of `length` bytes, which must lie within the record. */
  const take = (at: number, length: number): number => {
    if (at + length > end) throw broken('has a part longer than the record');
    return at + length;
  };
  const partition = body.readUInt32BE(start + 4);
  const timestamp = readInt64(body, start + 16);
  if (!Number.isSafeInteger(timestamp) || timestamp < 0) throw broken('has a timestamp that is no Unix time');
  const idLength = body.readUInt16BE(start + 24);
  if (idLength === 0 || idLength > MAX_ID_BYTES)
    throw broken(`has an id of ${idLength} bytes; 1 to ${MAX_ID_BYTES} are allowed`);
  const idStart = start + FIXED_BYTES;
  const idEnd = take(idStart, idLength);
  if (!isUtf8(body.subarray(idStart, idEnd))) throw broken('has an id that is not UTF-8');
  let at = take(idEnd, 4);
  const keyLength = body.readInt32BE(idEnd);
  const keyStart = keyLength === -1 ? -1 : at;
  if (keyLength < -1) throw broken('has a negative key length');
  if (keyLength > 0) at = take(at, keyLength);
  const keyEnd = keyLength === -1 ? -1 : at;
  const valueLength = body.readInt32BE((at = take(at, 4)) - 4);
  if (valueLength < -1) throw broken('has a negative value length');
  if (valueLength > 0) at = take(at, valueLength);
  const headerCount = body.readUInt16BE((at = take(at, 2)) - 2);
  if (headerCount > MAX_HEADERS) throw broken(`has ${headerCount} headers; ${MAX_HEADERS} are allowed`);
  for (let header = 0; header < headerCount; header++) {
    const nameLength = body.readUInt16BE((at = take(at, 2)) - 2);
    at = take(at, nameLength);
    if (!isUtf8(body.subarray(at - nameLength, at))) throw broken('has a header name that is not UTF-8');
    const headerLength = body.readUInt32BE((at = take(at, 4)) - 4);
    at = take(at, headerLength);
  }
  if (at !== end) throw broken('is longer than its parts');
  return { start, end, partition, timestamp, idStart, idEnd, keyStart, keyEnd };
}

function decodeFrame(body: Buffer, frame: Frame): FramedRecord {
  const offset = readInt64(body, frame.start + OFFSET_POSITION);
  let at = frame.keyStart === -1 ? frame.idEnd + 4 : frame.keyEnd;
  const valueLength = body.readInt32BE(at);
  at += 4;
  const value = valueLength === -1 ? null : body.subarray(at, at + valueLength);
  at += Math.max(valueLength, 0);
  const headerCount = body.readUInt16BE(at);
  at += 2;
  const headers: [string, Buffer][] = [];
  for (let header = 0; header < headerCount; header++) {
    const nameEnd = at + 2 + body.readUInt16BE(at);
    const valueEnd = nameEnd + 4 + body.readUInt32BE(nameEnd);
    headers.push([body.toString('utf8', at + 2, nameEnd), body.subarray(nameEnd + 4, valueEnd)]);
    at = valueEnd;
  }
  return {
    partition: frame.partition,
    ...(offset < 0 ? {} : { offset }),
    id: body.toString('utf8', frame.idStart, frame.idEnd),
    key: frame.keyStart === -1 ? null : body.subarray(frame.keyStart, frame.keyEnd),
    value,
    headers,
    timestamp: frame.timestamp,
  };
}
