import type { ConsumingSide } from './consuming-side.js';

/** Keeps one side running or stopped as wanted. Starting and stopping happen in the background, one after the other. */
export class SideSlot {
  #wanted = false;
  #current: ConsumingSide | undefined;
  #working: Promise<void> | undefined;

  constructor(
    private readonly make: () => ConsumingSide,
    private readonly changed: () => void,
  ) {}

  get wanted(): boolean {
    return this.#wanted;
  }

  /** The side, from its start until it has left its group. */
  get current(): ConsumingSide | undefined {
    return this.#current;
  }

  /** As wanted: in its group, or out of it with nothing in hand. */
  get settled(): boolean {
    if (this.#working !== undefined) return false;
    return this.#wanted ? this.#current?.joined === true : this.#current === undefined;
  }

  set(wanted: boolean): void {
    this.#wanted = wanted;
    this.#working ??= this.#work();
  }

  /** Stops the side for good. */
  async stop(): Promise<void> {
    this.set(false);
    await this.#working;
  }

  async #work(): Promise<void> {
    // So that `#working` is set before the end is reached.
    await Promise.resolve();
    while (this.#wanted !== (this.#current !== undefined)) {
      if (this.#current === undefined) {
        this.#current = this.make();
        this.#current.start();
      } else {
        await this.#current.stop();
        this.#current = undefined;
      }
    }
    this.#working = undefined;
    this.changed();
  }
}
