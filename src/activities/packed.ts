import { deflateRawSync, inflateRawSync } from 'node:zlib';

/** Characters of JSON from which on it is packed: below that a history stays readable. */
const PACK_FROM = 32_768;
/** Far above what any of them takes; Temporal refuses payloads of 2 MB by default. */
const MOST_BYTES = 256 * 1_024 * 1_024;

interface Packed {
  /** Base64 of raw deflate of JSON. */
  deflated: string;
}

/**
 * Makes what a next attempt goes on from small enough for heartbeats and histories: of a hundred groups and partitions
 * it is megabytes of JSON, the same few words again and again.
 *
 * @param value JSON.
 * @returns the value itself where it is small.
 */
export function packed<T>(value: T): T | Packed {
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined || text.length < PACK_FROM) return value;
  // Each heartbeat is packed: fast rather than small.
  return { deflated: deflateRawSync(text, { level: 1 }).toString('base64') };
}

/** @returns what was given to `packed`; anything else as it is, as earlier versions wrote it. */
export function unpacked<T>(value: T | Packed): T {
  if (!isPacked(value)) return value;
  const bytes = inflateRawSync(Buffer.from(value.deflated, 'base64'), { maxOutputLength: MOST_BYTES });
  return JSON.parse(bytes.toString()) as T;
}

function isPacked(value: unknown): value is Packed {
  return typeof value === 'object' && value !== null && 'deflated' in value && typeof value.deflated === 'string';
}
