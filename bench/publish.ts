import { randomBytes } from 'node:crypto';
import { Kafka, logLevel, Partitioners } from 'kafkajs';
import { DualPublisher, OwlmqClient } from '@owlmq/kafka-bridge';
import { startEngines } from '../engines/start-engines.js';

/**
 * What it costs to publish through the library: plain kafkajs, one `send` a message as people write it, against
 * `DualPublisher`, in interleaved rounds on the same machine. Only the ratios mean something elsewhere.
 *
 * `npm run bench`
 */
const ROUNDS = 5;
const CONCURRENCIES = [1, 100, 1_000];
const VALUE_BYTES = 1_024;
const PARTITIONS = 6;
const KEYS = 500;

interface Subject {
  name: string;
  publish: (topic: string, key: string, value: Buffer) => Promise<unknown>;
  close: () => Promise<void>;
}

interface Sample {
  perSecond: number;
  p50: number;
  p99: number;
}

/** Publishes with a number of calls always under way, for as many messages as take about a second or two. */
async function measure(subject: Subject, topic: string, concurrency: number): Promise<Sample> {
  const count = concurrency === 1 ? 1_000 : 10_000;
  const value = randomBytes(VALUE_BYTES);
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
  const started = performance.now();
  await Promise.all(Array.from({ length: concurrency }, caller));
  const seconds = (performance.now() - started) / 1_000;
  latencies.sort((a, b) => a - b);
  return { perSecond: count / seconds, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) };
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

async function subjects(brokers: string[], owlmq: { url: string; apiKey: string }): Promise<Subject[]> {
  const kafka = new Kafka({ brokers, logLevel: logLevel.ERROR });
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  const plain: Subject = {
    name: 'plain kafkajs',
    publish: (topic, key, value) => producer.send({ topic, messages: [{ key, value }] }),
    close: () => producer.disconnect(),
  };
  const dual = [0, 0.5, 1].map((ratio): Subject => {
    const publisher = new DualPublisher({ kafka: { brokers }, owlmq, ratio });
    return {
      name: `DualPublisher at ${ratio}`,
      publish: (topic, key, value) => publisher.publish(topic, value, { key }),
      close: () => publisher.close(),
    };
  });
  return [plain, ...dual];
}

async function main(): Promise<void> {
  const engines = await startEngines({ want: ['kafka', 'owlmq'] });
  const brokers = [...engines.kafka.brokers];
  const topic = 'bench.publish';
  const admin = new Kafka({ brokers, logLevel: logLevel.ERROR }).admin();
  const owlmq = new OwlmqClient(engines.owlmq);
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }], waitForLeaders: true });
  await owlmq.createTopic(topic, PARTITIONS);
  const measured = await subjects(brokers, engines.owlmq);
  const results = new Map<string, Sample[]>();
  try {
    for (const subject of measured) await subject.publish(topic, 'warm-up', Buffer.from('warm-up'));
    for (let round = 1; round <= ROUNDS; round += 1) {
      for (const concurrency of CONCURRENCIES) {
        for (const subject of measured) {
          const id = `${subject.name}/${concurrency}`;
          results.set(id, [...(results.get(id) ?? []), await measure(subject, topic, concurrency)]);
        }
      }
      console.error(`round ${round} of ${ROUNDS} is done`);
    }
    report(measured, results);
  } finally {
    await Promise.all(measured.map((subject) => subject.close()));
    await Promise.all([admin.disconnect(), owlmq.close()]);
    await engines.stop();
  }
}

function report(measured: readonly Subject[], results: ReadonlyMap<string, Sample[]>): void {
  console.log(`Medians of ${ROUNDS} interleaved rounds, ${VALUE_BYTES} B values, ${PARTITIONS} partitions\n`);
  console.log('| concurrency | subject | messages/s | of plain | p50 ms | p99 ms |');
  console.log('| --- | --- | --- | --- | --- | --- |');
  for (const concurrency of CONCURRENCIES) {
    let plain = 0;
    for (const { name } of measured) {
      const samples = results.get(`${name}/${concurrency}`) ?? [];
      const perSecond = median(samples.map((sample) => sample.perSecond));
      plain ||= perSecond;
      const p50 = median(samples.map((sample) => sample.p50)).toFixed(2);
      const p99 = median(samples.map((sample) => sample.p99)).toFixed(2);
      console.log(
        `| ${concurrency} | ${name} | ${Math.round(perSecond)} | ${(perSecond / plain).toFixed(2)} | ${p50} | ${p99} |`,
      );
    }
  }
}

await main();
