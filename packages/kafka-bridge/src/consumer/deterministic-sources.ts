import { createHash } from 'node:crypto';
import { stringify } from 'uuid';
import type { ConsumedMessage } from './consumed-message.js';

/** A clock that stands at the time of the message. */
export interface MessageClock {
  /** Unix ms. */
  readonly now: () => number;
  /** A new object at each call. */
  readonly date: () => Date;
}

/**
 * What a handler would else take from its surroundings. A function of group, topic, message id and message time: the
 * same on both sides, at each attempt, and after a restart. Each value depends on how many of its kind were taken
 * before, so take them in an order that is always the same: not in parts that run side by side.
 */
export interface DeterministicSources {
  readonly clock: MessageClock;
  /** A number from 0 (inclusive) to 1 (exclusive), for sampling and jitter; anybody who knows the id can tell it. */
  readonly random: () => number;
  /** `count` bytes (at most 65,536), no better kept than `random()`. */
  readonly randomBytes: (count: number) => Buffer;
  /** A new UUIDv7 of the message's time. Not a secret. */
  readonly id: () => string;
}

const MAX_BYTES = 65_536;
const MAX_UUID_TIME = 2 ** 48 - 1;

/** The sources of one attempt on a message. */
export function deterministicSources(group: string, message: ConsumedMessage): DeterministicSources {
  const { topic, id, timestamp } = message;
  // As JSON: no two triples have one text.
  const seed = JSON.stringify([group, topic, id]);
  const numbers = new ByteStream(seed, 'random');
  const ids = new ByteStream(seed, 'id');
  return {
    clock: { now: () => timestamp, date: () => new Date(timestamp) },
    random: () => Number(numbers.take(8).readBigUInt64BE() >> 11n) / 2 ** 53,
    randomBytes: (count) => {
      if (!Number.isInteger(count) || count < 0 || count > MAX_BYTES) {
        throw new RangeError(`randomBytes takes a number from 0 to ${MAX_BYTES}, not ${count}.`);
      }
      return numbers.take(count);
    },
    id: () => {
      const bytes = ids.take(16);
      // Of the library's own making, so that an update of it does not change ids.
      bytes.writeUIntBE(Math.min(Math.max(0, Math.trunc(timestamp)), MAX_UUID_TIME), 0, 6);
      bytes.writeUInt8(0x70 | (bytes.readUInt8(6) & 0x0f), 6);
      bytes.writeUInt8(0x80 | (bytes.readUInt8(8) & 0x3f), 8);
      return stringify(bytes);
    },
  };
}

/** SHA-256 of seed, name and a counter, block after block. */
class ByteStream {
  #block: Buffer = Buffer.alloc(0);
  #counter = 0;

  constructor(
    private readonly seed: string,
    private readonly name: string,
  ) {}

  take(count: number): Buffer {
    const parts: Buffer[] = [];
    for (let missing = count; missing > 0;) {
      if (this.#block.length === 0) {
        this.#block = createHash('sha256').update(`${this.name}/${this.#counter}/${this.seed}`).digest();
        this.#counter += 1;
      }
      const part = this.#block.subarray(0, missing);
      this.#block = this.#block.subarray(part.length);
      parts.push(part);
      missing -= part.length;
    }
    return Buffer.concat(parts);
  }
}
