import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { Kafka, logLevel, type Consumer } from 'kafkajs';
import { DualPublisher, OwlmqClient } from '@owlmq/kafka-bridge';
import {
  ClusterAdmin,
  importToOwlmq,
  LogReader,
  readProvenance,
  translateToOwlmq,
} from '@owlmq/kafka-bridge/operations';
import { positive, runProgram, untilInterrupted } from '../demo/command-line.js';
import { DiskFullError, EngineStartError, EngineUnavailableError } from '../engines/errors.js';
import { Progress } from '../engines/fetch/progress.js';
import { findMirrorMaker } from '../engines/find/kafka-tools.js';
import { findKafka } from '../engines/find/kafka.js';
import { makeOwnedFolder } from '../engines/process/owned-folder.js';
import { kafkaPlan } from '../engines/run/kafka.js';
import { launch, type Launched } from '../engines/run/launch.js';
import { mirroredTopic, mirrorMakerPlan, type MirrorFlow } from '../engines/run/mirror-maker.js';
import { keptApiKey, owlmqPlan } from '../engines/run/owlmq.js';
import type { ServerPlan } from '../engines/run/server-plan.js';

/**
 * Where groups stand after a change of systems: MirrorMaker 2 to another Kafka, with its default intervals and with the
 * shortest, and `kafka-bridge` to OwlMQ; of the same topic, with the same groups that stopped at the same messages. What
 * is true is told by the ids of the messages, whoever says what.
 *
 * `npm run bench:mirrormaker`, about four minutes.
 */
interface BenchOptions {
  messages: number;
  rate: number;
  settle: number;
  json?: string;
}

const TOPIC = 'orders';
const PARTITIONS = 6;
/** Taken by retention before anything is mirrored, so that a message's offsets differ from system to system. */
const RETAINED_AWAY = 1_000;
const COMMIT_EVERY_MS = 1_000;
const WITHIN_MS = 60_000;

const log = (line: string): void => {
  console.error(line);
};

/** What is ended at the end, whatever happens, last started first. */
class Running {
  readonly #ends: (() => Promise<unknown>)[] = [];

  constructor(
    readonly folder: string,
    readonly signal: AbortSignal,
  ) {}

  async server<P extends string>(plan: ServerPlan<P>): Promise<Launched<P>> {
    const started = await launch(plan, { ports: 'free', log, signal: this.signal, temporary: true });
    this.onEnd(() => started.process.stop());
    return started;
  }

  onEnd(end: () => Promise<unknown>): void {
    this.#ends.push(end);
  }

  async end(): Promise<void> {
    const failures: unknown[] = [];
    for (const end of this.#ends.splice(0).reverse()) {
      await end().catch((error: unknown) => {
        failures.push(error);
      });
    }
    if (failures.length > 0) throw new AggregateError(failures, 'Not everything could be ended.');
  }
}

/** A group that consumes with the stream, and stops once it has `share` of all messages, less `lag`. */
interface Stop {
  name: string;
  group: string;
  share: number;
  lag: number;
}

const STOPS: Stop[] = [
  { name: 'drained', group: 'drained', share: 1, lag: 0 },
  { name: '10 behind', group: 'behind-10', share: 1, lag: 10 },
  { name: '1,000 behind', group: 'behind-1000', share: 1, lag: 1_000 },
  { name: '20,000 behind', group: 'behind-20000', share: 1, lag: 20_000 },
  { name: 'at half', group: 'half', share: 0.5, lag: 0 },
  { name: 'at a tenth, long ago', group: 'tenth', share: 0.1, lag: 0 },
];

/** Where a group stops in each partition: offsets of the source. */
function stopOffsets({ share, lag }: Stop, messages: number): number[] {
  const total = Math.max(0, Math.floor(messages * share) - lag);
  return Array.from(
    { length: PARTITIONS },
    (_, partition) => RETAINED_AWAY + Math.floor((total + PARTITIONS - 1 - partition) / PARTITIONS),
  );
}

