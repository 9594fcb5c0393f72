/** Bounds the copies that wait for OwlMQ, over all topics, in count and bytes. */
export class CopyBacklog {
  readonly #maxCount: number;
  readonly #maxBytes: number;
  #count = 0;
  #bytes = 0;
  /** Topics whose copies are refused until what waits of them is gone, so that the gap is one. */
  readonly #closed = new Set<string>();

  constructor(options: { maxCount: number; maxBytes: number }) {
    this.#maxCount = options.maxCount;
    this.#maxBytes = options.maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * Takes room for a copy. `waiting`: copies of its topic that wait already. `overflow` is answered for the first
   * that is refused, `refused` for the ones after it.
   */
  take(topic: string, bytes: number, waiting: number): 'taken' | 'overflow' | 'refused' {
    const wasClosed = this.#closed.has(topic);
    if (wasClosed && waiting > 0) return 'refused';
    if (this.#count >= this.#maxCount || this.#bytes + bytes > this.#maxBytes) {
      this.#closed.add(topic);
      return wasClosed ? 'refused' : 'overflow';
    }
    this.#closed.delete(topic);
    this.#count++;
    this.#bytes += bytes;
    return 'taken';
  }

  release(bytes: number): void {
    this.#count--;
    this.#bytes -= bytes;
  }
}
