import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Kafka, logLevel } from 'kafkajs';
import { OwlmqClient } from '@owlmq/kafka-bridge';
import { startEngines } from '../engines/start-engines.js';
import type { Measurement, MeasureRequest } from './publish-subject.js';

/**
 * What it costs to publish through the library, side by side in interleaved rounds on the same machine: plain kafkajs,
 * kafkajs behind the same batcher, and `DualPublisher` at three ratios. Only the ratios mean something elsewhere.
 *
 * `npm run bench -- [--rounds 5] [--concurrency 1,100,1000] [--bytes 200,1024] [--json]`
 */
const PARTITIONS = 6;
const SUBJECTS = [
  'plain kafkajs',
  'batched kafkajs',
  'DualPublisher at 0',
  'DualPublisher at 0.5',
  'DualPublisher at 1',
] as const;
type SubjectName = (typeof SUBJECTS)[number];

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    concurrency: { type: 'string', default: '1,100,1000' },
    bytes: { type: 'string', default: '200,1024' },
    json: { type: 'boolean', default: false },
  },
});

interface Case {
  concurrency: number;
  valueBytes: number;
}

function cases(): Case[] {
  const concurrencies = options.concurrency.split(',').map(Number);
  const sizes = options.bytes.split(',').map(Number);
  return sizes.flatMap((valueBytes) => concurrencies.map((concurrency) => ({ concurrency, valueBytes })));
}

/** Enough for a second or so of the slower subjects. */
function countFor({ concurrency }: Case): number {
  return concurrency === 1 ? 2_000 : concurrency <= 100 ? 10_000 : 20_000;
}

async function start(name: SubjectName, brokers: readonly string[], env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('publish-subject.js', import.meta.url)), [name, ...brokers], { env });
  await answer(child);
  return child;
}

/** The next message of a measured process; fails when it ends instead. */
async function answer(child: ChildProcess): Promise<unknown> {
  return await new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => {
      reject(new Error(`A measured process ended with ${code ?? 'a signal'}.`));
    };
    child.once('exit', onExit);
    child.once('message', (message) => {
      child.off('exit', onExit);
      resolve(message);
    });
  });
}

async function measure(child: ChildProcess, request: MeasureRequest): Promise<Measurement> {
  child.send(request);
  return (await answer(child)) as Measurement;
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
  const env = { ...process.env, ...engines.env };
  const children = new Map<SubjectName, ChildProcess>();
  const results = new Map<string, Measurement[]>();
  const rounds = Number(options.rounds);
  try {
    for (const name of SUBJECTS) children.set(name, await start(name, brokers, env));
    // Compilers, connections and buffers are warm before the first round.
    for (const child of children.values()) {
      await measure(child, { topic, concurrency: 100, count: 5_000, valueBytes: 200 });
    }
    for (let round = 1; round <= rounds; round += 1) {
      for (const one of cases()) {
        for (const [name, child] of children) {
          const measured = await measure(child, { topic, count: countFor(one), ...one });
          const id = resultId(one, name);
          results.set(id, [...(results.get(id) ?? []), measured]);
        }
      }
      console.error(`round ${round} of ${rounds} is done`);
    }
    report(results, rounds);
  } finally {
    for (const child of children.values()) {
      if (!child.connected) continue;
      const ended = once(child, 'exit');
      child.send('close');
      await ended;
    }
    await Promise.all([admin.disconnect(), owlmq.close()]);
    await engines.stop();
  }
}

function resultId({ concurrency, valueBytes }: Case, name: SubjectName): string {
  return `${name}/${concurrency}/${valueBytes}`;
}

/** Each figure's median over the rounds. */
function medians(measured: readonly Measurement[]): Measurement {
  const of = (field: keyof Measurement): number => {
    const sorted = measured.map((one) => one[field]).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? 0;
  };
  return {
    perSecond: of('perSecond'),
    perSecondWithCopies: of('perSecondWithCopies'),
    p50: of('p50'),
    p99: of('p99'),
    cpuMicros: of('cpuMicros'),
    rssBytes: of('rssBytes'),
    dropped: of('dropped'),
  };
}

function report(results: ReadonlyMap<string, Measurement[]>, rounds: number): void {
  if (options.json) {
    console.log(JSON.stringify(Object.fromEntries(results), null, 2));
    return;
  }
  console.log(`Medians of ${rounds} interleaved rounds, ${PARTITIONS} partitions\n`);
  console.log(
    '| bytes | concurrency | subject | messages/s | with copies | of plain | of batched | p50 ms | of plain | p99 ms | CPU µs | of batched | RSS MB | dropped |',
  );
  console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |');
  for (const one of cases()) {
    const of = (name: SubjectName): Measurement => medians(results.get(resultId(one, name)) ?? []);
    const plain = of('plain kafkajs');
    const batched = of('batched kafkajs');
    for (const name of SUBJECTS) {
      const it = of(name);
      const cells = [
        one.valueBytes,
        one.concurrency,
        name,
        Math.round(it.perSecond),
        Math.round(it.perSecondWithCopies),
        (it.perSecond / plain.perSecond).toFixed(2),
        (it.perSecond / batched.perSecond).toFixed(2),
        it.p50.toFixed(3),
        (it.p50 / plain.p50).toFixed(2),
        it.p99.toFixed(2),
        it.cpuMicros.toFixed(1),
        (it.cpuMicros / batched.cpuMicros).toFixed(2),
        Math.round(it.rssBytes / 1_048_576),
        it.dropped,
      ];
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
}

await main();
