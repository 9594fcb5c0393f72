import { setTimeout as delay } from 'node:timers/promises';
import type { Leg } from '../message/headers.js';
import type { ApplyGate, Standing } from './apply-gate.js';
import type { ConsumedMessage, ReceivedMessage } from './consumed-message.js';
import type { Observer, Outcome } from './observer.js';

/**
 * - `done`: go on behind the message.
 * - `held`: not handled, and not to be handled now; the position stays before it.
 * - `failed`: given up; the position stays before it and the partition stops.
 */
export type RunVerdict = 'done' | 'held' | 'failed';

/** Handles one message of a side. */
export interface MessageRunner {
  /** @param offset the message's offset on the leg it was read from. */
  run(received: ReceivedMessage, offset: number, standing: Standing): Promise<RunVerdict>;
}

/** Free of side effects; runs on both sides. */
export type ProcessHandler<Output> = (message: ConsumedMessage) => Output | Promise<Output>;
/** The effects; runs on the live side only. */
export type ApplyHandler<Output> = (output: Output, message: ConsumedMessage) => void | Promise<void>;

/** A message that `process` or `apply` failed on, after all attempts. */
export interface HandlerFailure {
  error: Error;
  message: ConsumedMessage;
  attempts: number;
}

/**
 * `stop`: stop the partition before the message, until the partition is assigned anew. `skip`: commit past the message,
 * without its effects. `retry`: another round of attempts.
 */
export type FailureDecision = 'stop' | 'skip' | 'retry';

/** A handler failed on a message, and the member stopped consuming its partition. */
export class HandlerFailedError extends Error {
  override readonly name = 'HandlerFailedError';
  constructor(
    readonly topic: string,
    readonly partition: number,
    readonly messageId: string,
    attempts: number,
    options: ErrorOptions,
  ) {
    super(`${topic}/${partition}: the handler failed ${attempts} times on message ${messageId}.`, options);
  }
}

/** Attempts on a message before it counts as failed, and the time between them, ms. */
export interface RetryLimits {
  attempts: number;
  initialDelayMs: number;
  maxDelayMs: number;
}

export interface LiveRunnerOptions<Output> {
  side: Leg;
  process: ProcessHandler<Output>;
  apply: ApplyHandler<Output>;
  gate: ApplyGate;
  observer: Observer | undefined;
  recent: RecentIds;
  counters: Counters;
  retry: RetryLimits;
  onFailure: (failure: HandlerFailure) => FailureDecision | Promise<FailureDecision>;
  onError: (error: Error) => void;
}

/** Counts of an instance since its start. */
export interface Counters {
  applied: number;
  failed: number;
}

/** The live side: `process`, then `apply`, with retries. */
export class LiveRunner<Output> implements MessageRunner {
  readonly #options: LiveRunnerOptions<Output>;

  constructor(options: LiveRunnerOptions<Output>) {
    this.#options = options;
  }

  async run(received: ReceivedMessage, offset: number, standing: Standing): Promise<RunVerdict> {
    const { recent, retry, onFailure, onError, counters, observer } = this.#options;
    const { message } = received;
    if (recent.has(message)) return 'done';
    for (;;) {
      let attempt = 0;
      let failure: Error | undefined;
      while (attempt < retry.attempts) {
        attempt += 1;
        const result = await this.#attempt(received, offset, standing);
        if (!('error' in result)) return result.verdict;
        failure = result.error;
        if (attempt < retry.attempts && !(await backoff(attempt, retry, standing.signal))) return 'held';
      }
      const error = failure ?? new Error('No attempt was made.');
      const decision = await onFailure({ error, message, attempts: attempt });
      if (decision === 'retry') continue;
      counters.failed += 1;
      onError(new HandlerFailedError(message.topic, message.partition, message.id, attempt, { cause: error }));
      if (decision === 'stop') return 'failed';
      if (observer?.wants('live', received) === true) await observer.observe('live', received, { error });
      return 'done';
    }
  }

  async #attempt(
    received: ReceivedMessage,
    offset: number,
    standing: Standing,
  ): Promise<{ verdict: RunVerdict } | { error: Error }> {
    const { side, process, apply, gate, observer, recent, counters } = this.#options;
    const { message } = received;
    let output: Output;
    try {
      output = await process(message);
    } catch (error) {
      return { error: asError(error) };
    }
    if (!(await gate.enter(side, message.topic, message.partition, offset, standing))) return { verdict: 'held' };
    try {
      // Digested in this turn: `apply` may change the output.
      const observed =
        observer?.wants('live', received) === true ? observer.observe('live', received, { output }) : undefined;
      await apply(output, message);
      recent.add(message);
      counters.applied += 1;
      await observed;
      return { verdict: 'done' };
    } catch (error) {
      return { error: asError(error) };
    } finally {
      gate.leave(side);
    }
  }
}

export interface ShadowRunnerOptions<Output> {
  process: ProcessHandler<Output>;
  gate: ApplyGate;
  observer: Observer;
  /** The live side's: an error that passes is none on either. */
  retry: RetryLimits;
}

/** The shadow side: `process` alone, with retries. It is never given `apply`. */
export class ShadowRunner<Output> implements MessageRunner {
  readonly #options: ShadowRunnerOptions<Output>;

  constructor(options: ShadowRunnerOptions<Output>) {
    this.#options = options;
  }

  async run(received: ReceivedMessage, _offset: number, standing: Standing): Promise<RunVerdict> {
    const { process, gate, observer, retry } = this.#options;
    for (let attempt = 1; ; attempt++) {
      if (!(await gate.enterShadow(standing))) return 'held';
      // Older than the comparison, or a record whose place in Kafka is unknown: nothing to compare it with.
      if (!observer.wants('shadow', received)) return 'done';
      let outcome: Outcome;
      try {
        outcome = { output: await process(received.message) };
      } catch (error) {
        if (attempt < retry.attempts) {
          if (!(await backoff(attempt, retry, standing.signal))) return 'held';
          continue;
        }
        outcome = { error: asError(error) };
      }
      await observer.observe('shadow', received, outcome);
      return 'done';
    }
  }
}

const RECENT_PER_PARTITION = 1_000;

/** The ids last applied in each partition, on either side: drops what is delivered again soon after. */
export class RecentIds {
  readonly #byPartition = new Map<string, Set<string>>();

  has(message: ConsumedMessage): boolean {
    return this.#byPartition.get(partitionKey(message.topic, message.partition))?.has(message.id) === true;
  }

  add(message: ConsumedMessage): void {
    const name = partitionKey(message.topic, message.partition);
    const ids = this.#byPartition.get(name) ?? new Set<string>();
    this.#byPartition.set(name, ids);
    ids.add(message.id);
    if (ids.size <= RECENT_PER_PARTITION) return;
    for (const oldest of ids) {
      ids.delete(oldest);
      break;
    }
  }
}

/** `TOPIC/PARTITION`. */
export function partitionKey(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}

/** Waits before the next attempt; false when `signal` aborted. */
async function backoff(attempt: number, retry: RetryLimits, signal: AbortSignal): Promise<boolean> {
  const bound = Math.min(retry.maxDelayMs, retry.initialDelayMs * 2 ** (attempt - 1));
  try {
    await delay(bound / 2 + (Math.random() * bound) / 2, undefined, { signal });
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}
