import { asError, backoffMs, pause } from '../async/bounded.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, UnknownTopicError } from '../kafka/log-reader.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';

const REFRESH_MS = 30_000;
/** Short: `learn` asks again by itself, and OwlMQ in between. */
const RETRY_FOR_MS = 1_000;

/** Partitions of topics: how many, and who leads them. Asked for once, then renewed in the background. */
export class TopicPartitions {
  readonly #reader: LogReader;
  readonly #owlmq: () => OwlmqApi | undefined;
  readonly #withoutKafka: () => boolean;
  readonly #onError: (error: Error) => void;
  readonly #known = new Map<string, { leaders: number[]; renewAt: number }>();
  readonly #closing = new AbortController();
  readonly #renewing = new Set<Promise<void>>();

  constructor(options: {
    connection: KafkaConnection;
    clientId: string;
    /** Asked when Kafka does not answer: after cutover publishing goes on without it. */
    owlmq: () => OwlmqApi | undefined;
    /** Whether Kafka was left for good: it is not asked. */
    withoutKafka: () => boolean;
    onError: (error: Error) => void;
  }) {
    this.#reader = new LogReader(options.connection, { clientId: options.clientId, retryForMs: RETRY_FOR_MS });
    this.#owlmq = options.owlmq;
    this.#withoutKafka = options.withoutKafka;
    this.#onError = options.onError;
  }

  /** Broker that leads each partition, by index; -1 where none is known. Undefined before `learn` resolved. */
  leaders(topic: string): readonly number[] | undefined {
    const known = this.#known.get(topic);
    if (known === undefined) return undefined;
    if (performance.now() > known.renewAt) {
      known.renewAt = performance.now() + REFRESH_MS;
      this.#renew(topic);
    }
    return known.leaders;
  }

  /**
   * Asks for a topic, again and again until `timeoutMs`.
   *
   * @throws the last error.
   */
  async learn(topic: string, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#ask(topic);
        return;
      } catch (error) {
        const waitMs = backoffMs(attempt, 100, 1_000);
        if (this.#closing.signal.aborted || performance.now() + waitMs > deadline) throw asError(error);
        await pause(waitMs, this.#closing.signal);
      }
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#renewing);
    await this.#reader.close();
  }

  #renew(topic: string): void {
    const renewing = this.#ask(topic)
      .catch((error: unknown) => {
        // What is known stays in use.
        this.#onError(asError(error));
      })
      .finally(() => {
        this.#renewing.delete(renewing);
      });
    this.#renewing.add(renewing);
  }

  async #ask(topic: string): Promise<void> {
    const leaders = await this.#askAbout(topic);
    this.#known.set(topic, { leaders, renewAt: performance.now() + REFRESH_MS });
  }

  async #askAbout(topic: string): Promise<number[]> {
    if (this.#withoutKafka()) return await this.#askOwlmq(topic, () => new UnknownTopicError(topic));
    try {
      return await this.#reader.leaders(topic);
    } catch (error) {
      if (this.#known.has(topic)) throw error;
      return await this.#askOwlmq(topic, () => asError(error));
    }
  }

  async #askOwlmq(topic: string, unknown: () => Error): Promise<number[]> {
    const described = await this.#owlmq()?.describeTopic(topic, { timeoutMs: 2_000 });
    if (described === undefined) throw unknown();
    return described.partitions.map(() => -1);
  }
}
