/** Measures how long `publish()` calls were held, the longest of each closure to the next. Milliseconds, monotonic. */
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

  /**
   * Some held calls were ended. `oldest`: when the one that has waited for longest of the others was accepted; undefined
   * when none is held.
   */
  ended(oldest: number | undefined): void {
    const since = this.#heldSince;
    this.released();
    if (since !== undefined && oldest !== undefined) this.#heldSince = Math.max(since, oldest);
  }

  /** Forgets the closures before the present one. */
  reset(): void {
    this.#longest = 0;
  }
}