/** An ordinary consumer: it commits every second, and exactly where it stops. */
async function consumeUntil(kafka: Kafka, group: string, stops: readonly number[], running: Running): Promise<void> {
  const consumer: Consumer = kafka.consumer({ groupId: group, maxWaitTimeInMs: 200, sessionTimeout: 60_000 });
  running.onEnd(() => consumer.disconnect());
  const positions = new Map<number, number>();
  const stopped = new AbortController();
  let crash: Error | undefined;
  const commits = () => [...positions].map(([partition, at]) => ({ topic: TOPIC, partition, offset: String(at) }));
  await consumer.connect();
  await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    crash = payload.error;
    stopped.abort();
  });
  let lastCommit = performance.now();
  await consumer.run({
    autoCommit: false,
    eachBatch: async (payload) => {
      const { batch } = payload;
      const stop = stops[batch.partition] ?? 0;
      for (const { offset } of batch.messages) {
        if (Number(offset) < stop) positions.set(batch.partition, Number(offset) + 1);
      }
      if ((positions.get(batch.partition) ?? 0) >= stop) payload.pause();
      await payload.heartbeat();
      if (performance.now() - lastCommit >= COMMIT_EVERY_MS) {
        lastCommit = performance.now();
        await consumer.commitOffsets(commits());
      }
      if (stops.every((at, partition) => (positions.get(partition) ?? RETAINED_AWAY) >= at)) stopped.abort();
    },
  });
  await untilAborted(AbortSignal.any([stopped.signal, running.signal]));
  running.signal.throwIfAborted();
  if (crash !== undefined) throw crash;
  await consumer.commitOffsets(commits());
  await consumer.disconnect();
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}

/** Publishes at a steady rate, as a service does. */
async function publish(publisher: DualPublisher, { messages, rate }: BenchOptions, signal: AbortSignal): Promise<void> {
  const began = performance.now();
  const value = Buffer.alloc(200, 'x');
  let failure: unknown;
  const fail = (error: unknown): void => {
    failure ??= error;
  };
  for (let sent = 0; sent < messages;) {
    await delay(10, undefined, { signal });
    const due = Math.min(messages, Math.floor(((performance.now() - began) / 1_000) * rate));
    for (; sent < due; sent++) {
      publisher.publish(TOPIC, value, { partition: sent % PARTITIONS }).catch(fail);
    }
  }
  await publisher.flush({ timeoutMs: WITHIN_MS });
  if (failure !== undefined) throw new Error('A message could not be published.', { cause: failure });
}

/** A partition of a log: ids in order, and their offsets. */
type Log = { id: string; offset: number }[];

async function kafkaLog(brokers: string[], topic: string): Promise<Log[]> {
  const reader = new LogReader({ brokers }, { clientId: 'bench-mirrormaker' });
  try {
    const logs: Log[] = [];
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const records: Log = [];
      for await (const { headers, offset } of reader.readToEnd(topic, partition, 'begin')) {
        records.push({ id: readProvenance(headers).id ?? '', offset });
      }
      logs.push(records);
    }
    return logs;
  } finally {
    await reader.close();
  }
}

async function owlmqLog(owlmq: OwlmqClient, topic: string): Promise<Log[]> {
  const described = await owlmq.describeTopic(topic);
  const logs: Log[] = [];
  for (const { partition, beginOffset, endOffset } of described?.partitions ?? []) {
    const records: Log = [];
    for (let next = beginOffset; next < endOffset; next = (records.at(-1)?.offset ?? next) + 1) {
      const page = await owlmq.read(topic, partition, next, { maxRecords: 1_000 });
      records.push(...page.records.map(({ id, offset }) => ({ id, offset })));
    }
    logs.push(records);
  }
  return logs;
}

/** What a group gets when it goes on at given positions, and what it should. */
interface Judgement {
  subject: string;
  stop: string;
  /** Messages that lie between the given and the true position, over all partitions, and in the worst one. */
  offBy: number;
  worst: number;
  redelivered: number;
  lost: number;
  /** Partitions for which no position was given: it goes on at the begin. */
  without: number;
}

function judge(
  subject: string,
  stop: string,
  target: readonly Log[],
  positions: readonly (number | undefined)[],
  consumed: ReadonlySet<string>,
): Judgement {
  const result = { subject, stop, offBy: 0, worst: 0, redelivered: 0, lost: 0, without: 0 };
  for (const [partition, records] of target.entries()) {
    const given = positions[partition];
    const from = given === undefined ? 0 : records.filter(({ offset }) => offset < given).length;
    const first = records.findIndex(({ id }) => !consumed.has(id));
    const off = Math.abs((first === -1 ? records.length : first) - from);
    result.offBy += off;
    result.worst = Math.max(result.worst, off);
    result.redelivered += records.slice(from).filter(({ id }) => consumed.has(id)).length;
    result.lost += records.slice(0, from).filter(({ id }) => !consumed.has(id)).length;
    if (given === undefined) result.without++;
  }
  return result;
}

