import type { Outgoing } from './outgoing.js';

/** Ends calls when their signals are aborted: one listener a signal, however many calls share it. */
export class AbortWatch {
  readonly #abort: (message: Outgoing, reason: unknown) => void;
  readonly #watched = new Map<AbortSignal, { messages: Set<Outgoing>; listener: () => void }>();

  constructor(abort: (message: Outgoing, reason: unknown) => void) {
    this.#abort = abort;
  }

  /** Watches a call until it is settled. */
  watch(message: Outgoing, signal: AbortSignal): void {
    const { settle } = message;
    message.settle = {
      resolve: (result) => {
        this.#forget(message, signal);
        settle.resolve(result);
      },
      reject: (error) => {
        this.#forget(message, signal);
        settle.reject(error);
      },
    };
    const watched = this.#watched.get(signal);
    if (watched !== undefined) {
      watched.messages.add(message);
      return;
    }
    const messages = new Set([message]);
    const listener = (): void => {
      // Each is forgotten when it is settled, which changes the set.
      for (const each of [...messages]) this.#abort(each, signal.reason);
    };
    this.#watched.set(signal, { messages, listener });
    signal.addEventListener('abort', listener);
  }

  #forget(message: Outgoing, signal: AbortSignal): void {
    const watched = this.#watched.get(signal);
    watched?.messages.delete(message);
    if (watched?.messages.size !== 0) return;
    this.#watched.delete(signal);
    signal.removeEventListener('abort', watched.listener);
  }
}
