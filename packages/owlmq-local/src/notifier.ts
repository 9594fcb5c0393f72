import { ProblemError } from './http/problem.js';

const MAX_WAITERS = 10_000;

/** Wakes long polls: of a partition when records arrived, of a group when its membership changed. */
export class Notifier {
  readonly #waiters = new Map<string, Set<() => void>>();
  #waiting = 0;
  #closed = false;

  /** True once the server stops: nobody should wait any more. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Resolves at the next notification of one of the keys, after `ms`, when `signal` aborts, or when the server stops.
   * Whoever waits looks again for itself; the reason is not told.
   */
  async wait(keys: readonly string[], ms: number, signal: AbortSignal): Promise<void> {
    if (this.#closed || signal.aborted || ms <= 0) return;
    if (this.#waiting >= MAX_WAITERS)
      throw new ProblemError('throttled', `${MAX_WAITERS} long polls are waiting already`);
    this.#waiting++;
    let wake = (): void => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const timer = setTimeout(wake, ms);
    signal.addEventListener('abort', wake);
    for (const key of keys) this.#of(key).add(wake);
    try {
      await woken;
    } finally {
      this.#waiting--;
      clearTimeout(timer);
      signal.removeEventListener('abort', wake);
      for (const key of keys) this.#remove(key, wake);
    }
  }

  notify(key: string): void {
    for (const wake of this.#waiters.get(key) ?? []) wake();
  }

  close(): void {
    this.#closed = true;
    for (const key of this.#waiters.keys()) this.notify(key);
  }

  #of(key: string): Set<() => void> {
    const present = this.#waiters.get(key);
    if (present !== undefined) return present;
    const created = new Set<() => void>();
    this.#waiters.set(key, created);
    return created;
  }

  #remove(key: string, wake: () => void): void {
    const waiters = this.#waiters.get(key);
    waiters?.delete(wake);
    if (waiters?.size === 0) this.#waiters.delete(key);
  }
}
