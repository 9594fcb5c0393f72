import { asError, backoffMs, pause } from '../async/bounded.js';
import type { Leg } from '../message/headers.js';
import type { ApplyGate, Standing } from './apply-gate.js';
import type { ConsumedMessage, ReceivedMessage } from './consumed-message.js';
import type { DeadLetter, DeadLetters } from './dead-letters.js';
import { HandlerTurn, type HandlerContext, type MessagesInHand, type ProcessContext } from './handler-turn.js';
import type { Observation } from './observation.js';
import type { Observer, Outcome } from './observer.js';
import type { RecentIds } from './recent-ids.js';

/**
 * - `done`: go on behind the message. `pass` is to be called, in the order of offsets, before its position counts.
 * - `held`: not handled, and not to be handled now; the position stays before it.
 * - `failed`: given up; the position stays before it and the partition stops.
 */
export type RunResult = { verdict: 'done'; pass: () => Promise<void> } | { verdict: 'held' } | { verdict: 'failed' };

/** Handles messages of a side; those of one key one after the other. */
export interface MessageRunner {
  /** @param offset the message's offset on the leg it was read from. */
  run(received: ReceivedMessage, offset: number, standing: Standing): Promise<RunResult>;
}

/** Free of side effects; runs on both sides. */
export type ProcessHandler<Output> = (message: ConsumedMessage, context: ProcessContext) => Output | Promise<Output>;
/** The effects; runs on the live side only. */
export type ApplyHandler<Output> = (
  output: Output,
  message: ConsumedMessage,
  context: HandlerContext,
) => void | Promise<void>;

/** A message that `process` or `apply` failed on, after all attempts. */
export interface HandlerFailure {
  error: Error;
  message: ConsumedMessage;
  attempts: number;
}

/**
 * `stop`: stop the partition before the message, until the partition is assigned anew. `skip`: commit past the message,
 * without its effects. `retry`: another round of attempts. `dead-letter`: write the message to `deadLetterTopic` with the
 * reason, then commit past it.
 */
export type FailureDecision = 'stop' | 'skip' | 'retry' | 'dead-letter';

/** A handler failed on a message for good. */
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

/** Counts of an instance since its start. */
export interface Counters {
  applied: number;
  failed: number;
}

export interface LiveRunnerOptions<Output> {
  side: Leg;
  group: string;
  process: ProcessHandler<Output>;
  apply: ApplyHandler<Output>;
  gate: ApplyGate;
  observer: Observer | undefined;
  recent: RecentIds;
  inHand: MessagesInHand;
  counters: Counters;
  retry: RetryLimits;
  deadLetters: DeadLetters;
  onFailure: (failure: HandlerFailure) => FailureDecision | Promise<FailureDecision>;
  onError: (error: Error) => void;
}

/** `observation`: of the output, where `process` made one and `apply` failed. */
interface FailedAttempt {
  error: Error;
  observation?: Observation | undefined;
}

/** The live side: `process`, then `apply`, with retries. */
export class LiveRunner<Output> implements MessageRunner {
  readonly #options: LiveRunnerOptions<Output>;

  constructor(options: LiveRunnerOptions<Output>) {
    this.#options = options;
  }

  async run(received: ReceivedMessage, offset: number, standing: Standing): Promise<RunResult> {
    const { recent, inHand, side } = this.#options;
    const { message } = received;
    // Applied ahead of a message that was not, and delivered again with that one.
    if (recent.has(message)) return this.#done(message, recent.unpassed(message));
    const ended = inHand.begin(side, message);
    try {
      return await this.#handle(received, offset, standing);
    } finally {
      ended();
    }
  }

