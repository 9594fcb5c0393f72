import { asError } from '../async/bounded.js';
import { VIA, type Provenance } from '../message/headers.js';
import type { RoutingState } from '../routing/routing-state.js';
import type { ReceivedMessage } from './consumed-message.js';
import { packFields } from './field-digests.js';
import type { OutputDigester } from './output-digest.js';
import type { Observation, ObservingSide } from './observation.js';
import type { ObservationProducer } from './observation-producer.js';

/** What a handler did with a message. */
export type Outcome = { output: unknown } | { error: Error };

export interface ObserverOptions {
  migration: string;
  group: string;
  digester: OutputDigester;
  handlerVersion: string | undefined;
  /** Another form of the output to digest in its place, for outputs that differ without meaning. */
  comparable: ((output: unknown) => unknown) | undefined;
  producer: ObservationProducer;
  state: () => RoutingState | undefined;
  /** Told of outputs that cannot be compared, once a minute at most. */
  onError: (error: Error) => void;
}

const MAX_ERROR_NAME_CHARS = 200;
const WARN_EVERY_MS = 60_000;

/** Decides which messages are observed, and turns what was done with them into observations. */
export class Observer {
  readonly #options: ObserverOptions;
  #quietUntil = 0;

  constructor(options: ObserverOptions) {
    this.#options = options;
  }

  /** Whether any message is observed on a side now. */
  observing(side: ObservingSide): boolean {
    const state = this.#options.state();
    if (state?.live !== 'kafka') return false;
    return side === 'shadow' ? state.shadow === 'compare' : state.shadow !== 'off';
  }

  /**
   * Whether a message is observed: its copy was intended, its Kafka offset is known, and it is not before the
   * comparison's start. Both sides decide alike.
   */
  wants(side: ObservingSide, { message, provenance }: ReceivedMessage): boolean {
    if (!this.observing(side) || message.position.kafka === undefined) return false;
    const { id, copied } = provenance;
    if ((id === undefined || !copied) && !this.#forwarded(side, message.topic, provenance)) return false;
    const from = this.#options.state()?.shadowFrom?.[message.topic]?.[message.partition] ?? 0;
    return message.position.kafka >= from;
  }

  /** What is told of one message; undefined when it is not observed. */
  observation(side: ObservingSide, received: ReceivedMessage, outcome: Outcome): Observation | undefined {
    const { message } = received;
    const { digester, migration, group, handlerVersion } = this.#options;
    const { kafka, owlmq } = message.position;
    if (kafka === undefined || !this.wants(side, received)) return undefined;
    return {
      version: 2,
      migration,
      group,
      side,
      topic: message.topic,
      partition: message.partition,
      id: message.id,
      kafka,
      ...(owlmq === undefined ? {} : { owlmq }),
      time: message.timestamp,
      key: message.key === null ? null : digester.short(message.key),
      epoch: this.#options.state()?.epoch ?? 0,
      ...(handlerVersion === undefined ? {} : { handlerVersion }),
      ...this.#tell(outcome),
    };
  }

  /**
   * Writes an observation: those of a side and partition in the order of its offsets, and before its position is
   * committed. Waits while the buffer is full.
   */
  async write(observation: Observation): Promise<void> {
    await this.#options.producer.add(observation);
  }

  /** Resolves once what was observed so far is in Kafka. */
  async flush(): Promise<void> {
    await this.#options.producer.flush();
  }

  /** Whether a message has no header of its publisher, and the bridge copies every such one of the topic. */
  #forwarded(side: ObservingSide, topic: string, { id, via }: Provenance): boolean {
    const state = this.#options.state();
    if (state?.forward?.includes(topic) !== true || state.ratio < 1) return false;
    return side === 'shadow' ? via === VIA.forward : id === undefined;
  }

  #tell(outcome: Outcome): Pick<Observation, 'output' | 'error'> {
    const { comparable, digester } = this.#options;
    if ('error' in outcome) return { error: this.#tellError(outcome.error) };
    try {
      const output = digester.digest(comparable === undefined ? outcome.output : comparable(outcome.output));
      return { output: { ...output, fields: packFields(output.fields) } };
    } catch (error) {
      // An output that cannot be compared must not stop the service: it is told as what it is.
      const told = asError(error);
      this.#warn(told);
      return { error: { ...this.#tellError(told), uncomparable: true } };
    }
  }

  #tellError({ name, message }: Error): { name: string; digest: string } {
    return { name: name.slice(0, MAX_ERROR_NAME_CHARS), digest: this.#options.digester.short(message) };
  }

  /** Not for each message: they are alike. */
  #warn(error: Error): void {
    if (performance.now() < this.#quietUntil) return;
    this.#quietUntil = performance.now() + WARN_EVERY_MS;
    this.#options.onError(error);
  }
}
