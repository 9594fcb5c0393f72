import { randomInt } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { execa } from 'execa';
import { OwlmqClient } from '@owlmq/kafka-bridge';
import {
  ClusterAdmin,
  importToOwlmq,
  LogReader,
  translateToOwlmq,
  type GroupTranslation,
  type OwlmqApi,
} from '@owlmq/kafka-bridge/operations';
import { seededRandom } from '../demo/sample-data.js';
import { positive, runProgram, untilInterrupted, whole } from '../demo/command-line.js';
import { checkoutRoot } from '../engines/checkout.js';
import { DiskFullError, EngineStartError, EngineUnavailableError } from '../engines/errors.js';
import { Progress } from '../engines/fetch/progress.js';
import { findConsoleTools, type KafkaTools } from '../engines/find/kafka-tools.js';
import { makeOwnedFolder } from '../engines/process/owned-folder.js';
import { KafkaToolError, parseDescribedOffsets, runConsumerGroups } from '../engines/run/kafka-tools.js';
import { startEngines } from '../engines/start-engines.js';
import { makeTopics, REPAIRED_ONE_IN, type Systems } from './offsets-logs.js';

/**
 * What it costs to move positions of groups from Kafka to OwlMQ: drained groups whole (read, translate, import, read
 * back) against Kafka's own console tool, which sets offsets that it is given and shows them; and lagging groups, by
 * their lag and by the disorder of the log on OwlMQ.
 *
 * `npm run bench:offsets`
 */
interface BenchOptions {
  groups: number[];
  topics: number;
  partitions: number;
  messages: number;
  rounds: number;
  lags: number[];
  distances: number[];
  log: number;
  lagging: boolean;
  drained: boolean;
  seed: number;
  json?: string;
}

/** Of the lagging logs. */
const LAGGING_PARTITIONS = 2;
const PROCESS_WITHIN_MS = 120_000;

const log = (line: string): void => {
  console.error(line);
};

async function commit(
  systems: Systems,
  groups: readonly string[],
  topics: readonly string[],
  partitions: number,
  offset: number,
): Promise<void> {
  const admin = new ClusterAdmin({ brokers: systems.brokers }, { clientId: 'bench-offsets' });
  try {
    for (const group of groups) {
      const all = topics.map((topic) => [topic, new Array<number>(partitions).fill(offset)]);
      await admin.setGroupOffsets(group, Object.fromEntries(all) as Record<string, number[]>);
    }
  } finally {
    await admin.close();
  }
}

function checkExact(translations: readonly GroupTranslation[], count: number): void {
  const all = translations.flatMap(({ partitions }) => partitions);
  if (all.length !== count) throw new Error(`${all.length} translations, not ${count}.`);
  const other = all.find(({ verdict }) => verdict !== 'exact');
  if (other !== undefined) throw new Error(`Not exact: ${JSON.stringify(other)}`);
}

interface Sample {
  /** Times by what was done, ms; the first is that of the whole. */
  ms: Record<string, number>;
}

interface Subject {
  name: string;
  run: () => Promise<Sample>;
}

/**
 * Our way, as the command goes it: from the first connection to the last offset read back.
 *
 * @param audited whether what the audit has noted is used.
 */
function library(
  systems: Systems,
  groups: readonly string[],
  topics: readonly string[],
  partitions: number,
  audited: boolean,
): Subject {
  return {
    name: audited ? 'kafka-bridge, library' : 'kafka-bridge, library, without an audit before',
    run: async () => {
      const begun = performance.now();
      const owlmq = new OwlmqClient(systems.owlmq);
      try {
        const connection = { brokers: systems.brokers };
        const translations = await translateToOwlmq({
          ...{ connection, owlmq, groups, topics, signal: systems.signal },
          ...(audited ? {} : { syncs: {} }),
        });
        const translated = performance.now();
        for (const { group, partitions: all } of translations) await importToOwlmq(owlmq, group, all);
        const imported = performance.now();
        checkExact(translations, groups.length * topics.length * partitions);
        return {
          ms: { whole: imported - begun, translate: translated - begun, import: imported - translated },
        };
      } finally {
        await owlmq.close();
      }
    },
  };
}

