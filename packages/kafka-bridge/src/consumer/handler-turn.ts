import type { Leg } from '../message/headers.js';
import type { Standing } from './apply-gate.js';
import type { ConsumedMessage } from './consumed-message.js';
import { deterministicSources, type DeterministicSources } from './deterministic-sources.js';

/** What `apply` is given besides output and message. */
export interface HandlerContext {
  /**
   * Aborts, with a `HandlerInterruptedError`, when the handler had better stop: the message will come again, here or
   * elsewhere. A handler that does not look at it is waited for.
   */
  readonly signal: AbortSignal;
}

/** What `process` is given besides the message: sources that say the same on both sides. */
export interface ProcessContext extends HandlerContext, DeterministicSources {}

/** One attempt on a message: what its handlers are given, and whether they were told to stop. */
export class HandlerTurn {
  readonly context: ProcessContext;
  readonly #sources: readonly AbortSignal[];
  #controller: AbortController | undefined;
  readonly #onAbort = (event: Event): void => {
    this.#controller?.abort((event.target as AbortSignal).reason);
  };

  /** @param lease aborts when the routing state may be outdated. */
  constructor(group: string, message: ConsumedMessage, { interrupt }: Standing, lease: AbortSignal) {
    this.#sources = [interrupt, lease];
    // Made when it is asked for, which few handlers do.
    const signal = (): AbortSignal => this.#signal();
    this.context = {
      ...deterministicSources(group, message),
      get signal() {
        return signal();
      },
    };
  }

  /** What a handler threw is then not held against the message. */
  get interrupted(): boolean {
    return this.#controller?.signal.aborted ?? this.#sources.some(({ aborted }) => aborted);
  }

  end(): void {
    if (this.#controller === undefined) return;
    for (const source of this.#sources) source.removeEventListener('abort', this.#onAbort);
  }

  #signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const controller = new AbortController();
    this.#controller = controller;
    for (const source of this.#sources) {
      if (source.aborted) controller.abort(source.reason);
      else source.addEventListener('abort', this.#onAbort, { once: true });
    }
    return controller.signal;
  }
}

/** A message that a handler has in hand. */
export interface InHand {
  readonly side: Leg | 'shadow';
  readonly topic: string;
  readonly partition: number;
  readonly id: string;
  /** Monotonic clock, ms. */
  readonly since: number;
}

/** The messages that the handlers of a consumer have in hand. */
export class MessagesInHand {
  readonly #all = new Set<InHand>();

  get list(): readonly InHand[] {
    return [...this.#all];
  }

  /** To be called with what is returned when the message is out of hand. */
  begin(side: Leg | 'shadow', { topic, partition, id }: ConsumedMessage): () => void {
    const one = { side, topic, partition, id, since: performance.now() };
    this.#all.add(one);
    return () => {
      this.#all.delete(one);
    };
  }
}
