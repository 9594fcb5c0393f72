import { createHash } from 'node:crypto';

const MAX_KEYS = 8_192;
const LONG_KEY_BYTES = 64;

/**
 * Counts copies whose place breaks the order of their key: those with a lower offset on the other leg than a copy of
 * an earlier record of the same key has. Remembers a bounded number of keys, those used last, so that the count of a
 * partition with more keys is a lower bound; it starts afresh with the process.
 */
export class KeyOrder {
  readonly #highest = new LeastRecentlyUsed<number>(MAX_KEYS);
  readonly #seen = new LeastRecentlyUsed<true>(MAX_KEYS);

  /** Takes the next record's key, message id and offset on the other leg; says what is odd about it. */
  next(key: Buffer | null, id: string, offset: number): 'in order' | 'inversion' | 'duplicate' {
    if (this.#seen.get(id) !== undefined) return 'duplicate';
    this.#seen.set(id, true);
    if (key === null) return 'in order';
    const name =
      key.length > LONG_KEY_BYTES ? createHash('sha256').update(key).digest('base64') : key.toString('latin1');
    const highest = this.#highest.get(name);
    this.#highest.set(name, Math.max(highest ?? 0, offset));
    return highest !== undefined && offset < highest ? 'inversion' : 'in order';
  }
}

class LeastRecentlyUsed<T> {
  readonly #entries = new Map<string, T>();
  constructor(readonly capacity: number) {}

  get(key: string): T | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: T): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.capacity) return;
    const oldest = this.#entries.keys().next();
    if (oldest.done !== true) this.#entries.delete(oldest.value);
  }
}
