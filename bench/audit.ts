import { randomBytes, randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { Kafka, logLevel, type Producer } from 'kafkajs';
import { OwlmqClient } from '@owlmq/kafka-bridge';
import { ForwardAudit, MirrorAudit } from '@owlmq/kafka-bridge/operations';
import { startEngines } from '../engines/start-engines.js';

/**
 * How fast audits prove copies that are all there, against a kafkajs consumer that does nothing with the same records,
 * in interleaved rounds on the same machine. Only the ratios mean something elsewhere.
 *
 * `npm run bench:audit`
 */
const { values: args } = parseArgs({
  options: {
    messages: { type: 'string', default: '120000' },
    rounds: { type: 'string', default: '5' },
    bytes: { type: 'string', default: '200,1024' },
  },
});
const MESSAGES = Number(args.messages);
const ROUNDS = Number(args.rounds);
const SIZES = args.bytes.split(',').map(Number);
const PARTITIONS = 6;
const KEYS = 500;
/** As much as a batching producer puts into a request. */
const BATCH = 500;
const COPY_BATCH = 250;

interface Sample {
  perSecond: number;
  cpuMicros: number;
}

interface Subject {
  name: string;
  /** Goes over all messages; the time before `started` does not count. */
  run: (started: () => void) => Promise<void>;
}

async function measure({ run }: Subject): Promise<Sample> {
  let [begun, cpu] = [performance.now(), process.cpuUsage()];
  await run(() => {
    [begun, cpu] = [performance.now(), process.cpuUsage()];
  });
  const seconds = (performance.now() - begun) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: MESSAGES / seconds, cpuMicros: (user + system) / MESSAGES };
}

type Filling = 'copied' | 'uncopied' | 'mirrored';

/** Fills a topic as publishers do: Kafka first with all or no copies on OwlMQ, or OwlMQ first with all in Kafka. */
async function fill(
  producer: Producer,
  owlmq: OwlmqClient,
  topic: string,
  bytes: number,
  filling: Filling,
): Promise<void> {
  // Old enough for every grace.
  const timestamp = Date.now() - 60_000;
  for (let start = 0; start < MESSAGES; start += BATCH) {
    const partition = (start / BATCH) % PARTITIONS;
    const batch = Array.from({ length: Math.min(BATCH, MESSAGES - start) }, (_, index) => ({
      id: randomUUID(),
      key: Buffer.from(`customer-${(start + index) % KEYS}`),
      value: randomBytes(bytes),
      sequence: `018f3c2e-${start + index}`,
    }));
    const headersOf = ({ id, sequence }: { id: string; sequence: string }): Record<string, string> => ({
      ...{
        'owlmq-id': id,
        'owlmq-epoch': '3',
        'owlmq-seq': sequence,
        'owlmq-copied': filling === 'uncopied' ? '0' : '1',
      },
    });
    // Both legs are filled in the same order, so that a record has the same offset on both.
    const base = Math.floor(start / BATCH / PARTITIONS) * BATCH;
    const sourceOf = (leg: 'kafka' | 'owlmq', index: number): Record<string, string> =>
      (filling === 'mirrored') === (leg === 'owlmq') ? { 'owlmq-source': `${leg}/${partition}/${base + index}` } : {};
    const [sent] = await producer.send({
      topic,
      messages: batch.map((message, index) => ({
        ...{ partition, key: message.key, value: message.value, timestamp: String(timestamp) },
        headers: { ...headersOf(message), ...sourceOf('owlmq', index) },
      })),
    });
    if (Number(sent?.baseOffset) !== base) throw new Error(`Kafka wrote to ${sent?.baseOffset ?? '?'}, not ${base}.`);
    for (let from = 0; filling !== 'uncopied' && from < batch.length; from += COPY_BATCH) {
      const records = batch.slice(from, from + COPY_BATCH).map((message, index) => ({
        ...{ partition, id: message.id, key: message.key, value: message.value, timestamp },
        headers: Object.entries({ ...headersOf(message), ...sourceOf('kafka', from + index) }),
      }));
      for (const result of await owlmq.publish(topic, records)) if (!result.ok) throw new Error(result.detail);
    }
  }
}

