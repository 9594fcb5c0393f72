import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import { DualPublisher, OwlmqClient, type RoutingState, type TopicOffsets } from '@owlmq/kafka-bridge';
import { LogReader, MemberRoster, observationEnds, pause, RoutingWriter } from '@owlmq/kafka-bridge/operations';
import { startEngines, type Engines } from '../engines/start-engines.js';
import { messageOf } from './orders.js';

const CLIENT_ID = 'battery';
const FLEET_WITHIN_MS = 120_000;
/** Time between two calls of steady traffic. */
export const PUBLISH_EVERY_MS = 100;

/** Something did not come in time, or came out otherwise than it must. */
export class BatteryError extends Error {
  override readonly name = 'BatteryError';
}

export interface RigOptions {
  groups: readonly string[];
  partitions: number;
  signal: AbortSignal;
  log: (line: string) => void;
}

/** Kafka and OwlMQ with a topic of orders on both, a publisher that copies all of them, and a soak to begin. */
export class Rig {
  readonly #suffix = randomBytes(4).toString('hex');
  readonly topic = `orders-${this.#suffix}`;
  readonly migration = `battery-${this.#suffix}`;
  readonly roster: MemberRoster;
  readonly #writer: RoutingWriter;
  readonly #reader: LogReader;
  readonly #publisher: DualPublisher;
  #epoch = 0;

  private constructor(
    readonly engines: Engines<'kafka' | 'owlmq'>,
    private readonly options: RigOptions,
  ) {
    const connection = this.connection;
    this.roster = new MemberRoster({ connection, clientId: CLIENT_ID });
    this.#writer = new RoutingWriter({ connection, clientId: CLIENT_ID });
    this.#reader = new LogReader(connection, { clientId: CLIENT_ID });
    this.#publisher = new DualPublisher({ kafka: connection, owlmq: engines.owlmq, migration: this.migration });
  }

  static async open(options: RigOptions): Promise<Rig> {
    const { signal, log } = options;
    const rig = new Rig(await startEngines({ want: ['kafka', 'owlmq'], signal, log }), options);
    try {
      await rig.#writer.ensureTopics();
      await rig.#createTopics();
      await rig.#route({});
      await Promise.all([rig.roster.start(), rig.#publisher.connect()]);
      return rig;
    } catch (error) {
      await rig.close();
      throw error;
    }
  }

  get connection(): { brokers: string[] } {
    return { brokers: [...this.engines.kafka.brokers] };
  }

  /** What a consumer of the topic is made with, besides its group. */
  get consumed() {
    const { connection: kafka, migration, topic, engines } = this;
    return { kafka, owlmq: engines.owlmq, migration, topics: [topic] };
  }

  /**
   * Begins the soak as the workflow does: live sides observe first, then the comparison starts at the ends of Kafka.
   *
   * @param members of all groups together, which are running.
   */
  async startSoak(members: number): Promise<{ start: number[]; from: TopicOffsets }> {
    await this.#untilFleet(members, false);
    const start = await observationEnds(this.connection);
    await this.#route({ shadow: 'observe' });
    await this.#untilFleet(members, false);
    const from = { [this.topic]: await this.#reader.ends(this.topic) };
    await this.#route({ shadow: 'compare', shadowFrom: from });
    await this.#untilFleet(members, true);
    return { start, from };
  }

  /** Publishes orders by their numbers; resolves when Kafka has acknowledged all. */
  async publish(first: number, count: number): Promise<void> {
    const messages = Array.from({ length: count }, (_, offset) => messageOf(first + offset));
    await this.#publisher.publishBatch(this.topic, messages);
  }

  /**
   * Publishes orders one after the other until the signal.
   *
   * @param rate orders a second.
   * @param onPublished told how many more Kafka has acknowledged.
   * @returns how many in all.
   */
  async publishSteadily(
    rate: number,
    signal: AbortSignal,
    onPublished: (count: number) => void = () => undefined,
  ): Promise<number> {
    const count = Math.max(1, Math.round((rate * PUBLISH_EVERY_MS) / 1_000));
    let published = 0;
    while (!signal.aborted) {
      await this.publish(published, count);
      published += count;
      onPublished(count);
      await pause(PUBLISH_EVERY_MS, signal);
    }
    return published;
  }

  async close(): Promise<void> {
    await this.#publisher.close();
    await this.roster.stop();
    await Promise.all([this.#writer.close(), this.#reader.close()]);
    await this.engines.stop();
  }

  async #route(change: Partial<RoutingState>): Promise<void> {
    this.#epoch += 1;
    await this.#writer.write({
      ...{ version: 1, migration: this.migration, epoch: this.#epoch, topics: [this.topic] },
      ...{ groups: [...this.options.groups], ratio: 1, primary: 'kafka', mirror: true, live: 'kafka', shadow: 'off' },
      ...{ leaseMs: 10_000, writtenAt: new Date().toISOString(), reason: 'battery' },
      ...change,
    });
  }

  async #untilFleet(members: number, shadow: boolean): Promise<void> {
    const deadline = performance.now() + FLEET_WITHIN_MS;
    for (;;) {
      await this.roster.readToEnd();
      const ready = this.roster
        .members(this.migration)
        .filter(({ report }) => report.role === 'consumer' && report.epoch === this.#epoch && report.shadow === shadow);
      if (ready.length === members) return;
      if (performance.now() > deadline) {
        throw new BatteryError(`Only ${ready.length} of ${members} members follow epoch ${this.#epoch}.`);
      }
      this.options.signal.throwIfAborted();
      await sleep(100);
    }
  }

  async #createTopics(): Promise<void> {
    const { partitions } = this.options;
    const admin = new Kafka({ ...this.connection, logLevel: logLevel.NOTHING }).admin();
    const owlmq = new OwlmqClient(this.engines.owlmq);
    try {
      await admin.connect();
      await admin.createTopics({ topics: [{ topic: this.topic, numPartitions: partitions }], waitForLeaders: true });
      await owlmq.createTopic(this.topic, partitions);
    } finally {
      await Promise.all([admin.disconnect(), owlmq.close()]);
    }
  }
}
