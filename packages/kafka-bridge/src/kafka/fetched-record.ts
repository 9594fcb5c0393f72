import { groupHeaders } from '../message/headers.js';
import type { LogRecord } from './log-record.js';

/** Where the parts of a record are in the bytes of its batch. A length of -1 is null. */
export interface RecordLayout {
  bytes: Buffer;
  keyStart: number;
  keyLength: number;
  valueStart: number;
  valueLength: number;
  headersStart: number;
  /** Whether the broker set the time, and not the producer. */
  appendTime: boolean;
}

/**
 * A record of a Kafka partition. Its parts are taken out of the fetched bytes when they are asked for, since most
 * readers look at few of them. A record keeps all that was fetched with it in memory: see `detached`.
 */
export class FetchedRecord implements LogRecord {
  readonly #layout: RecordLayout;

  constructor(
    readonly topic: string,
    readonly partition: number,
    readonly offset: number,
    /** Unix ms. */
    readonly timestamp: number,
    layout: RecordLayout,
  ) {
    this.#layout = layout;
  }

  get key(): Buffer | null {
    const { bytes, keyStart, keyLength } = this.#layout;
    return keyLength < 0 ? null : bytes.subarray(keyStart, keyStart + keyLength);
  }

  /** Whether the broker set the time, and not the producer. */
  get appendTime(): boolean {
    return this.#layout.appendTime;
  }

  /** The key as Latin-1 text, one character a byte, which is cheaper to hold and to compare. */
  get keyText(): string | null {
    const { bytes, keyStart, keyLength } = this.#layout;
    return keyLength < 0 ? null : bytes.toString('latin1', keyStart, keyStart + keyLength);
  }

  get value(): Buffer | null {
    const { bytes, valueStart, valueLength } = this.#layout;
    return valueLength < 0 ? null : bytes.subarray(valueStart, valueStart + valueLength);
  }

  /** Bytes of key and value. */
  get payloadBytes(): number {
    return Math.max(0, this.#layout.keyLength) + Math.max(0, this.#layout.valueLength);
  }

  get headers(): Record<string, Buffer | Buffer[]> {
    const { bytes } = this.#layout;
    const entries: [string, Buffer][] = [];
    for (const { nameStart, nameEnd, valueStart, valueEnd } of this.#headers()) {
      entries.push([bytes.toString('utf8', nameStart, nameEnd), bytes.subarray(valueStart, valueEnd)]);
    }
    return groupHeaders(entries);
  }

  /** The first value of each of some headers as text, in one pass; undefined for those that are not there. */
  headerTexts(names: readonly Buffer[]): (string | undefined)[] {
    const { bytes } = this.#layout;
    const texts = new Array<string | undefined>(names.length).fill(undefined);
    for (const { nameStart, nameEnd, valueStart, valueEnd } of this.#headers()) {
      for (let index = 0; index < names.length; index++) {
        const name = names[index];
        if (name === undefined || name.length !== nameEnd - nameStart || texts[index] !== undefined) continue;
        if (name.compare(bytes, nameStart, nameEnd) !== 0) continue;
        texts[index] = bytes.toString('utf8', valueStart, valueEnd);
        break;
      }
    }
    return texts;
  }

  /** The same record on bytes of its own. */
  get detached(): FetchedRecord {
    const { bytes, keyStart, keyLength, valueStart, valueLength, headersStart, appendTime } = this.#layout;
    let end = headersStart;
    for (const { valueEnd } of this.#headers()) end = valueEnd;
    if (end === headersStart) end = Math.min(bytes.length, headersStart + 5);
    const layout: RecordLayout = {
      bytes: Buffer.from(bytes.subarray(keyStart, end)),
      keyStart: 0,
      keyLength,
      valueStart: valueStart - keyStart,
      valueLength,
      headersStart: headersStart - keyStart,
      appendTime,
    };
    return new FetchedRecord(this.topic, this.partition, this.offset, this.timestamp, layout);
  }

  *#headers(): Generator<{ nameStart: number; nameEnd: number; valueStart: number; valueEnd: number }> {
    const reader = new VarintReader(this.#layout.bytes, this.#layout.headersStart);
    const count = reader.int();
    for (let index = 0; index < count; index++) {
      const nameLength = Math.max(0, reader.int());
      const nameStart = reader.skip(nameLength);
      const valueLength = Math.max(0, reader.int());
      const valueStart = reader.skip(valueLength);
      yield { nameStart, nameEnd: nameStart + nameLength, valueStart, valueEnd: valueStart + valueLength };
    }
  }
}

/** Reads the zigzag variable-length integers of Kafka's record format. */
export class VarintReader {
  constructor(
    readonly bytes: Buffer,
    public at: number,
  ) {}

  /** A number of at most 53 bits. */
  int(): number {
    const { bytes } = this;
    let byte = bytes[this.at++] ?? 0;
    // Nearly all are of one or two bytes.
    if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1);
    let value = byte & 0x7f;
    let scale = 0x80;
    do {
      byte = bytes[this.at++] ?? 0;
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
    } while (byte >= 0x80);
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** Passes over bytes, and says where they begin. */
  skip(length: number): number {
    const start = this.at;
    this.at += length;
    return start;
  }
}