/** The same as a process, from its start to its end. */
function command(systems: Systems, groups: readonly string[], topics: readonly string[], partitions: number): Subject {
  const bin = join(checkoutRoot, 'packages', 'kafka-bridge', 'bin', 'kafka-bridge.js');
  const { url, apiKey } = systems.owlmq;
  const env = { KAFKA_BROKERS: systems.brokers.join(','), OWLMQ_URL: url, OWLMQ_API_KEY: apiKey };
  const run = async (args: readonly string[]): Promise<{ ms: number; out: string }> => {
    const begun = performance.now();
    const options = { env, timeout: PROCESS_WITHIN_MS, forceKillAfterDelay: 2_000, cancelSignal: systems.signal };
    const { stdout } = await execa(process.execPath, [bin, ...args], { ...options, stdin: 'ignore' });
    return { ms: performance.now() - begun, out: stdout };
  };
  return {
    name: 'kafka-bridge migrate-offsets',
    run: async () => {
      const given = ['--groups', groups.join(','), '--topics', topics.join(',')];
      const { ms, out } = await run(['migrate-offsets', ...given, '--yes', '--output', 'json']);
      const exact = out.match(/"verdict":\s*"exact"/g)?.length ?? 0;
      const expected = groups.length * topics.length * partitions;
      if (exact !== expected)
        throw new Error(`The command says of ${exact} positions that they are exact, not of ${expected}.`);
      return { ms: { whole: ms, start: (await run(['--version'])).ms } };
    },
  };
}

/** Kafka's way: offsets that are known, set from a file, and shown. */
async function javaTool(
  systems: Systems,
  tools: KafkaTools,
  file: string,
  groups: readonly string[],
  topics: readonly string[],
  partitions: number,
  end: number,
): Promise<Subject> {
  const lines = groups.flatMap((group) =>
    topics.flatMap((topic) =>
      Array.from({ length: partitions }, (_, partition) => `${group},${topic},${partition},${end}`),
    ),
  );
  await writeFile(file, `${lines.join('\n')}\n`);
  const server = ['--bootstrap-server', systems.brokers.join(','), '--timeout', '60000'];
  const { signal } = systems;
  return {
    name: 'kafka-consumer-groups',
    run: async () => {
      const named = groups.flatMap((group) => ['--group', group]);
      const reset = [...server, '--reset-offsets', ...named, '--from-file', file, '--execute'];
      const set = await runConsumerGroups(tools, reset, { signal });
      const shown = await runConsumerGroups(tools, [...server, '--describe', '--all-groups'], { signal });
      const offsets = parseDescribedOffsets(shown.out).filter(({ group }) => groups.includes(group));
      if (offsets.length !== lines.length || offsets.some(({ offset, lag }) => offset !== end || lag !== 0)) {
        throw new Error(`kafka-consumer-groups shows ${offsets.length} offsets, not ${lines.length} at ${end}.`);
      }
      const { ms: start } = await runConsumerGroups(tools, ['--version'], { signal });
      return { ms: { whole: set.ms + shown.ms, reset: set.ms, describe: shown.ms, start } };
    },
  };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(2);
}

interface Figures {
  groups: number;
  subject: string;
  medianMs: Record<string, number>;
}