async function committed(brokers: string[], group: string, topic: string): Promise<(number | undefined)[]> {
  const admin = new ClusterAdmin({ brokers }, { clientId: 'bench-mirrormaker' });
  try {
    return (await admin.groupOffsets(group, { [topic]: PARTITIONS }))[topic] ?? [];
  } finally {
    await admin.close();
  }
}

async function until(what: string, ms: number, signal: AbortSignal, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what} did not come about within ${ms / 1_000} s.`);
    await delay(500, undefined, { signal });
  }
}

async function sideBySide(options: BenchOptions, running: Running): Promise<Judgement[]> {
  const { folder, signal } = running;
  const progress = new Progress(log);
  const [program, mirrorMaker] = [await findKafka(progress, signal), await findMirrorMaker(progress, signal)];
  log('starting two brokers and owlmq-local …');
  const [source, target] = await Promise.all(
    ['source', 'target'].map(async (name) => {
      const { ports } = await running.server(kafkaPlan(program, join(folder, name)));
      return [`127.0.0.1:${ports.broker}`];
    }),
  );
  if (source === undefined || target === undefined) throw new Error('A broker is missing.');
  const apiKey = await keptApiKey(join(folder, 'owlmq'));
  const { ports } = await running.server(owlmqPlan(apiKey, join(folder, 'owlmq')));
  const owlmqAt = { url: `http://127.0.0.1:${ports.http}`, apiKey };
  const owlmq = new OwlmqClient(owlmqAt);
  running.onEnd(() => owlmq.close());

  const kafka = new Kafka({ brokers: source, logLevel: logLevel.NOTHING });
  await prepare(kafka, owlmq, source);
  const flow = (name: string, settings: Record<string, string>): MirrorFlow => ({
    from: { alias: `source-${name}`, brokers: source },
    to: { alias: `target-${name}`, brokers: target },
    topics: [TOPIC],
    settings: { 'sync.group.offsets.enabled': 'true', ...settings },
  });
  const flows = {
    'MirrorMaker 2, default intervals': flow('default', {}),
    'MirrorMaker 2, shortest intervals': flow('short', {
      ...{ 'emit.checkpoints.interval.seconds': '1', 'sync.group.offsets.interval.seconds': '1' },
      ...{ 'offset.lag.max': '0', 'refresh.groups.interval.seconds': '5' },
    }),
  };
  log('starting two MirrorMakers …');
  for (const { from, ...rest } of Object.values(flows)) {
    await running.server(mirrorMakerPlan(mirrorMaker, join(folder, from.alias), { from, ...rest }));
  }

  const publisher = new DualPublisher({ kafka: { brokers: source }, owlmq: owlmqAt, ratio: 1 });
  running.onEnd(() => publisher.close());
  await publisher.connect();
  log(`publishing ${options.messages} messages at ${options.rate} a second; ${STOPS.length} groups consume …`);
  await Promise.all([
    publish(publisher, options, signal),
    ...STOPS.map((stop) => consumeUntil(kafka, stop.group, stopOffsets(stop, options.messages), running)),
  ]);
  const stopped = performance.now();
  const reader = new LogReader({ brokers: target }, { clientId: 'bench-mirrormaker' });
  running.onEnd(() => reader.close());
  for (const one of Object.values(flows)) {
    await until('The mirrored topic', WITHIN_MS, signal, async () => {
      const ends = await reader.ends(mirroredTopic(one, TOPIC));
      return ends.reduce((sum, end) => sum + end, 0) >= options.messages;
    });
  }
  log(`all is mirrored; MirrorMaker has ${options.settle} s since the last commit to sync its groups …`);
  await delay(Math.max(0, options.settle * 1_000 - (performance.now() - stopped)), undefined, { signal });

  const sourceLog = await kafkaLog(source, TOPIC);
  const judgements: Judgement[] = [];
  const consumed = new Map<string, ReadonlySet<string>>();
  for (const { group } of STOPS) {
    const commits = await committed(source, group, TOPIC);
    const ids = sourceLog.flatMap((records, partition) =>
      records.filter(({ offset }) => offset < (commits[partition] ?? 0)).map(({ id }) => id),
    );
    consumed.set(group, new Set(ids));
  }
  for (const [subject, one] of Object.entries(flows)) {
    const topic = mirroredTopic(one, TOPIC);
    const records = await kafkaLog(target, topic);
    for (const { name, group } of STOPS) {
      const positions = await committed(target, group, topic);
      judgements.push(judge(subject, name, records, positions, consumed.get(group) ?? new Set()));
    }
  }
  const records = await owlmqLog(owlmq, TOPIC);
  for (const { name, group } of STOPS) {
    const given = { connection: { brokers: source }, owlmq, groups: [group], topics: [TOPIC], signal };
    const [translated] = await translateToOwlmq(given);
    const { redeliveries } = await importToOwlmq(owlmq, group, translated?.partitions ?? []);
    const commits = (await owlmq.describeGroup(group))?.offsets ?? [];
    const positions = records.map((_, partition) => commits.find((one) => one.partition === partition)?.offset);
    const found = judge('kafka-bridge', name, records, positions, consumed.get(group) ?? new Set());
    if (redeliveries !== found.redelivered) throw new Error(`It told ${redeliveries}: ${JSON.stringify(found)}`);
    judgements.push(found);
  }
  return judgements;
}

