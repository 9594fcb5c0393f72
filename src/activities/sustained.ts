/**
 * The worst value of a figure that lasted: a spike that is over before the time is does not count. Holds the looks of
 * that time alone.
 */
export class Sustained {
  readonly #looks: { value: number; at: number }[] = [];
  #worst: number | null = null;

  constructor(private readonly forMs: number) {}

  /** The highest value that the figure did not fall below for the time; null while nobody looked for that long. */
  get worst(): number | null {
    return this.#worst;
  }

  /** @param at monotonic time, ms; not before that of the look before. */
  add(value: number, at: number): void {
    this.#looks.push({ value, at });
    // The oldest that is kept is at least as old as the time.
    while (this.#looks.length > 1 && at - (this.#looks[1]?.at ?? at) >= this.forMs) this.#looks.shift();
    if (at - (this.#looks[0]?.at ?? at) < this.forMs) return;
    const lasting = Math.min(...this.#looks.map((look) => look.value));
    this.#worst = Math.max(this.#worst ?? lasting, lasting);
  }
}

/** Names that were in a list without a break for a time. */
export class SustainedNames {
  readonly #since = new Map<string, number>();
  readonly names = new Set<string>();

  constructor(private readonly forMs: number) {}

  /** @param at monotonic time, ms. */
  add(present: readonly string[], at: number): void {
    for (const name of this.#since.keys()) if (!present.includes(name)) this.#since.delete(name);
    for (const name of present) {
      const since = this.#since.get(name) ?? at;
      this.#since.set(name, since);
      if (at - since >= this.forMs) this.names.add(name);
    }
  }
}