async function drained(systems: Systems, options: BenchOptions, folder: string): Promise<Figures[]> {
  const { partitions, messages, rounds } = options;
  const tools = await findConsoleTools(new Progress(log), systems.signal);
  const topics = Array.from({ length: options.topics }, (_, index) => `bench.offsets.drained.${index}`);
  log(`filling ${topics.length} topics of ${partitions} partitions, ${messages} messages each …`);
  await makeTopics(systems, topics, partitions, { messages, distance: 0, random: () => 1 });
  console.log(`Kafka ${tools.version}'s tool; ${topics.length} topics x ${partitions} partitions, ${rounds} rounds\n`);
  console.log('| groups | subject | whole s | of the Java tool | parts, s |');
  console.log('| --- | --- | --- | --- | --- |');
  const figures: Figures[] = [];
  // In rising order: `--all-groups` shows those of the stages before, which are the same ones.
  for (const count of [...options.groups].sort((a, b) => a - b)) {
    const groups = Array.from({ length: count }, (_, index) => `bench-drained-${index}`);
    await commit(systems, groups, topics, partitions, messages);
    const java = await javaTool(systems, tools, join(folder, 'offsets.csv'), groups, topics, partitions, messages);
    const subjects = [
      java,
      command(systems, groups, topics, partitions),
      library(systems, groups, topics, partitions, true),
      library(systems, groups, topics, partitions, false),
    ];
    const samples = new Map<string, Sample[]>(subjects.map(({ name }) => [name, []]));
    // The first round warms up.
    for (let round = 0; round <= rounds; round++) {
      for (const { name, run } of subjects) {
        systems.signal.throwIfAborted();
        const sample = await run();
        if (round > 0) samples.get(name)?.push(sample);
      }
    }
    let base: number | undefined;
    for (const [subject, all] of samples) {
      const names = Object.keys(all[0]?.ms ?? {});
      const medianMs = Object.fromEntries(names.map((name) => [name, median(all.map(({ ms }) => ms[name] ?? 0))]));
      figures.push({ groups: count, subject, medianMs });
      const { whole = 0, ...parts } = medianMs;
      base ??= whole;
      const shown = Object.entries(parts).map(([name, ms]) => `${name} ${seconds(ms)}`);
      console.log(`| ${count} | ${subject} | ${seconds(whole)} | ${(whole / base).toFixed(3)} | ${shown.join(', ')} |`);
    }
  }
  console.log('');
  return figures;
}

/** What was read of both legs. */
class Reading {
  kafka = 0;
  owlmq = 0;
  lookups = 0;

  /** Counts what readers of Kafka hand out, until the returned function is called. */
  watchKafka(): () => void {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- put back as it was, and called on its object
    const { read } = LogReader.prototype;
    const count = (records: number): void => {
      this.kafka += records;
    };
    LogReader.prototype.read = async function (this: LogReader, ...given: Parameters<LogReader['read']>) {
      const slices = await read.apply(this, given);
      for (const { records } of slices) count(records.length);
      return slices;
    };
    return () => {
      LogReader.prototype.read = read;
    };
  }