function consumer(brokers: string[], topic: string): Subject {
  return {
    name: 'bare kafkajs consumer',
    run: async (started) => {
      const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING });
      const reading = kafka.consumer({ groupId: `bench-${randomUUID()}`, maxWaitTimeInMs: 100 });
      try {
        await reading.connect();
        await reading.subscribe({ topic, fromBeginning: true });
        reading.on(reading.events.GROUP_JOIN, started);
        await new Promise<void>((resolve, reject) => {
          let seen = 0;
          reading.on(reading.events.CRASH, ({ payload }) => {
            reject(payload.error);
          });
          const eachBatch = async ({ batch }: { batch: { messages: unknown[] } }): Promise<void> => {
            seen += batch.messages.length;
            if (seen >= MESSAGES) resolve();
            await Promise.resolve();
          };
          reading
            .run({ autoCommit: false, partitionsConsumedConcurrently: PARTITIONS, eachBatch })
            .catch((error: unknown) => {
              reject(error instanceof Error ? error : new Error(String(error)));
            });
        });
      } finally {
        await reading.disconnect();
      }
    },
  };
}

function audits(brokers: string[], owlmq: OwlmqClient, topics: Record<Filling, string>): Subject[] {
  const common = { connection: { brokers }, owlmq, graceMs: 5_000 };
  const zeros = new Array<number>(PARTITIONS).fill(0);
  const run = (make: () => ForwardAudit | MirrorAudit) => async () => {
    const audit = make();
    try {
      const { complete } = await audit.step({ maxMs: 120_000 });
      if (!complete) throw new Error('The audit did not come to its end.');
    } finally {
      await audit.close();
    }
  };
  const forward = (topic: string) => () =>
    new ForwardAudit({ ...common, topics: [topic], positions: { [topic]: zeros } });
  const mirror = (topic: string) => () =>
    new MirrorAudit({
      ...{ ...common, topics: [topic] },
      ...{ owlmqPositions: { [topic]: zeros }, kafkaPositions: { [topic]: zeros } },
    });
  return [
    { name: 'forward audit, all copied', run: run(forward(topics.copied)) },
    { name: 'forward audit, none copied', run: run(forward(topics.uncopied)) },
    { name: 'mirror audit, all copied', run: run(mirror(topics.mirrored)) },
    { name: 'mirror audit, all from Kafka', run: run(mirror(topics.copied)) },
  ];
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

async function main(): Promise<void> {
  const engines = await startEngines({ want: ['kafka', 'owlmq'] });
  const brokers = [...engines.kafka.brokers];
  const kafka = new Kafka({ brokers, logLevel: logLevel.ERROR });
  const [admin, producer, owlmq] = [kafka.admin(), kafka.producer(), new OwlmqClient(engines.owlmq)];
  try {
    await Promise.all([admin.connect(), producer.connect()]);
    console.log('| bytes | subject | messages/s | of the consumer | CPU µs a message | of the consumer |');
    console.log('| --- | --- | --- | --- | --- | --- |');
    for (const bytes of SIZES) {
      const topics = {
        copied: `bench.audit.copied.${bytes}`,
        uncopied: `bench.audit.uncopied.${bytes}`,
        mirrored: `bench.audit.mirrored.${bytes}`,
      };
      for (const filling of ['copied', 'uncopied', 'mirrored'] as const) {
        const topic = topics[filling];
        await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }], waitForLeaders: true });
        await owlmq.createTopic(topic, PARTITIONS);
        await fill(producer, owlmq, topic, bytes, filling);
      }
      const subjects = [consumer(brokers, topics.copied), ...audits(brokers, owlmq, topics)];
      const samples = new Map<string, Sample[]>(subjects.map(({ name }) => [name, []]));
      // The first round warms up.
      for (let round = 0; round <= ROUNDS; round++) {
        for (const subject of subjects) {
          const sample = await measure(subject);
          if (round > 0) samples.get(subject.name)?.push(sample);
        }
      }
      report(bytes, samples);
    }
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect(), owlmq.close()]);
    await engines.stop();
  }
}

function report(bytes: number, samples: ReadonlyMap<string, readonly Sample[]>): void {
  let base: Sample | undefined;
  for (const [name, all] of samples) {
    const perSecond = median(all.map((sample) => sample.perSecond));
    const cpuMicros = median(all.map((sample) => sample.cpuMicros));
    base ??= { perSecond, cpuMicros };
    const ratios = [perSecond / base.perSecond, cpuMicros / base.cpuMicros].map((ratio) => ratio.toFixed(2));
    console.log(
      `| ${bytes} | ${name} | ${Math.round(perSecond)} | ${ratios[0] ?? ''} | ${cpuMicros.toFixed(1)} | ${ratios[1] ?? ''} |`,
    );
  }
}

await main();
