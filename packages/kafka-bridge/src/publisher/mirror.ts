import { Fifo } from './fifo.js';
import type { Outgoing } from './outgoing.js';

export interface KafkaMirrorOptions {
  /** How long a `publish()` waits for its mirror write, ms. */
  timeoutMs: number;
  /** The message's call need not wait any longer. */
  onDone: (message: Outgoing) => void;
  /** A mirror write is given up and left to the audit. */
  onDropped: (message: Outgoing) => void;
  onDegraded: (degraded: boolean, cause: Error | undefined) => void;
}

const PROBE_INTERVAL_MS = 1_000;

/**
 * Messages that OwlMQ acknowledged and whose mirror write to Kafka is due. When Kafka does not answer in time the
 * mirror is degraded: calls no longer wait for it, and one write a second tries whether Kafka is back.
 */
export class KafkaMirror {
  readonly #options: KafkaMirrorOptions;
  readonly #due = new Fifo<Outgoing>();
  /** Those whose call waits, oldest first, with when it stops to. */
  readonly #awaited = new Map<Outgoing, number>();
  #timer: NodeJS.Timeout | undefined;
  #degraded = false;
  #probeAt = 0;

  constructor(options: KafkaMirrorOptions) {
    this.#options = options;
  }

  get degraded(): boolean {
    return this.#degraded;
  }

  /** Mirror writes that were not begun. */
  get due(): number {
    return this.#due.length;
  }

  add(message: Outgoing): void {
    if (!this.#degraded) {
      this.#due.push(message);
      this.#awaited.set(message, performance.now() + this.#options.timeoutMs);
      this.#watch();
      return;
    }
    this.#options.onDone(message);
    if (this.#due.length === 0 && performance.now() >= this.#probeAt) {
      this.#probeAt = performance.now() + PROBE_INTERVAL_MS;
      this.#due.push(message);
    } else {
      this.#options.onDropped(message);
    }
  }

  /** Next one to write. */
  peek(): Outgoing | undefined {
    return this.#due.peek();
  }

  take(): void {
    this.#due.shift();
  }

  written(message: Outgoing): void {
    this.#finish(message);
    this.#setDegraded(false, undefined);
  }

  failed(message: Outgoing, cause: Error): void {
    this.#finish(message);
    this.#options.onDropped(message);
    this.#degrade(cause);
  }

  /** Leaves a write to the audit, for no fault of Kafka's. */
  leave(message: Outgoing): void {
    this.#finish(message);
    this.#options.onDropped(message);
  }

  /** Kafka acknowledged another write. */
  recovered(): void {
    this.#setDegraded(false, undefined);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #finish(message: Outgoing): void {
    if (this.#awaited.delete(message)) this.#options.onDone(message);
  }

  #degrade(cause: Error): void {
    this.#probeAt = performance.now() + PROBE_INTERVAL_MS;
    this.#setDegraded(true, cause);
    const due = this.#due.clear();
    for (const message of due) this.#options.onDropped(message);
    for (const message of [...this.#awaited.keys()]) this.#finish(message);
  }

  #setDegraded(degraded: boolean, cause: Error | undefined): void {
    if (this.#degraded === degraded) return;
    this.#degraded = degraded;
    this.#options.onDegraded(degraded, cause);
  }

  #watch(): void {
    if (this.#timer !== undefined) return;
    const [oldest] = this.#awaited.values();
    if (oldest === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        const [limit] = this.#awaited.values();
        if (limit !== undefined && limit <= performance.now()) {
          this.#degrade(new Error(`Kafka did not acknowledge a mirror write within ${this.#options.timeoutMs} ms.`));
        }
        this.#watch();
      },
      Math.max(1, oldest - performance.now()),
    );
  }
}
