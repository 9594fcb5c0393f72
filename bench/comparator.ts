import { createHash, randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Kafka, logLevel, type Producer } from 'kafkajs';
import {
  MemberRoster,
  ObservationComparison,
  OBSERVATIONS_TOPIC,
  RoutingWriter,
  type Observation,
  type ObservingSide,
} from '@owlmq/kafka-bridge/operations';
import { startEngines } from '../engines/start-engines.js';

/**
 * How fast one comparison joins what both sides observed, from the topic in Kafka, against a kafkajs consumer that only
 * parses the same records; and what it holds in memory while the shadow is a lateness behind. Only the ratios mean
 * something elsewhere.
 *
 * `npm run bench:comparator`
 */
const { values: args } = parseArgs({
  options: {
    pairs: { type: 'string', default: '200000' },
    rounds: { type: 'string', default: '5' },
    fields: { type: 'string', default: '6,24' },
    /** Messages a second for which memory is measured. */
    rate: { type: 'string', default: '100' },
    minutes: { type: 'string', default: '1,5,15' },
  },
});
const PAIRS = Number(args.pairs);
const ROUNDS = Number(args.rounds);
const FIELDS = args.fields.split(',').map(Number);
const RATE = Number(args.rate);
const MINUTES = args.minutes.split(',').map(Number);
const GROUP = 'payment-service';
const TOPIC = 'orders.created';
const PARTITIONS = 12;
/** Observations of a side that follow each other, as members write them. */
const BATCH = 250;
/** How many messages the shadow is behind where speed is measured. */
const BEHIND = 2_000;

interface Sample {
  pairsPerSecond: number;
  cpuMicros: number;
}

setFlagsFromString('--expose_gc');
const collectGarbage = runInNewContext('gc') as () => void;

function digest(text: string, chars = 43): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, chars);
}

function observation(migration: string, side: ObservingSide, index: number, fields: number): Observation {
  const partition = Math.floor(index / BATCH) % PARTITIONS;
  const kafka = Math.floor(index / BATCH / PARTITIONS) * BATCH + (index % BATCH);
  const whole = digest(`${index}`);
  return {
    version: 2,
    migration,
    group: GROUP,
    side,
    topic: TOPIC,
    partition,
    id: `0193e5b2-7c1d-7000-8000-${index.toString(16).padStart(12, '0')}`,
    kafka,
    ...(side === 'shadow' ? { owlmq: kafka } : {}),
    time: 1_700_000_000_000 + index,
    key: digest(`key ${index % 5_000}`, 10),
    epoch: 7,
    handlerVersion: '1.4.2',
    output: {
      digest: whole,
      whole,
      truncated: false,
      // As members pack them: `POINTER DIGEST …`.
      fields: Array.from(
        { length: fields },
        (_, field) => `/lines/${field}/amount ${digest(`${index} ${field}`, 10)}`,
      ).join(' '),
    },
  };
}

/** Writes both sides' observations, the shadow's `behind` messages later; without `behind` none of the shadow's. */
async function write(producer: Producer, migration: string, pairs: number, fields: number, behind?: number) {
  const batchOf = (side: ObservingSide, start: number) =>
    Array.from({ length: Math.min(BATCH, pairs - start) }, (_, index) => {
      const one = observation(migration, side, start + index, fields);
      return { key: [migration, GROUP, TOPIC, one.partition].join('/'), value: JSON.stringify(one) };
    });
  for (let start = 0; start < pairs + (behind ?? 0); start += BATCH) {
    const shadow = start - (behind ?? Infinity);
    const messages = [
      ...(start < pairs ? batchOf('live', start) : []),
      ...(shadow >= 0 && shadow < pairs ? batchOf('shadow', shadow) : []),
    ];
    await producer.send({ topic: OBSERVATIONS_TOPIC, messages });
  }
}

interface Bench {
  kafka: Kafka;
  brokers: string[];
  producer: Producer;
  roster: MemberRoster;
}

function comparisonOf({ brokers, roster }: Bench, migration: string, start: number[], maxUnmatched?: number) {
  return new ObservationComparison({
    connection: { brokers },
    roster,
    migration,
    groups: [GROUP],
    latenessMs: 60_000,
    start,
    ...(maxUnmatched === undefined ? {} : { maxUnmatched }),
  });
}

async function compare(bench: Bench, migration: string, start: number[]): Promise<void> {
  const comparison = comparisonOf(bench, migration, start);
  try {
    const { groups, caughtUp } = await comparison.step();
    const matched = groups[GROUP]?.counts.matched;
    if (!caughtUp || matched !== PAIRS) throw new Error(`${matched ?? 0} of ${PAIRS} pairs matched.`);
  } finally {
    await comparison.close();
  }
}

