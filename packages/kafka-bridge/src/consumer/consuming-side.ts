import type { MessageRunner } from './message-runner.js';
import type { PartitionProgress } from './partition-progress.js';

/** One side of a consumer: a member of a group on one of the legs, which hands messages to a runner. */
export interface ConsumingSide {
  /** Joins the group in the background and stays in it, through errors, until stopped. */
  start(): void;
  /** Finishes the message in hand, commits and leaves the group. Does not throw: what fails is told to `onError`. */
  stop(): Promise<void>;
  /** The routing state or the lease changed. */
  routingChanged(): void;
  /** In the group, with its partitions' positions known. */
  readonly joined: boolean;
  /** Why the side is not in its group, when it is not. */
  readonly lastError: Error | undefined;
  /**
   * In the group, every partition at its limit and committed. While sides are to stop where they are, an OwlMQ side is
   * drained out of its group too: it applies nothing, and what it could not commit is delivered again.
   */
  readonly drained: boolean;
  /** The assigned partitions. */
  readonly partitions: readonly PartitionProgress[];
}

/** What a side is told and asks. */
export interface SideOptions {
  groupId: string;
  clientId: string;
  topics: readonly string[];
  sessionTimeoutMs: number;
  runner: MessageRunner;
  /** Offset (exclusive) up to which the side may handle messages now. */
  limit: (topic: string, partition: number) => number;
  /** Whether the side is to stop where it is, without an offset to reach. */
  stopping: () => boolean;
  /** Whether the runner has a message in hand that it is applying. */
  busy: () => boolean;
  /** Whether watermarks matter now. */
  observing: () => boolean;
  /** Resolves once what was observed so far is acknowledged. */
  flush: () => Promise<void>;
  /** Something that a report shows has changed. */
  changed: () => void;
  onError: (error: Error) => void;
}

/** Commits are at most this far apart while a batch is handled, ms. */
export const COMMIT_INTERVAL_MS = 500;

/** Whether every partition is at its limit, committed, and nothing is in hand. */
export function allDrained(
  partitions: readonly PartitionProgress[],
  options: Pick<SideOptions, 'limit' | 'busy'>,
): boolean {
  if (options.busy()) return false;
  return partitions.every(
    ({ topic, partition, next, committed }) => next >= options.limit(topic, partition) && committed === next,
  );
}

/** Waits between attempts, from short to long; the wait ends early when `signal` aborts. */
export class Backoff {
  #failures = 0;

  constructor(private readonly bounds: { initialMs: number; maxMs: number }) {}

  reset(): void {
    this.#failures = 0;
  }

  async wait(signal: AbortSignal): Promise<void> {
    const bound = Math.min(this.bounds.maxMs, this.bounds.initialMs * 2 ** this.#failures);
    this.#failures += 1;
    await sleep(bound / 2 + (Math.random() * bound) / 2, signal);
  }
}

/** Resolves after a time, or at once when `signal` aborts. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}

/**
 * Calls `beat` every `intervalMs` while something slow runs, one call at a time. Aborts `failed` with the error when it
 * throws, and beats no more.
 */
export function beatWhile(intervalMs: number, beat: () => Promise<void>, failed: AbortController): () => Promise<void> {
  let beating: Promise<void> | undefined;
  const timer = setInterval(() => {
    beating ??= beat()
      .catch((error: unknown) => {
        clearInterval(timer);
        failed.abort(error);
      })
      .finally(() => {
        beating = undefined;
      });
  }, intervalMs);
  return async () => {
    clearInterval(timer);
    await beating;
  };
}

export function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}
