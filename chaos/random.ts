import { seededRandom } from '../demo/sample-data.js';

/** A seeded source of choices: the same ones for the same seed, in the same order of calls. */
export class Random {
  readonly #next: () => number;

  /** The parts name the use, so that two uses of one seed do not share a sequence. */
  constructor(...parts: readonly (number | string)[]) {
    this.#next = seededRandom(hashOf(parts.join('/')));
  }

  /** From 0 up to, and not including, 1. */
  share(): number {
    return this.#next();
  }

  /** A whole number from 0 up to, and not including, `bound`. */
  below(bound: number): number {
    return Math.floor(this.#next() * bound);
  }

  /** A whole number of a range, ends included. */
  within([least, most]: readonly [number, number]): number {
    return least + this.below(most - least + 1);
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError('There is nothing to pick from.');
    return item;
  }

  shuffled<T>(items: readonly T[]): T[] {
    const left = [...items];
    return items.flatMap(() => left.splice(this.below(left.length), 1));
  }
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}
