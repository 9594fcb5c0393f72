import { asError } from '../async/bounded.js';
import type { Outgoing } from './outgoing.js';
import type { CopyCount, LegRequest, PublisherMetrics, SettledCall } from './publisher-metrics.js';

/** Gathers what happens in one turn, and tells a service's `metrics` of it when no message is in anyone's hands. */
export class PublisherMeter {
  readonly #metrics: PublisherMetrics;
  #settled: { message: Outgoing; outcome: SettledCall['outcome'] }[] = [];
  #requests: LegRequest[] = [];
  readonly #copies = new Map<string, CopyCount>();
  #telling = false;

  constructor(metrics: PublisherMetrics) {
    this.#metrics = metrics;
  }

  /** Counts a call when it is settled. */
  watch(message: Outgoing): void {
    if (this.#metrics.settled === undefined) return;
    const { settle } = message;
    const settled = (outcome: SettledCall['outcome']): void => {
      this.#settled.push({ message, outcome });
      this.#tellSoon();
    };
    message.settle = {
      resolve: (result) => {
        settled('published');
        settle.resolve(result);
      },
      reject: (error) => {
        settled(error.code);
        settle.reject(error);
      },
    };
  }

  request(request: LegRequest): void {
    if (this.#metrics.request === undefined) return;
    this.#requests.push(request);
    this.#tellSoon();
  }

  copies({ topic, leg, outcome, count }: CopyCount): void {
    if (this.#metrics.copies === undefined) return;
    const name = `${leg} ${outcome} ${topic}`;
    const present = this.#copies.get(name);
    if (present === undefined) this.#copies.set(name, { topic, leg, outcome, count });
    else present.count += count;
    this.#tellSoon();
  }

  #tellSoon(): void {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      this.#tell();
    });
  }

  #tell(): void {
    const now = performance.now();
    const calls = this.#settled.splice(0).map(({ message, outcome }): SettledCall => {
      const { topic, routing, acceptedAt } = message;
      return { topic, leg: routing?.primary, outcome, ms: now - acceptedAt };
    });
    if (calls.length > 0) guarded(() => this.#metrics.settled?.(calls));
    for (const request of this.#requests.splice(0)) guarded(() => this.#metrics.request?.(request));
    const copies = [...this.#copies.values()];
    this.#copies.clear();
    for (const count of copies) guarded(() => this.#metrics.copies?.(count));
  }
}

function guarded(call: () => void): void {
  try {
    call();
  } catch (error) {
    process.emitWarning(asError(error));
  }
}
