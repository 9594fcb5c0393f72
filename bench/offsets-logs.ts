import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { Kafka, logLevel, type Producer } from 'kafkajs';
import { OwlmqClient } from '@owlmq/kafka-bridge';
import {
  ForwardAudit,
  LogReader,
  OffsetSyncWriter,
  RoutingWriter,
  UnknownTopicError,
  type KafkaConnection,
} from '@owlmq/kafka-bridge/operations';

/** Both systems of a bench. */
export interface Systems {
  brokers: string[];
  owlmq: { url: string; apiKey: string };
  signal: AbortSignal;
}

/** How the logs of a topic are to lie to one another. */
export interface Filling {
  /** A partition. */
  messages: number;
  /** How many messages late repaired copies come on OwlMQ; 0: all copies come in order. */
  distance: number;
  random: () => number;
}

/** One copy in so many was given up by its publisher, and written by the audit later. */
export const REPAIRED_ONE_IN = 500;
/** As much as a batching producer puts into a request. */
const BATCH = 1_000;
/** How much is written of a partition between two notes of the audit: at 2,000 messages a second, in its five seconds. */
const NOTE_EVERY = 10_000;
const VALUE = randomBytes(100);
const LED_WITHIN_MS = 30_000;
/** Longer than the bench: the audit waits for late copies, and writes none. */
const GRACE_MS = 3_600_000;

interface Message {
  id: string;
  /** In Kafka. */
  offset: number;
  /** Rises in the order in which copies come; it comes once Kafka has got so far. */
  comes: number;
}

/** Writes one partition, from its begin on both legs. */
class PartitionFill {
  readonly #inKafka: Message[];
  readonly #onOwlmq: Message[];
  #written = 0;
  #copied = 0;

  constructor(
    readonly topic: string,
    readonly partition: number,
    { messages, distance, random }: Filling,
  ) {
    this.#inKafka = Array.from({ length: messages }, (_, offset) => {
      const late = distance > 0 && random() < 1 / REPAIRED_ONE_IN;
      return { id: randomUUID(), offset, comes: late ? offset + distance + 0.5 : offset };
    });
    this.#onOwlmq = [...this.#inKafka].sort((a, b) => a.comes - b.comes);
  }

  /** Writes on up to an offset of Kafka, and all copies that have come by then. */
  async writeTo(end: number, { producer, owlmq }: { producer: Producer; owlmq: OwlmqClient }): Promise<void> {
    const { topic, partition } = this;
    const timestamp = Date.now() - 60_000;
    const kafkaEnd = Math.min(end, this.#inKafka.length);
    while (this.#written < kafkaEnd) {
      const batch = this.#inKafka.slice(this.#written, Math.min(kafkaEnd, this.#written + BATCH));
      const messages = batch.map(({ id, offset }) => ({
        ...{ partition, key: keyOf(offset), value: VALUE, timestamp: String(timestamp), headers: headersOf(id) },
      }));
      const [sent] = await producer.send({ topic, messages });
      if (Number(sent?.baseOffset) !== this.#written) throw new Error(`${topic}/${partition} was not empty.`);
      this.#written += batch.length;
    }
    const whole = this.#written === this.#inKafka.length;
    const due = whole ? this.#onOwlmq.length : this.#onOwlmq.findIndex(({ comes }) => comes >= this.#written);
    while (this.#copied < due) {
      const batch = this.#onOwlmq.slice(this.#copied, Math.min(due, this.#copied + BATCH));
      const records = batch.map(({ id, offset, comes }) => ({
        ...{ partition, id, key: keyOf(offset), value: VALUE, timestamp },
        headers: Object.entries({
          ...headersOf(id),
          'owlmq-source': `kafka/${partition}/${offset}`,
          ...(comes === offset ? {} : { 'owlmq-via': 'audit' }),
        }),
      }));
      for (const result of await owlmq.publish(topic, records)) if (!result.ok) throw new Error(result.detail);
      this.#copied += batch.length;
    }
  }
}

function keyOf(offset: number): Buffer {
  return Buffer.from(`customer-${offset % 500}`);
}

function headersOf(id: string): Record<string, string> {
  return { 'owlmq-id': id, 'owlmq-epoch': '3', 'owlmq-copied': '1' };
}

/**
 * Makes topics on both legs and fills them as publishers at ratio 1 do, with an audit beside that notes how the legs lie
 * to one another, as in a migration.
 */
export async function makeTopics(
  systems: Systems,
  topics: readonly string[],
  partitions: number,
  filling: Filling,
): Promise<void> {
  const connection = { brokers: systems.brokers };
  const clientId = 'bench-offsets';
  const kafka = new Kafka({ ...connection, logLevel: logLevel.NOTHING });
  const [admin, producer, owlmq] = [kafka.admin(), kafka.producer(), new OwlmqClient(systems.owlmq)];
  const routing = new RoutingWriter({ connection, clientId });
  const fills = topics.flatMap((topic) =>
    Array.from({ length: partitions }, (_, partition) => new PartitionFill(topic, partition, filling)),
  );
  try {
    await Promise.all([admin.connect(), producer.connect(), routing.ensureTopics()]);
    await admin.createTopics({
      topics: topics.map((topic) => ({ topic, numPartitions: partitions })),
      waitForLeaders: false,
    });
    // kafkajs's own wait for leaders gives up at a broker that does not know a topic yet.
    for (const topic of topics) await untilLed(connection, topic);
    for (const topic of topics) await owlmq.createTopic(topic, partitions);
    const positions = Object.fromEntries(topics.map((topic) => [topic, new Array<number>(partitions).fill(0)]));
    const audit = new ForwardAudit({ connection, owlmq, topics, positions, graceMs: GRACE_MS, clientId });
    let failure: Error | undefined;
    const onError = (error: Error): void => {
      failure = error;
    };
    const syncs = new OffsetSyncWriter({ connection, owlmq, clientId, topics, role: 'audit', onError });
    try {
      for (let end = 0; end < filling.messages;) {
        end = Math.min(filling.messages, end + NOTE_EVERY);
        for (const one of fills) {
          systems.signal.throwIfAborted();
          await one.writeTo(end, { producer, owlmq });
        }
        const { complete, checkpoint } = await audit.step({ maxMs: 60_000, signal: systems.signal });
        await syncs.forward(checkpoint, { last: true });
        if (failure !== undefined) throw failure;
        if (end === filling.messages && !complete) throw new Error('The audit did not come to its end.');
      }
    } finally {
      await Promise.all([audit.close(), syncs.close()]);
    }
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect(), routing.close(), owlmq.close()]);
  }
}

async function untilLed(connection: KafkaConnection, topic: string): Promise<void> {
  const deadline = performance.now() + LED_WITHIN_MS;
  for (;;) {
    const reader = new LogReader(connection, { clientId: 'bench-offsets' });
    try {
      await reader.bounds(topic);
      return;
    } catch (error) {
      if (!(error instanceof UnknownTopicError) || performance.now() > deadline) throw error;
      await setTimeout(100);
    } finally {
      await reader.close();
    }
  }
}
