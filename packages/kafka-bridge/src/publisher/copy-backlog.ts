/** Copies that made no progress for this long, while some wait, do not reach OwlMQ. */
const STALLED_AFTER_MS = 5_000;

/** Bounds the copies that wait for OwlMQ, over all topics, in count and bytes, and tells whether they get there. */
export class CopyBacklog {
  readonly #maxCount: number;
  readonly #maxBytes: number;
  #count = 0;
  #bytes = 0;
  /** Topics whose copies are refused until what waits of them is gone, so that the gap is one. */
  readonly #closed = new Set<string>();

  /** When a copy was stored last, or the first of those that wait was taken; monotonic. */
  #movedAt = 0;
  /** When a copy was dropped last; undefined once copies flow again. */
  #droppedAt: number | undefined;

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
    if (this.#count === 0) this.#movedAt = performance.now();
    this.#count++;
    this.#bytes += bytes;
    return 'taken';
  }

  /** Some wait and none was stored for seconds, or some were dropped and none was stored for seconds after that. */
  get degraded(): boolean {
    return this.#droppedAt !== undefined || (this.#count > 0 && this.#idleMs(this.#movedAt) >= STALLED_AFTER_MS);
  }

  /** A copy that was taken is on OwlMQ. */
  stored(bytes: number): void {
    this.#release(bytes);
    this.#movedAt = performance.now();
    if (this.#droppedAt !== undefined && this.#idleMs(this.#droppedAt) >= STALLED_AFTER_MS) this.#droppedAt = undefined;
  }

  /** A copy that was taken is given up. */
  givenUp(bytes: number): void {
    this.#release(bytes);
    this.dropped();
  }

  /** A copy is left to the audit. */
  dropped(): void {
    this.#droppedAt = performance.now();
  }

  /** Drops of before now no longer count: they are an earlier routing state's. */
  forgetDrops(): void {
    this.#droppedAt = undefined;
  }

  #idleMs(since: number): number {
    return performance.now() - since;
  }

  #release(bytes: number): void {
    this.#count--;
    this.#bytes -= bytes;
  }
}
