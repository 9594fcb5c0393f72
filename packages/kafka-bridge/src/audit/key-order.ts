import { createHash } from 'node:crypto';

const MAX_KEYS = 8_192;
const LONG_KEY = 64;

/**
 * Finds copies whose place breaks the order of their key: those with a lower offset on the other leg than a copy of
 * an earlier record of the same key has. Remembers a bounded number of keys, those seen last, so that the count of a
 * partition with more keys is a lower bound; it starts afresh with the process.
 */
export class KeyOrder {
  #recent = new Map<string, number>();
  #older = new Map<string, number>();

  /** Takes the next record's key, one character a byte, and its offset on the other leg; says whether it is behind. */
  isInversion(key: string | null, offset: number): boolean {
    if (key === null) return false;
    const name = key.length > LONG_KEY ? createHash('sha256').update(key, 'latin1').digest('base64') : key;
    const highest = this.#recent.get(name) ?? this.#older.get(name);
    if (highest === undefined || offset > highest) this.#remember(name, offset);
    return highest !== undefined && offset < highest;
  }

  #remember(name: string, offset: number): void {
    this.#recent.set(name, offset);
    // Two generations in place of a list of uses: dropping one costs nothing.
    if (this.#recent.size < MAX_KEYS / 2) return;
    this.#older = this.#recent;
    this.#recent = new Map();
  }
}
