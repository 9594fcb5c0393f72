/**
 * Text of a few dozen ASCII characters, as ids and header names are, into buffers: at that length a call into Node's
 * own encoder costs more than the writing.
 */
const SHORT = 64;
const MAX_NAMES = 1_024;

const names = new Map<string, Buffer>();

/** UTF-8 of a name that comes again and again; remembered, up to a thousand short ones. */
export function nameBytes(name: string): Buffer {
  const known = names.get(name);
  if (known !== undefined) return known;
  const bytes = Buffer.from(name);
  if (names.size < MAX_NAMES && name.length <= SHORT) names.set(name, bytes);
  return bytes;
}

/** Writes text as UTF-8, for which there must be room; returns how many bytes it took. */
export function writeUtf8(buffer: Buffer, start: number, text: string): number {
  const { length } = text;
  if (length > SHORT) return buffer.write(text, start);
  for (let index = 0; index < length; index++) {
    const unit = text.charCodeAt(index);
    if (unit > 0x7f) return buffer.write(text, start);
    buffer[start + index] = unit;
  }
  return length;
}

/** Bytes of text in UTF-8. */
export function utf8Length(text: string): number {
  const { length } = text;
  if (length > SHORT) return Buffer.byteLength(text);
  for (let index = 0; index < length; index++) if (text.charCodeAt(index) > 0x7f) return Buffer.byteLength(text);
  return length;
}