/** A topic whose log begins behind what retention took, and groups that MirrorMaker finds when it starts. */
async function prepare(kafka: Kafka, owlmq: OwlmqClient, brokers: string[]): Promise<void> {
  const [admin, producer] = [kafka.admin(), kafka.producer()];
  const offsets = new ClusterAdmin({ brokers }, { clientId: 'bench-mirrormaker' });
  try {
    await Promise.all([admin.connect(), producer.connect()]);
    await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: PARTITIONS }], waitForLeaders: true });
    await owlmq.createTopic(TOPIC, PARTITIONS);
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const messages = Array.from({ length: RETAINED_AWAY }, () => ({ partition, value: 'old' }));
      await producer.send({ topic: TOPIC, messages });
    }
    // kafkajs finds no leader for a topic that it has no metadata of.
    await admin.fetchTopicOffsets(TOPIC);
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({
      ...{ partition, offset: String(RETAINED_AWAY) },
    }));
    await admin.deleteTopicRecords({ topic: TOPIC, partitions });
    const begin = { [TOPIC]: new Array<number>(PARTITIONS).fill(RETAINED_AWAY) };
    await untilTaken(() => Promise.all(STOPS.map(({ group }) => offsets.setGroupOffsets(group, begin))));
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect(), offsets.close()]);
  }
}

/** A broker that was just started loads its group coordinators first. */
async function untilTaken(work: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + WITHIN_MS;
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await delay(500);
    }
  }
}

function print(judgements: readonly Judgement[]): void {
  console.log(
    '| group stopped | subject | off by | worst partition | redelivered | lost | partitions without an offset |',
  );
  console.log('| --- | --- | --- | --- | --- | --- | --- |');
  for (const { name } of STOPS) {
    for (const { stop, subject, offBy, worst, redelivered, lost, without } of judgements) {
      if (stop !== name) continue;
      console.log(`| ${stop} | ${subject} | ${offBy} | ${worst} | ${redelivered} | ${lost} | ${without} |`);
    }
  }
}

async function bench(options: BenchOptions, signal: AbortSignal): Promise<void> {
  const folder = await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq-bench');
  const running = new Running(folder, signal);
  try {
    const judgements = await sideBySide(options, running);
    console.log(
      `${options.messages} messages at ${options.rate} a second, ${PARTITIONS} partitions, ${options.settle} s to settle\n`,
    );
    print(judgements);
    if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(judgements, null, 2)}\n`);
  } finally {
    await running.end();
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

const signal = untilInterrupted(log);
const program = new Command('bench:mirrormaker')
  .description('Where groups stand after MirrorMaker 2 and after kafka-bridge. Prints a Markdown table.')
  .option('--messages <n>', 'messages of the topic', positive, 120_000)
  .option('--rate <n>', 'messages a second', positive, 2_000)
  .option(
    '--settle <s>',
    'seconds that MirrorMaker has after the last commit; its default interval is 60 s',
    positive,
    130,
  )
  .addOption(new Option('--json <file>', 'write the figures to a file too'))
  .action((options: BenchOptions) => bench(options, signal));

await runProgram(program, {
  ...{ signal, log },
  expected: [EngineUnavailableError, EngineStartError, DiskFullError],
});
