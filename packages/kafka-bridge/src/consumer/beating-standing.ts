import { setMaxListeners } from 'node:events';
import { asError } from '../async/bounded.js';
import type { Standing } from './apply-gate.js';
import { HandlerInterruptedError } from './handler-interrupted.js';

export interface BeatingOptions {
  intervalMs: number;
  /** Renews the membership. What it throws ends it. */
  beat: () => Promise<void>;
  owned: () => boolean;
  /** Aborts when nothing is to be taken on any more. */
  stop: AbortSignal;
  /** Aborts, with a `HandlerInterruptedError`, when what is in hand is to end. */
  interrupt: AbortSignal;
  /** Aborts when what is in hand is not waited for any more: the group may give it to others. */
  abandon: AbortSignal;
}

/** Keeps a member in its group while it handles what it fetched, and tells its handlers when that failed. */
export class BeatingStanding implements Standing {
  readonly owned: () => boolean;
  readonly #options: BeatingOptions;
  readonly #closed = new AbortController();
  readonly #interrupt = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #beating: Promise<void> | undefined;
  #lost: Error | undefined;
  readonly #onStop = (): void => {
    this.#closed.abort();
  };
  readonly #onInterrupt = (): void => {
    this.#interrupt.abort(this.#options.interrupt.reason);
  };

  constructor(options: BeatingOptions) {
    this.#options = options;
    this.owned = options.owned;
    // As many as there are messages in hand.
    setMaxListeners(0, this.#closed.signal, this.#interrupt.signal);
    if (options.stop.aborted) this.#onStop();
    else options.stop.addEventListener('abort', this.#onStop, { once: true });
    if (options.interrupt.aborted) this.#onInterrupt();
    else options.interrupt.addEventListener('abort', this.#onInterrupt, { once: true });
    this.#timer = setInterval(() => {
      this.#tick();
    }, options.intervalMs);
  }

  get signal(): AbortSignal {
    return this.#closed.signal;
  }

  get interrupt(): AbortSignal {
    return this.#interrupt.signal;
  }

  /** Why the membership is gone, when it is. */
  get lost(): Error | undefined {
    return this.#lost;
  }

  /** The group is about to give partitions to others: what is in hand had better end. */
  revoke(): void {
    this.#interrupt.abort(new HandlerInterruptedError('revoked'));
  }

  /** The membership is gone: nothing is taken on any more. */
  lose(error: Error): void {
    this.#lost ??= error;
    this.#interrupt.abort(new HandlerInterruptedError('revoked', { cause: error }));
    this.#closed.abort(error);
  }

  /** Ends the heartbeats, after the one under way. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    this.#options.stop.removeEventListener('abort', this.#onStop);
    this.#options.interrupt.removeEventListener('abort', this.#onInterrupt);
    await this.#beating;
  }

  #tick(): void {
    if (this.#options.abandon.aborted || this.#lost !== undefined) {
      clearInterval(this.#timer);
      return;
    }
    if (!this.owned()) this.revoke();
    this.#beating ??= this.#options
      .beat()
      .catch((error: unknown) => {
        this.lose(asError(error));
      })
      .finally(() => {
        this.#beating = undefined;
      });
  }
}
