import { RecordFramesError, type FramedRecord } from './record-frames.js';

/**
 * Codec of the media type `application/vnd.owlmq.heads`, described in openapi/owlmq.yaml: of each record what it takes
 * to compare two logs, without its key, value and other headers.
 */
export const HEADS_MEDIA_TYPE = 'application/vnd.owlmq.heads';

/** What a head tells of a record. */
export interface RecordHead {
  offset: number;
  id: string;
  /** Message time, Unix ms. */
  timestamp: number;
  /** Bytes; -1 for null. */
  keyLength: number;
  /** Bytes; -1 for null. */
  valueLength: number;
  /** Value of the header that was asked for, as text; undefined when the record does not have it. */
  header: string | undefined;
}

const MAGIC = 0x4f574801;
const BODY_HEAD_BYTES = 8;
/** offset, timestamp, keyLength, valueLength, idLength, headerLength. */
const FIXED_BYTES = 8 + 8 + 4 + 4 + 2 + 4;
const TYPICAL_BYTES = FIXED_BYTES + 64;
const UINT32 = 2 ** 32;

// Places in a frame of application/vnd.owlmq.records, from its begin.
const FRAME_OFFSET = 8;
const FRAME_ID_LENGTH = 24;
const FRAME_ID = 26;

/**
 * Encodes the heads of whole frames in the layout of application/vnd.owlmq.records, which must be sound.
 *
 * @param header Name of the one header whose first value is told.
 */
export function encodeHeads(frames: readonly Buffer[], count: number, header: string): Buffer {
  const name = Buffer.from(header);
  let body = Buffer.allocUnsafe(BODY_HEAD_BYTES + count * TYPICAL_BYTES);
  body.writeUInt32BE(MAGIC, 0);
  body.writeUInt32BE(count, 4);
  let at = BODY_HEAD_BYTES;
  for (const slice of frames) {
    for (let start = 0; start < slice.length;) {
      const end = start + 4 + slice.readUInt32BE(start);
      const idLength = slice.readUInt16BE(start + FRAME_ID_LENGTH);
      const keyAt = start + FRAME_ID + idLength;
      const keyLength = slice.readInt32BE(keyAt);
      const valueAt = keyAt + 4 + Math.max(0, keyLength);
      const valueLength = slice.readInt32BE(valueAt);
      const found = findHeader(slice, valueAt + 4 + Math.max(0, valueLength), name);
      const headerLength = found === -1 ? -1 : slice.readUInt32BE(found);
      const needed = at + FIXED_BYTES + idLength + Math.max(0, headerLength);
      if (needed > body.length) {
        const grown = Buffer.allocUnsafe(Math.max(needed, body.length * 2));
        body.copy(grown, 0, 0, at);
        body = grown;
      }
      // Offset and timestamp are neighbours in both layouts.
      at += slice.copy(body, at, start + FRAME_OFFSET, start + FRAME_ID_LENGTH);
      at = body.writeInt32BE(keyLength, at);
      at = body.writeInt32BE(valueLength, at);
      at = body.writeUInt16BE(idLength, at);
      at = body.writeInt32BE(headerLength, at);
      at += slice.copy(body, at, start + FRAME_ID, keyAt);
      if (headerLength > 0) at += slice.copy(body, at, found + 4, found + 4 + headerLength);
      start = end;
    }
  }
  return body.subarray(0, at);
}

/**
 * Decodes a body of heads.
 *
 * @throws {RecordFramesError} when the body breaks the layout.
 */
export function decodeHeads(body: Buffer): RecordHead[] {
  if (body.length < BODY_HEAD_BYTES || body.readUInt32BE(0) !== MAGIC)
    throw new RecordFramesError('does not begin with 4F574801');
  const count = body.readUInt32BE(4);
  if (count > (body.length - BODY_HEAD_BYTES) / FIXED_BYTES) throw new RecordFramesError('is too short for its count');
  const heads: RecordHead[] = [];
  let at = BODY_HEAD_BYTES;
  for (let index = 0; index < count; index++) {
    if (at + FIXED_BYTES > body.length) throw new RecordFramesError(`head ${index}: is cut off`);
    const idLength = body.readUInt16BE(at + 24);
    const headerLength = body.readInt32BE(at + 26);
    const idStart = at + FIXED_BYTES;
    const idEnd = idStart + idLength;
    const end = idEnd + Math.max(0, headerLength);
    if (end > body.length || idLength === 0 || headerLength < -1) {
      throw new RecordFramesError(`head ${index}: has lengths that cannot be`);
    }
    heads.push({
      offset: readInt64(body, at),
      id: body.toString('utf8', idStart, idEnd),
      timestamp: readInt64(body, at + 8),
      keyLength: body.readInt32BE(at + 16),
      valueLength: body.readInt32BE(at + 20),
      header: headerLength === -1 ? undefined : body.toString('utf8', idEnd, end),
    });
    at = end;
  }
  if (at !== body.length) throw new RecordFramesError(`goes on after head ${count - 1}`);
  return heads;
}

/** The head of a record that is there in full. */
export function headOf(record: FramedRecord & { offset: number }, header: string): RecordHead {
  return {
    offset: record.offset,
    id: record.id,
    timestamp: record.timestamp,
    keyLength: record.key?.length ?? -1,
    valueLength: record.value?.length ?? -1,
    header: record.headers.find(([name]) => name === header)?.[1].toString(),
  };
}

/** Where the length of a header's first value is; -1 when there is no such header. */
function findHeader(slice: Buffer, countAt: number, name: Buffer): number {
  const count = slice.readUInt16BE(countAt);
  let at = countAt + 2;
  for (let index = 0; index < count; index++) {
    const nameLength = slice.readUInt16BE(at);
    const valueAt = at + 2 + nameLength;
    if (nameLength === name.length && name.compare(slice, at + 2, valueAt) === 0) return valueAt;
    at = valueAt + 4 + slice.readUInt32BE(valueAt);
  }
  return -1;
}

function readInt64(body: Buffer, at: number): number {
  return body.readInt32BE(at) * UINT32 + body.readUInt32BE(at + 4);
}