async function parseOnly({ kafka }: Bench, migration: string, start: number[], started: () => void): Promise<void> {
  const consumer = kafka.consumer({ groupId: `bench-${randomUUID()}`, maxWaitTimeInMs: 100 });
  try {
    await consumer.connect();
    await consumer.subscribe({ topic: OBSERVATIONS_TOPIC, fromBeginning: true });
    consumer.on(consumer.events.GROUP_JOIN, started);
    await new Promise<void>((resolve, reject) => {
      let seen = 0;
      const eachBatch = async ({ batch }: { batch: { messages: { value: Buffer | null }[] } }): Promise<void> => {
        for (const { value } of batch.messages) {
          const parsed = JSON.parse(value?.toString() ?? 'null') as Observation;
          if (parsed.migration === migration) seen += 1;
        }
        if (seen >= 2 * PAIRS) resolve();
        await Promise.resolve();
      };
      consumer.on(consumer.events.CRASH, ({ payload }) => {
        reject(payload.error);
      });
      consumer.run({ autoCommit: false, partitionsConsumedConcurrently: PARTITIONS, eachBatch }).catch(reject);
      // Only what the comparison reads as well.
      for (const [partition, offset] of start.entries()) {
        consumer.seek({ topic: OBSERVATIONS_TOPIC, partition, offset: String(offset) });
      }
    });
  } finally {
    await consumer.disconnect();
  }
}

async function measure(run: (started: () => void) => Promise<void>): Promise<Sample> {
  let [begun, cpu] = [performance.now(), process.cpuUsage()];
  await run(() => {
    [begun, cpu] = [performance.now(), process.cpuUsage()];
  });
  const seconds = (performance.now() - begun) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  return { pairsPerSecond: PAIRS / seconds, cpuMicros: (user + system) / PAIRS };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

async function speed(bench: Bench, fields: number): Promise<void> {
  const migration = `bench-${fields}-${randomUUID().slice(0, 8)}`;
  const start = await ends(bench);
  await write(bench.producer, migration, PAIRS, fields, BEHIND);
  const subjects: [string, (started: () => void) => Promise<void>][] = [
    ['kafkajs consumer that parses', (started) => parseOnly(bench, migration, start, started)],
    ['comparison', () => compare(bench, migration, start)],
  ];
  const samples = new Map<string, Sample[]>(subjects.map(([name]) => [name, []]));
  // The first round warms up.
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, run] of subjects) {
      const sample = await measure(run);
      if (round > 0) samples.get(name)?.push(sample);
    }
  }
  let base: Sample | undefined;
  for (const [name, all] of samples) {
    const pairsPerSecond = median(all.map((one) => one.pairsPerSecond));
    const cpuMicros = median(all.map((one) => one.cpuMicros));
    base ??= { pairsPerSecond, cpuMicros };
    const cells = [
      fields,
      name,
      Math.round(pairsPerSecond),
      (pairsPerSecond / base.pairsPerSecond).toFixed(2),
      cpuMicros.toFixed(1),
      Math.round(1e6 / cpuMicros),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}

async function memory(bench: Bench, minutes: number): Promise<void> {
  const unmatched = RATE * 60 * minutes;
  const migration = `bench-memory-${randomUUID().slice(0, 8)}`;
  const start = await ends(bench);
  await write(bench.producer, migration, unmatched, 6);
  for (const [bound, maxUnmatched] of [
    ['none', Number.MAX_SAFE_INTEGER],
    ['the default', undefined],
  ] as const) {
    const comparison = comparisonOf(bench, migration, start, maxUnmatched);
    await comparison.step({ maxMs: 0 });
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    const { groups, checkpoint } = await comparison.step();
    collectGarbage();
    const bytes = process.memoryUsage().heapUsed - before;
    const held = groups[GROUP]?.unmatched ?? 0;
    const cells = [
      minutes,
      bound,
      unmatched,
      held,
      (bytes / 2 ** 20).toFixed(1),
      Math.round(bytes / held),
      JSON.stringify(checkpoint).length,
    ];
    console.log(`| ${cells.join(' | ')} |`);
    await comparison.close();
  }
}

async function ends({ kafka }: Bench): Promise<number[]> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const offsets = await admin.fetchTopicOffsets(OBSERVATIONS_TOPIC);
    return offsets.sort((a, b) => a.partition - b.partition).map(({ high }) => Number(high));
  } finally {
    await admin.disconnect();
  }
}

async function main(): Promise<void> {
  const engines = await startEngines({ want: ['kafka'] });
  const brokers = [...engines.kafka.brokers];
  const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING });
  const producer = kafka.producer();
  const routing = new RoutingWriter({ connection: { brokers }, clientId: 'bench' });
  const roster = new MemberRoster({
    connection: { brokers },
    clientId: 'bench',
    onError: (error) => {
      console.error(error);
    },
  });
  const bench = { kafka, brokers, producer, roster };
  try {
    await routing.ensureTopics();
    await Promise.all([producer.connect(), roster.start()]);
    console.log('| fields | subject | pairs/s | of the consumer | CPU µs a pair | pairs a second of CPU |');
    console.log('| --- | --- | --- | --- | --- | --- |');
    for (const fields of FIELDS) await speed(bench, fields);
    console.log(
      `\n| shadow behind, minutes at ${RATE}/s | bound | unmatched | held | heap MiB | bytes each | checkpoint bytes |`,
    );
    console.log('| --- | --- | --- | --- | --- | --- | --- |');
    for (const minutes of MINUTES) await memory(bench, minutes);
  } finally {
    await Promise.all([producer.disconnect(), roster.stop(), routing.close()]);
    await engines.stop();
  }
}

await main();