  /** The same OwlMQ, with what it hands out counted. */
  ofOwlmq(owlmq: OwlmqClient): OwlmqApi {
    return new Proxy<OwlmqApi>(owlmq, {
      get: (target, name) => {
        if (name === 'read') {
          return async (...given: Parameters<OwlmqApi['read']>) => {
            const answer = await target.read(...given);
            this.owlmq += answer.records.length;
            return answer;
          };
        }
        if (name === 'readHeads') {
          return async (...given: Parameters<OwlmqApi['readHeads']>) => {
            const answer = await target.readHeads(...given);
            this.owlmq += answer.heads.length;
            return answer;
          };
        }
        if (name === 'lookup') {
          return async (...given: Parameters<OwlmqApi['lookup']>) => {
            this.lookups += given[1].length;
            return await target.lookup(...given);
          };
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }
}

interface Moved {
  ms: number;
  kafka: number;
  owlmq: number;
  lookups: number;
  verdicts: string;
}

interface LaggingFigures extends Moved {
  distance: number;
  lag: number;
  audited: boolean;
}

async function lagging(systems: Systems, options: BenchOptions): Promise<LaggingFigures[]> {
  const random = seededRandom(options.seed);
  const topicOf = (distance: number): string => `bench.offsets.lagging.${distance}`;
  for (const distance of options.distances) {
    log(`filling ${LAGGING_PARTITIONS} partitions of ${options.log} messages, disorder ${distance} …`);
    await makeTopics(systems, [topicOf(distance)], LAGGING_PARTITIONS, { messages: options.log, distance, random });
  }
  console.log(
    `One group, ${LAGGING_PARTITIONS} partitions of ${options.log} messages; one copy in ${REPAIRED_ONE_IN} repaired, ` +
      `seed ${options.seed}, ${options.rounds} rounds\n`,
  );
  console.log(
    '| repaired behind | lag a partition | audit before | ms | Kafka records read | OwlMQ records read | looked up | verdict |',
  );
  console.log('| --- | --- | --- | --- | --- | --- | --- | --- |');
  const figures: LaggingFigures[] = [];
  for (const distance of options.distances) {
    for (const lag of options.lags) {
      const [topic, group] = [topicOf(distance), `bench-lagging-${distance}-${lag}`];
      await commit(systems, [group], [topic], LAGGING_PARTITIONS, Math.max(0, options.log - lag));
      for (const audited of [true, false]) {
        const samples: Moved[] = [];
        for (let round = 0; round <= options.rounds; round++) {
          systems.signal.throwIfAborted();
          const moved = await move(systems, group, topic, audited);
          if (round > 0) samples.push(moved);
        }
        const ms = median(samples.map((sample) => sample.ms));
        const one = { distance, lag, audited, ...(samples[0] ?? { kafka: 0, owlmq: 0, lookups: 0, verdicts: '' }), ms };
        figures.push(one);
        const { kafka, owlmq, lookups, verdicts } = one;
        const [order, before] = [distance === 0 ? 'none' : String(distance), audited ? 'yes' : 'no'];
        console.log(
          `| ${order} | ${lag} | ${before} | ${ms.toFixed(0)} | ${kafka} | ${owlmq} | ${lookups} | ${verdicts} |`,
        );
      }
    }
  }
  return figures;
}

/** Moves one group's positions once, and counts what is read for it. */
async function move(systems: Systems, group: string, topic: string, audited: boolean): Promise<Moved> {
  const reading = new Reading();
  const stopWatching = reading.watchKafka();
  const client = new OwlmqClient(systems.owlmq);
  try {
    const owlmq = reading.ofOwlmq(client);
    const begun = performance.now();
    const [translated] = await translateToOwlmq({
      ...{ connection: { brokers: systems.brokers }, owlmq, groups: [group], topics: [topic] },
      ...{ signal: systems.signal, ...(audited ? {} : { syncs: {} }) },
    });
    await importToOwlmq(owlmq, group, translated?.partitions ?? []);
    const ms = performance.now() - begun;
    const verdicts = (translated?.partitions ?? [])
      .map(({ verdict, redeliveries }) => (redeliveries === 0 ? verdict : `${verdict} ${redeliveries ?? '?'}`))
      .join(', ');
    return { ms, kafka: reading.kafka, owlmq: reading.owlmq, lookups: reading.lookups, verdicts };
  } finally {
    stopWatching();
    await client.close();
  }
}

function numbers(text: string): number[] {
  const list = text.split(',').map(Number);
  if (!list.every((value) => Number.isSafeInteger(value) && value >= 0)) {
    throw new InvalidArgumentError('must be whole numbers from 0, with commas between.');
  }
  return list;
}

async function bench(options: BenchOptions, signal: AbortSignal): Promise<void> {
  const folder = await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq-bench');
  try {
    const engines = await startEngines({ want: ['kafka', 'owlmq'], log, signal });
    try {
      const systems = { brokers: [...engines.kafka.brokers], owlmq: engines.owlmq, signal };
      const results = {
        drained: options.drained ? await drained(systems, options, folder) : [],
        lagging: options.lagging ? await lagging(systems, options) : [],
      };
      if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(results, null, 2)}\n`);
    } finally {
      await engines.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const signal = untilInterrupted(log);
const program = new Command('bench:offsets')
  .description("What it costs to move positions of groups, against Kafka's own tool. Prints Markdown tables.")
  .option('--groups <list>', 'how many drained groups, by stage', numbers, [1, 10, 100])
  .option('--topics <n>', 'topics that each drained group consumes', positive, 10)
  .option('--partitions <n>', 'partitions of each', positive, 12)
  .option('--messages <n>', 'messages a partition of these', whole, 1_000)
  .option('--rounds <n>', 'rounds, after one to warm up', positive, 5)
  .option('--lags <list>', 'lags of the lagging groups, a partition', numbers, [0, 100, 10_000, 100_000])
  .option(
    '--distances <list>',
    'disorder: how many messages late repaired copies are',
    numbers,
    [0, 10, 1_000, 100_000],
  )
  .option('--log <n>', 'messages a partition of lagging groups', positive, 200_000)
  .option('--no-drained', 'leave drained groups out')
  .option('--no-lagging', 'leave lagging groups out')
  .option('--seed <n>', 'which copies were repaired', whole, randomInt(1_000_000))
  .addOption(new Option('--json <file>', 'write the figures to a file too'))
  .action((options: BenchOptions) => bench(options, signal));

await runProgram(program, {
  ...{ signal, log },
  expected: [EngineUnavailableError, EngineStartError, DiskFullError, KafkaToolError],
});
