/** Does what belongs to one name one after the other, in the order of the calls. */
export class InTurn {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Begins once everything that was given before under this name has ended; the result is the work's own. */
  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.#last.get(name) ?? Promise.resolve()).then(work);
    // Who gave it hears of its failure.
    const ended = mine.catch(() => undefined);
    this.#last.set(name, ended);
    try {
      return await mine;
    } finally {
      if (this.#last.get(name) === ended) this.#last.delete(name);
    }
  }
}