  async #handle(received: ReceivedMessage, offset: number, standing: Standing): Promise<RunResult> {
    const { retry, onError, counters, observer, recent } = this.#options;
    const { message } = received;
    for (;;) {
      let failure: FailedAttempt = { error: new Error('No attempt was made.') };
      for (let attempt = 1; attempt <= retry.attempts; attempt += 1) {
        const result = await this.#attempt(received, offset, standing);
        if ('verdict' in result) return result;
        failure = result;
        if (attempt < retry.attempts && !(await nextAttempt(attempt, retry, standing.signal))) {
          return { verdict: 'held' };
        }
      }
      const decision = await this.#decide({ error: failure.error, message, attempts: retry.attempts });
      if (decision === 'retry' && !standing.signal.aborted) continue;
      if (decision === 'retry') return { verdict: 'held' };
      let stops = decision === 'stop';
      if (decision === 'dead-letter') {
        const letter: DeadLetter = { message, error: failure.error, attempts: retry.attempts };
        const sent = await this.#sendAway(letter, offset, standing);
        if (sent === 'held') return { verdict: 'held' };
        stops = sent === 'failed';
      }
      counters.failed += 1;
      const { topic, partition, id } = message;
      onError(new HandlerFailedError(topic, partition, id, retry.attempts, { cause: failure.error }));
      if (stops) return { verdict: 'failed' };
      const observation = failure.observation ?? observer?.observation('live', received, failure);
      recent.add(message, observation);
      return this.#done(message, observation);
    }
  }

  async #decide(failure: HandlerFailure): Promise<FailureDecision> {
    try {
      return await this.#options.onFailure(failure);
    } catch (error) {
      this.#options.onError(asError(error));
      return 'stop';
    }
  }

  /** To the dead-letter topic: an effect, which needs the right and has the attempts that `apply` has. */
  async #sendAway(letter: DeadLetter, offset: number, standing: Standing): Promise<RunResult['verdict']> {
    const { side, gate, deadLetters, retry, onError } = this.#options;
    const { topic, partition } = letter.message;
    for (let attempt = 1; ; attempt += 1) {
      if (!(await gate.enter(side, topic, partition, offset, standing))) return 'held';
      try {
        await deadLetters.send(side, letter);
        return 'done';
      } catch (error) {
        if (attempt >= retry.attempts) {
          onError(asError(error));
          return 'failed';
        }
      } finally {
        gate.leave(side);
      }
      if (!(await nextAttempt(attempt, retry, standing.signal))) return 'held';
    }
  }

  async #attempt(received: ReceivedMessage, offset: number, standing: Standing): Promise<RunResult | FailedAttempt> {
    const { side, group, process, apply, gate, observer, recent, counters } = this.#options;
    const { message } = received;
    // So that a handler that stops at the signal is not begun again before it may go on.
    if (!(await gate.current(standing))) return { verdict: 'held' };
    const turn = new HandlerTurn(group, message, standing, gate.lease);
    let observation: Observation | undefined;
    try {
      const output = await process(message, turn.context);
      if (!(await gate.enter(side, message.topic, message.partition, offset, standing))) return { verdict: 'held' };
      try {
        // Digested in this turn: `apply` may change the output.
        observation = observer?.observation('live', received, { output });
        await apply(output, message, turn.context);
      } finally {
        gate.leave(side);
      }
    } catch (error) {
      return turn.interrupted ? { verdict: 'held' } : { error: asError(error), observation };
    } finally {
      turn.end();
    }
    recent.add(message, observation);
    counters.applied += 1;
    return this.#done(message, observation);
  }

  #done(message: ConsumedMessage, observation: Observation | undefined): RunResult {
    const { observer, recent } = this.#options;
    return {
      verdict: 'done',
      pass: async () => {
        if (observation !== undefined) await observer?.write(observation);
        recent.passed(message);
      },
    };
  }
}

export interface ShadowRunnerOptions<Output> {
  /** The leg that it reads. */
  leg: Leg;
  group: string;
  process: ProcessHandler<Output>;
  gate: ApplyGate;
  observer: Observer;
  inHand: MessagesInHand;
  /** Of the shadow's own, on the leg where the live side meets the same repetitions; OwlMQ stores an id once. */
  recent?: RecentIds;
  /** The live side's: an error that passes is none on either. */
  retry: RetryLimits;
  /** A shadow has no effects: nothing that could have them may be handed to it. */
  apply?: never;
  deadLetters?: never;
}

/** The shadow side: `process` alone, with retries. It cannot be made with `apply`, nor with the dead letters. */
export class ShadowRunner<Output> implements MessageRunner {
  readonly #options: ShadowRunnerOptions<Output>;

  constructor(options: ShadowRunnerOptions<Output>) {
    // For callers without types, and options made by spreading a live side's.
    for (const effect of ['apply', 'deadLetters']) {
      if (effect in options) throw new TypeError(`A shadow is never given \`${effect}\`.`);
    }
    this.#options = options;
  }

  async run(received: ReceivedMessage, _offset: number, standing: Standing): Promise<RunResult> {
    const { leg, gate, observer, inHand, recent } = this.#options;
    const { message } = received;
    if (!(await gate.enterShadow(leg, standing))) return { verdict: 'held' };
    // Older than the comparison, or a record whose place in Kafka is unknown: nothing to compare it with.
    if (!observer.wants('shadow', received)) return { verdict: 'done', pass: () => Promise.resolve() };
    if (recent?.has(message) === true) return this.#done(message, recent.unpassed(message));
    const ended = inHand.begin('shadow', message);
    try {
      return await this.#handle(received, standing);
    } finally {
      ended();
    }
  }

  async #handle(received: ReceivedMessage, standing: Standing): Promise<RunResult> {
    const { leg, group, process, gate, retry } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      const turn = new HandlerTurn(group, received.message, standing, gate.lease);
      try {
        return this.#handled(received, { output: await process(received.message, turn.context) });
      } catch (error) {
        if (turn.interrupted) return { verdict: 'held' };
        if (attempt >= retry.attempts) return this.#handled(received, { error: asError(error) });
      } finally {
        turn.end();
      }
      if (!(await nextAttempt(attempt, retry, standing.signal)) || !(await gate.enterShadow(leg, standing))) {
        return { verdict: 'held' };
      }
    }
  }

  #handled(received: ReceivedMessage, outcome: Outcome): RunResult {
    const { observer, recent } = this.#options;
    const observation = observer.observation('shadow', received, outcome);
    recent?.add(received.message, observation);
    return this.#done(received.message, observation);
  }

  #done(message: ConsumedMessage, observation: Observation | undefined): RunResult {
    const { observer, recent } = this.#options;
    return {
      verdict: 'done',
      pass: async () => {
        if (observation !== undefined) await observer.write(observation);
        recent?.passed(message);
      },
    };
  }
}

/** Waits before the next attempt; false when `signal` aborted. */
async function nextAttempt(attempt: number, retry: RetryLimits, signal: AbortSignal): Promise<boolean> {
  await pause(backoffMs(attempt - 1, retry.initialDelayMs, retry.maxDelayMs), signal);
  return !signal.aborted;
}
