import { randomBytes } from 'node:crypto';
import { Kafka, logLevel, Partitioners, type Message } from 'kafkajs';
import { DualPublisher } from '@owlmq/kafka-bridge';

/**
 * One way to publish, in a process of its own so that its memory and CPU time are its own. `publish.ts` starts it and
 * tells it over IPC what to measure.
 */
export interface MeasureRequest {
  topic: string;
  concurrency: number;
  count: number;
  valueBytes: number;
}

export interface Measurement {
  perSecond: number;
  /** The same until all copies are on OwlMQ. */
  perSecondWithCopies: number;
  p50: number;
  p99: number;
  /** CPU time of this process, copies included, microseconds a message. */
  cpuMicros: number;
  rssBytes: number;
  /** Copies that the publisher gave up since its start. */
  dropped: number;
}

interface Subject {
  publish: (topic: string, key: string, value: Buffer) => Promise<unknown>;
  /** Waits until copies are written. */
  flush: () => Promise<void>;
  dropped: () => number;
  close: () => Promise<void>;
}

const KEYS = 500;

/** As people write it: one `send` a message. */
async function plainKafkajs(brokers: string[]): Promise<Subject> {
  const producer = newProducer(brokers);
  await producer.connect();
  return {
    publish: (topic, key, value) => producer.send({ topic, messages: [{ key, value }] }),
    flush: () => Promise.resolve(),
    dropped: () => 0,
    close: () => producer.disconnect(),
  };
}

/** kafkajs behind a batcher as DualPublisher has it: the next batch leaves when the last one was answered. */
async function batchedKafkajs(brokers: string[]): Promise<Subject> {
  const producer = newProducer(brokers);
  await producer.connect();
  let waiting: { topic: string; message: Message; resolve: () => void; reject: (error: unknown) => void }[] = [];
  let sending = false;
  const pump = (): void => {
    if (sending || waiting.length === 0) return;
    sending = true;
    const batch = waiting.splice(0, 1_000);
    const topics = new Map<string, Message[]>();
    for (const { topic, message } of batch) {
      const messages = topics.get(topic);
      if (messages === undefined) topics.set(topic, [message]);
      else messages.push(message);
    }
    producer
      .sendBatch({ topicMessages: [...topics].map(([topic, messages]) => ({ topic, messages })) })
      .then(
        () => {
          for (const { resolve } of batch) resolve();
        },
        (error: unknown) => {
          for (const { reject } of batch) reject(error);
        },
      )
      .finally(() => {
        sending = false;
        pump();
      });
  };
  return {
    publish: (topic, key, value) =>
      new Promise<void>((resolve, reject) => {
        waiting.push({ topic, message: { key, value }, resolve, reject });
        // Calls of one turn go together.
        if (waiting.length === 1) queueMicrotask(pump);
      }),
    flush: () => Promise.resolve(),
    dropped: () => 0,
    close: async () => {
      waiting = [];
      await producer.disconnect();
    },
  };
}

async function dualPublisher(brokers: string[], ratio: number): Promise<Subject> {
  const publisher = new DualPublisher({ kafka: { brokers }, ratio });
  await publisher.connect();
  return {
    publish: (topic, key, value) => publisher.publish(topic, value, { key }),
    flush: () => publisher.flush(),
    dropped: () => publisher.status().dropped,
    close: () => publisher.close(),
  };
}

function newProducer(brokers: string[]) {
  const kafka = new Kafka({ brokers, logLevel: logLevel.ERROR });
  return kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
}

async function newSubject(name: string, brokers: string[]): Promise<Subject> {
  if (name === 'plain kafkajs') return await plainKafkajs(brokers);
  if (name === 'batched kafkajs') return await batchedKafkajs(brokers);
  const ratio = /^DualPublisher at ([\d.]+)$/.exec(name)?.[1];
  if (ratio === undefined) throw new TypeError(`There is no subject ${name}.`);
  return await dualPublisher(brokers, Number(ratio));
}

/** Publishes `count` messages with `concurrency` calls always under way. */
async function measure(subject: Subject, request: MeasureRequest): Promise<Measurement> {
  const { topic, concurrency, count, valueBytes } = request;
  const value = randomBytes(valueBytes);
  const latencies: number[] = [];
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < count) {
      const key = `key-${next % KEYS}`;
      next += 1;
      const started = performance.now();
      await subject.publish(topic, key, value);
      latencies.push(performance.now() - started);
    }
  };
  const cpu = process.cpuUsage();
  const started = performance.now();
  await Promise.all(Array.from({ length: concurrency }, caller));
  const published = performance.now();
  await subject.flush();
  const flushed = performance.now();
  const { user, system } = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  return {
    perSecond: (1_000 * count) / (published - started),
    perSecondWithCopies: (1_000 * count) / (flushed - started),
    p50: latencies[Math.floor(count * 0.5)] ?? 0,
    p99: latencies[Math.floor(count * 0.99)] ?? 0,
    cpuMicros: (user + system) / count,
    rssBytes: process.memoryUsage.rss(),
    dropped: subject.dropped(),
  };
}

const [name = '', ...brokers] = process.argv.slice(2);
const subject = await newSubject(name, brokers);
process.on('message', (request: MeasureRequest | 'close') => {
  const work =
    request === 'close'
      ? subject.close().then(() => {
          process.disconnect();
        })
      : measure(subject, request).then((measurement) => process.send?.(measurement));
  work.catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.send?.('ready');
