/** Latencies are told apart by a tenth: bucket n holds those up to `1.1 ** n` ms. */
const GROWTH = 1.1;
/** The last bucket begins at about 100 s. */
const BUCKETS = 122;
const SLOT_MS = 10_000;
const SLOTS = 6;

/**
 * The latencies of about the last minute, in bounded memory: one histogram each ten seconds, of which the newest six
 * count. Milliseconds, monotonic.
 */
export class LatencyWindow {
  readonly #slots = Array.from({ length: SLOTS }, () => new Uint32Array(BUCKETS));
  readonly #now: () => number;
  /** Number of the newest slot since time began. */
  #newest = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  add(ms: number): void {
    this.#advance();
    const histogram = this.#slots[this.#newest % SLOTS];
    const bucket = Math.min(BUCKETS - 1, ms <= 1 ? 0 : Math.ceil(Math.log(ms) / Math.log(GROWTH)));
    if (histogram !== undefined) histogram[bucket] = (histogram[bucket] ?? 0) + 1;
  }

  /** The latency that the share `share` of all did not exceed, rounded up by a tenth at most; 0 when there are none. */
  quantile(share: number): number {
    this.#advance();
    const sums = new Array<number>(BUCKETS).fill(0);
    let count = 0;
    for (const histogram of this.#slots) {
      for (const [bucket, times] of histogram.entries()) {
        sums[bucket] = (sums[bucket] ?? 0) + times;
        count += times;
      }
    }
    if (count === 0) return 0;
    const rank = Math.ceil(share * count);
    let below = 0;
    const bucket = sums.findIndex((times) => (below += times) >= rank);
    return Math.round(GROWTH ** bucket * 10) / 10;
  }

  /** Empties the slots that are over. */
  #advance(): void {
    const present = Math.floor(this.#now() / SLOT_MS);
    if (present - this.#newest >= SLOTS) {
      for (const histogram of this.#slots) histogram.fill(0);
    } else {
      for (let slot = this.#newest + 1; slot <= present; slot++) this.#slots[slot % SLOTS]?.fill(0);
    }
    this.#newest = present;
  }
}
