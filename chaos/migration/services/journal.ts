import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { clockMs } from '../../../demo/event-log.js';
import type { MessageName } from './message.js';

/** What services write down of a message. */
export const marks = {
  /** Before the call of `publish()`. */
  called: 1,
  acknowledged: 2,
  /** By its error it is on no leg. */
  failed: 3,
  unknown: 4,
  appliedFromKafka: 5,
  appliedFromOwlmq: 6,
  /** Applied with another topic, key or value than it was published with. */
  alteredFromKafka: 7,
  alteredFromOwlmq: 8,
  /** Applied, and no producer makes such messages. */
  unreadable: 9,
} as const;
export type Mark = (typeof marks)[keyof typeof marks];

/** An entry: mark, producer, start (2 bytes), serial (4), ms on the machine's monotonic clock (8). */
export const ENTRY_BYTES = 16;

/**
 * Appends entries of 16 bytes: an hour of traffic has tens of millions. What is written is with the operating system when
 * the call returns, so it outlives a killed process.
 */
export class Journal {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, 'a', 0o600);
  }

  write(mark: Mark, names: readonly MessageName[], at = clockMs()): void {
    const bytes = Buffer.alloc(ENTRY_BYTES * names.length);
    for (const [index, { producer, start, serial }] of names.entries()) {
      const offset = index * ENTRY_BYTES;
      bytes.writeUInt8(mark, offset);
      bytes.writeUInt8(producer, offset + 1);
      bytes.writeUInt16LE(start, offset + 2);
      bytes.writeUInt32LE(serial, offset + 4);
      bytes.writeDoubleLE(at, offset + 8);
    }
    writeSync(this.#file, bytes);
  }

  close(): void {
    closeSync(this.#file);
  }
}

export interface Entry extends MessageName {
  readonly mark: Mark;
  readonly at: number;
}

/** Reads a journal from its begin, entry by entry; goes on where it grew. */
export class JournalReader {
  readonly #file: number;
  readonly #buffer = Buffer.alloc(ENTRY_BYTES * 16_384);
  #filled = 0;
  #next = 0;
  #position = 0;

  constructor(path: string) {
    this.#file = openSync(path, 'a+');
  }

  /** The next entry; undefined where there is none yet. */
  next(): Entry | undefined {
    if (this.#next + ENTRY_BYTES > this.#filled && !this.#fill()) return undefined;
    const offset = this.#next;
    this.#next += ENTRY_BYTES;
    const bytes = this.#buffer;
    return {
      mark: bytes.readUInt8(offset) as Mark,
      producer: bytes.readUInt8(offset + 1),
      start: bytes.readUInt16LE(offset + 2),
      serial: bytes.readUInt32LE(offset + 4),
      at: bytes.readDoubleLE(offset + 8),
    };
  }

  close(): void {
    closeSync(this.#file);
  }

  #fill(): boolean {
    const read = readSync(this.#file, this.#buffer, 0, this.#buffer.length, this.#position);
    // An entry is written in one piece; what a full disk cut short is no entry.
    this.#filled = read - (read % ENTRY_BYTES);
    this.#position += this.#filled;
    this.#next = 0;
    return this.#filled > 0;
  }
}
