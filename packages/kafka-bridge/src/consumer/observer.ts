import { VIA, type Provenance } from '../message/headers.js';
import { shadowLeg, type RoutingState } from '../routing/routing-state.js';
import type { ReceivedMessage } from './consumed-message.js';
import type { OutputDigester } from './output-digest.js';
import type { Observation, ObservingSide } from './observation.js';
import type { ObservationProducer } from './observation-producer.js';
import { tellError, tellOutput, type Told } from './told-outcome.js';

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
    return side === 'shadow' ? shadowLeg(state) !== undefined : state.shadow !== 'off';
  }

  /**
   * Whether a message is observed: its copy was intended (where both sides read Kafka it needs none), its Kafka offset
   * is known, and it is not before the comparison's start. Both sides decide alike.
   */
  wants(side: ObservingSide, { message, provenance }: ReceivedMessage): boolean {
    if (!this.observing(side) || message.position.kafka === undefined) return false;
    const state = this.#options.state();
    // What a shadow on the other leg has in hand while the routing changes belongs to neither comparison.
    if (side === 'shadow' && message.position.leg !== shadowLeg(state)) return false;
    const { id, copied } = provenance;
    const intended = state?.shadow === 'noise' || (id !== undefined && copied);
    if (!intended && !this.#forwarded(side, message.topic, provenance)) return false;
    const from = state?.shadowFrom?.[message.topic]?.[message.partition] ?? 0;
    return message.position.kafka >= from;
  }

  /** What is told of one message; undefined when it is not observed. */
  observation(side: ObservingSide, received: ReceivedMessage, outcome: Outcome): Observation | undefined {
    const { message } = received;
    const { digester, migration, group, handlerVersion } = this.#options;
    const { kafka, owlmq } = message.position;
    if (kafka === undefined || !this.wants(side, received)) return undefined;
    return {
      migration,
      group,
      side,
      topic: message.topic,
      partition: message.partition,
      id: message.id,
      kafka,
      ...(owlmq === undefined ? {} : { owlmq }),
      // As watermarks: a time that is yet to come would never be passed.
      time: Math.min(message.timestamp, Date.now()),
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

  #tell(outcome: Outcome): Told {
    const { comparable = (output: unknown) => output, digester } = this.#options;
    if ('error' in outcome) return tellError(digester, outcome.error);
    return tellOutput(
      digester,
      () => comparable(outcome.output),
      (error) => {
        this.#warn(error);
      },
    );
  }

  /** Not for each message: they are alike. */
  #warn(error: Error): void {
    if (performance.now() < this.#quietUntil) return;
    this.#quietUntil = performance.now() + WARN_EVERY_MS;
    this.#options.onError(error);
  }
}
