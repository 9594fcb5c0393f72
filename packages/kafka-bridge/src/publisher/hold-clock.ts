/** Measures how long `publish()` calls were held, the longest of each closure. Milliseconds, monotonic. */
export class HoldClock {
  #heldSince: number | undefined;
  #longest = 0;

  /** Longest hold since the last `reset()`, the present one included. */
  get longestMs(): number {
    const present = this.#heldSince === undefined ? 0 : performance.now() - this.#heldSince;
    return Math.max(this.#longest, present);
  }

  /** A call is held from now on. */
  held(): void {
    this.#heldSince ??= performance.now();
  }

  /** None is held any more. Returns how long the longest was. */
  released(): number {
    if (this.#heldSince === undefined) return 0;
    const heldMs = performance.now() - this.#heldSince;
    this.#longest = Math.max(this.#longest, heldMs);
    this.#heldSince = undefined;
    return heldMs;
  }

  /** Forgets the closures before the present one. */
  reset(): void {
    this.#longest = 0;
  }
}
