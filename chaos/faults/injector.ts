import { setTimeout as delay } from 'node:timers/promises';
import type { RunLog } from '../run-log.js';

/** What every fault of a plan has; when it begins depends on the run. */
export interface PlannedFault<K extends string> {
  readonly index: number;
  readonly kind: K;
  /** Between the begin of the last one and this one's, at the least. */
  readonly gapMs: number;
}

/** Waits that end early when no more faults are wanted: what is broken is healed all the same. */
export interface Waits {
  readonly pause: (ms: number) => Promise<void>;
  /** Until it holds, or `ms` are over. */
  readonly until: (condition: () => boolean | Promise<boolean>, ms: number) => Promise<void>;
}

export interface InjectorOptions<F> {
  readonly faults: Iterable<F>;
  /** What a fault has to itself: two faults never break the same thing at once. */
  readonly resourcesOf: (fault: F) => readonly string[];
  /** Breaks something, and heals it. @throws when it could not be healed, which ends the run. */
  readonly inject: (fault: F, waits: Waits) => Promise<void>;
  /** While it holds no fault begins. */
  readonly calm?: () => boolean;
  readonly log: RunLog;
  /** Ends the run at once. */
  readonly signal: AbortSignal;
}

const AT_ONCE = 2;
const POLL_MS = 20;

/** Begins faults one after the other, at most two at a time, and heals each. */
export class Injector<K extends string, F extends PlannedFault<K>> {
  /** Faults that were healed, by kind. */
  readonly counts = new Map<K, number>();
  readonly #options: InjectorOptions<F>;
  readonly #active = new Map<F, Promise<void>>();
  readonly #taken = new Set<string>();
  readonly #stop = new AbortController();
  #failed: Error | undefined;
  #finished = false;

  constructor(options: InjectorOptions<F>) {
    this.#options = options;
  }

  /** No more will begin, and all are healed. */
  get finished(): boolean {
    return this.#finished;
  }

  get injected(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Injects until `stop()`, or all; resolves when all is healed. @throws what a fault could not be healed for. */
  async run(): Promise<void> {
    const { faults, resourcesOf, calm = () => false } = this.#options;
    try {
      for (const fault of faults) {
        await this.#waits.pause(fault.gapMs);
        const free = () =>
          !calm() && this.#active.size < AT_ONCE && resourcesOf(fault).every((name) => !this.#taken.has(name));
        while (!this.#stopping && !free()) await this.#waits.pause(POLL_MS);
        if (this.#stopping) break;
        this.#begin(fault);
      }
    } finally {
      await Promise.all(this.#active.values());
      this.#finished = true;
    }
    if (this.#failed !== undefined) throw this.#failed;
  }

  /** Begins no more, and ends those that can end early. */
  stop(): void {
    this.#stop.abort();
  }

  #begin(fault: F): void {
    const { log, resourcesOf, inject } = this.#options;
    for (const name of resourcesOf(fault)) this.#taken.add(name);
    log.write('fault begins', { fault });
    const work = inject(fault, this.#waits)
      .then(() => {
        this.counts.set(fault.kind, (this.counts.get(fault.kind) ?? 0) + 1);
      })
      .catch((error: unknown) => {
        this.#failed ??= error instanceof Error ? error : new Error(String(error));
        this.#stop.abort();
      })
      .finally(() => {
        log.write('fault ends', { index: fault.index, kind: fault.kind });
        for (const name of resourcesOf(fault)) this.#taken.delete(name);
        this.#active.delete(fault);
      });
    this.#active.set(fault, work);
  }

  get #stopping(): boolean {
    return this.#stop.signal.aborted;
  }

  readonly #waits: Waits = {
    pause: async (ms) => {
      const { signal } = this.#options;
      try {
        await delay(ms, undefined, { signal: AbortSignal.any([signal, this.#stop.signal]) });
      } catch (error) {
        signal.throwIfAborted();
        if (!this.#stopping) throw error;
      }
    },
    until: async (condition, ms) => {
      const deadline = performance.now() + ms;
      // Once it stops, waits do not last: looking on would be a busy loop.
      while (!(await condition()) && performance.now() < deadline && !this.#stopping) await this.#waits.pause(POLL_MS);
    },
  };
}
