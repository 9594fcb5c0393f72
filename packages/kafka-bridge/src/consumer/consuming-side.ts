import { backoffMs, pause } from '../async/bounded.js';
import type { MessageRunner } from './message-runner.js';
import type { PartitionProgress } from './partition-progress.js';

/** One side of a consumer: a member of a group on one of the legs, which hands messages to a runner. */
export interface ConsumingSide {
  /** Joins the group in the background and stays in it, through errors, until stopped. */
  start(): void;
  /** Finishes the message in hand, commits and leaves the group. Does not throw: what fails is told to `onError`. */
  stop(): Promise<void>;
  /** The routing state, the lease, or whether the consumer is paused has changed. */
  routingChanged(): void;
  /** In the group, with its partitions' positions known. */
  readonly joined: boolean;
  /** Its name in the group, as far as it has one. */
  readonly memberId: string | undefined;
  /** Why the side is not in its group, when it is not. */
  readonly lastError: Error | undefined;
  /**
   * In the group, every partition at its limit and committed. While sides are to stop where they are, one is drained out
   * of its group too: it applies nothing, and what it could not commit is delivered again.
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
  /** Messages of a partition in hand at once. */
  concurrency: number;
  /** Partitions handled side by side. */
  partitionsAtOnce: number;
  /** Whether no message is to be taken on, wherever the limit is. */
  paused: () => boolean;
  /** Aborts, with a `HandlerInterruptedError`, when what is in hand is to end because the consumer stops. */
  interrupt: AbortSignal;
  /** Aborts when what is in hand is not waited for any more. */
  abandon: AbortSignal;
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
    const ms = backoffMs(this.#failures, this.bounds.initialMs, this.bounds.maxMs);
    this.#failures += 1;
    await pause(ms, signal);
  }
}

/** Calls `look` every `intervalMs`, one call at a time; it must not throw. Returns what ends it, after the one under way. */
export function every(intervalMs: number, look: () => Promise<void>): () => Promise<void> {
  let looking: Promise<void> | undefined;
  const timer = setInterval(() => {
    looking ??= look().finally(() => {
      looking = undefined;
    });
  }, intervalMs);
  return async () => {
    clearInterval(timer);
    await looking;
  };
}
