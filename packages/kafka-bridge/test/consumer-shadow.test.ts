import { randomInt } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ForwardAudit } from '../src/audit/forward-audit.js';
import {
  ObservationComparison,
  observationEnds,
  type ComparisonReport,
  type GroupComparison,
  type ObservationComparisonOptions,
} from '../src/comparator/observation-log.js';
import { comparisonCheckpointSchema } from '../src/comparator/comparator.js';
import type { ConsumedMessage } from '../src/consumer/consumed-message.js';
import { DualConsumer, type DualConsumerOptions } from '../src/consumer/dual-consumer.js';
import { OBSERVATIONS_TOPIC } from '../src/consumer/observation.js';
import { partitionOfKey } from '../src/publisher/partitioner.js';
import { ROUTING_TOPIC, type RoutingState } from '../src/routing/routing-state.js';
import { Bench, seeded, until, type Written } from './consumer-harness.js';

interface Output {
  order: string;
  amount: number;
  lines: { sku: string; at: number }[];
}

describe('shadow consumers and the comparison', () => {
  let bench: Bench;
  let applied: string[];
  let clock = 0;
  const consumers: DualConsumer<Output>[] = [];
  const comparisons: ObservationComparison[] = [];

  beforeEach(async () => {
    applied = [];
    bench = await Bench.open();
  });

  afterEach(async () => {
    await Promise.all(consumers.splice(0).map((consumer) => consumer.stop()));
    await Promise.all(comparisons.splice(0).map((comparison) => comparison.close()));
    await bench.close();
  });

  function output(message: ConsumedMessage): Output {
    const amount = Number(message.value?.toString());
    clock += 1;
    return { order: message.key?.toString() ?? '', amount, lines: [{ sku: `sku-${amount % 5}`, at: clock }] };
  }

  async function member(change: Partial<DualConsumerOptions<Output>> = {}): Promise<DualConsumer<Output>> {
    const consumer = new DualConsumer<Output>({
      ...bench.options(),
      process: output,
      apply: (_output, message) => {
        applied.push(message.id);
      },
      ignore: ['/lines/*/at'],
      onError: (error) => {
        throw error;
      },
      ...change,
    });
    consumers.push(consumer);
    await consumer.start();
    return consumer;
  }

  function comparison(change: Partial<ObservationComparisonOptions> = {}): ObservationComparison {
    const made = new ObservationComparison({
      connection: bench.connection,
      migration: bench.migration,
      groups: [bench.group],
      latenessMs: 1_000,
      roster: bench.roster,
      from: bench.state?.shadowFrom ?? {},
      ...change,
    });
    comparisons.push(made);
    return made;
  }

  function groupOf(report: ComparisonReport | undefined): GroupComparison {
    const found = report?.groups[bench.group];
    if (found === undefined) throw new Error('The report lacks the group.');
    return found;
  }

  async function untilCompared(
    compare: ObservationComparison,
    holds: (group: GroupComparison) => boolean,
  ): Promise<ComparisonReport> {
    let last: ComparisonReport | undefined;
    return await until(
      async () => {
        last = await compare.step();
        return holds(groupOf(last)) ? last : undefined;
      },
      () => JSON.stringify(last),
    );
  }

  /** Members observe first; then the comparison starts at Kafka's ends. */
  async function startShadows(members: number): Promise<RoutingState> {
    const observing = await bench.route({ shadow: 'observe' });
    await bench.untilReports(members, ({ epoch }) => epoch === observing.epoch);
    const ends = await bench.reader.ends(bench.topic);
    const state = await bench.route({ shadow: 'compare', shadowFrom: { [bench.topic]: ends } });
    await bench.untilReports(members, ({ epoch, shadow }) => epoch === state.epoch && shadow);
    return state;
  }

  /** The same on Kafka: live consumers tell of every record first, then shadows start beside them. */
  async function startNoise(members: number): Promise<RoutingState> {
    const telling = await bench.route({ shadow: 'noise', ratio: 0 }, ['shadowFrom']);
    const told = await bench.untilReports(members, ({ epoch }) => epoch === telling.epoch);
    expect(told.map(({ shadow }) => shadow)).not.toContain(true);
    const ends = await bench.reader.ends(bench.topic);
    const state = await bench.route({ shadowFrom: { [bench.topic]: ends } });
    await bench.untilReports(members, ({ epoch, shadow }) => epoch === state.epoch && shadow);
    return state;
  }

  async function stopShadows(members: number): Promise<void> {
    const off = await bench.route({ shadow: 'off' }, ['shadowFrom']);
    await bench.untilReports(members, ({ epoch, shadow }) => epoch === off.epoch && !shadow);
  }

  function numbered(count: number): { key: string; value: string }[] {
    return Array.from({ length: count }, (_, index) => ({ key: `k${index}`, value: String(index) }));
  }

  async function publishSome(count: number, random: () => number): Promise<Written[]> {
    const written: Written[] = [];
    while (written.length < count) {
      const size = Math.min(count - written.length, 1 + Math.floor(random() * 200));
      written.push(
        ...(await bench.publish(
          Array.from({ length: size }, () => ({
            key: `k${Math.floor(random() * 50)}`,
            value: String(Math.floor(random() * 1_000)),
          })),
        )),
      );
    }
    return written;
  }

  it('A against A: two members, thousands of messages, no discrepancy, and the shadow applies nothing', async () => {
    const seed = randomInt(2 ** 31);
    process.stderr.write(`seed ${seed}\n`);
    const random = seeded(seed);
    await bench.route({});
    await Promise.all([member(), member()]);
    // Before the comparison: not to be compared.
    await publishSome(200, random);
    await startShadows(2);
    const written = await publishSome(3_000, random);
    const compare = comparison();
    const report = await untilCompared(compare, ({ counts, unmatched }) => counts.ignored >= 3_000 && unmatched === 0);
    // All differ in the ignored clock, and in nothing else.
    expect(groupOf(report).counts).toMatchObject({
      ignored: written.length,
      matched: 0,
      different: 0,
      missing: 0,
      unexpected: 0,
      reordered: 0,
      failedLive: 0,
      failedShadow: 0,
    });
    // In parts it says the same: each Kafka partition is in one of them.
    const logPartitions = await bench.reader.partitionCount(OBSERVATIONS_TOPIC);
    const placeOf = (partition: number): number =>
      partitionOfKey(Buffer.from(`${bench.migration}/${bench.group}/${bench.topic}/${partition}`), logPartitions);
    const first = placeOf(0);
    const others = Array.from({ length: logPartitions }, (_, place) => place).filter((place) => place !== first);
    const start = new Array<number>(logPartitions).fill(0);
    const parts = [[first], others].map((partitions) => comparison({ partitions, start }));
    const inParts = await Promise.all(parts.map(async (part) => groupOf(await part.step()).counts.ignored));
    const inFirst = written.filter(({ partition }) => placeOf(partition) === first).length;
    expect(inParts).toEqual([inFirst, written.length - inFirst]);
    expect(applied).toHaveLength(3_200);
    expect(new Set(applied).size).toBe(3_200);
    // Idle: the comparison goes on by the clock.
    const idleFrom = Date.now();
    const idle = await untilCompared(compare, ({ comparedUpTo }) => (comparedUpTo ?? 0) > idleFrom);
    expect(groupOf(idle).stalled).toEqual([]);
  });

  it('compares records of producers without the library where the bridge forwards them, and no others', async () => {
    const audit = new ForwardAudit({
      ...{ connection: bench.connection, owlmq: bench.owlmq, topics: [bench.topic], graceMs: 60_000 },
      positions: { [bench.topic]: [0, 0, 0] },
      forward: { topics: [bench.topic], ratio: 1 },
    });
    try {
      await bench.route({});
      await member();
      await startShadows(1);
      const foreign = (from: number) =>
        bench.producer.send({
          topic: bench.topic,
          // A header of the bridge without an id says nothing.
          messages: Array.from({ length: 30 }, (_, index) => ({
            ...{ key: `f${index}`, value: String(from + index) },
            ...(index % 2 === 0 ? {} : { headers: { 'owlmq-copied': '1', trace: 't' } }),
          })),
        });
      await foreign(0);
      await bench.publish([{ key: 'k1', value: '1' }]);
      await audit.step();
      const compare = comparison();
      const found = ({ counts }: GroupComparison) =>
        counts.different + counts.missing + counts.unexpected + counts.reordered + counts.matched;
      const without = await untilCompared(
        compare,
        ({ counts, comparedUpTo }) => counts.ignored === 1 && (comparedUpTo ?? 0) > Date.now() - 2_000,
      );
      expect(found(groupOf(without))).toBe(0);

      const state = await bench.route({ forward: [bench.topic] });
      await bench.untilReports(1, ({ epoch }) => epoch === state.epoch);
      await foreign(100);
      await audit.step();
      const report = await untilCompared(compare, ({ counts, unmatched }) => counts.ignored === 31 && unmatched === 0);
      expect(found(groupOf(report))).toBe(0);
      expect(new Set(applied).size).toBe(61);
      expect(audit.checkpoint.figures[bench.topic]).toMatchObject({ foreign: 60, forwarded: 60 });
    } finally {
      await audit.close();
    }
  });

  it('finds a planted difference and names its field, and goes on from a checkpoint', async () => {
    await bench.route({});
    await member({
      process: (message) => {
        const made = output(message);
        // On the shadow alone, for one message.
        return message.position.owlmq !== undefined && made.amount === 7 ? { ...made, amount: 8 } : made;
      },
    });
    await startShadows(1);
    const values = (from: number, count: number) =>
      Array.from({ length: count }, (_, index) => ({ key: `k${index}`, value: String(from + index) }));
    const first = await bench.publish(values(0, 20));
    const compare = comparison();
    const report = await untilCompared(compare, ({ counts }) => counts.ignored + counts.different === 20);
    const planted = first.find(({ key }) => key === 'k7');
    expect(groupOf(report).samples).toMatchObject([
      { verdict: 'different', id: planted?.id, kafka: planted?.kafka, fields: ['/amount'] },
    ]);
    expect(JSON.stringify(report)).not.toContain('sku-');

    await bench.publish(values(100, 30));
    const checkpoint = comparisonCheckpointSchema.parse(JSON.parse(JSON.stringify(report.checkpoint)));
    const resumed = await untilCompared(comparison({ checkpoint }), ({ counts }) => counts.ignored === 49);
    expect(groupOf(resumed).counts).toMatchObject({ different: 1, missing: 0, unexpected: 0 });
  });

  it('names what a handler does differently by itself, on Kafka alone, in other processes', async () => {
    await bench.route({ ratio: 0 });
    const noisy = (message: ConsumedMessage): Output => ({
      ...output(message),
      // The clock, which stands in `lines`, and now and then a random number.
      amount: message.value?.toString() === '7' ? Math.random() : 1,
    });
    const members = await Promise.all([member({ process: noisy, ignore: [] }), member({ process: noisy, ignore: [] })]);
    await bench.publish(numbered(5), { copy: false });
    await startNoise(2);
    await bench.publish(numbered(60), { copy: false });
    const foreign = numbered(30).map(({ key, value }) => ({ key: `f${key}`, value, partition: Number(value) % 3 }));
    await bench.producer.send({ topic: bench.topic, messages: foreign });
    // A record that a publisher repeated: the live side drops it, and so must the shadow.
    const again = { partition: 1, key: 'k1', value: '1', headers: { 'owlmq-id': 'twice', 'owlmq-copied': '0' } };
    await bench.producer.send({ topic: bench.topic, messages: [again, again] });

    const compare = comparison({ countFields: true });
    const judged = Date.now();
    const report = await untilCompared(
      compare,
      ({ counts, unmatched, comparedUpTo }) =>
        counts.different >= 91 && unmatched === 0 && (comparedUpTo ?? 0) > judged + 1_500,
    );
    const nothing = { matched: 0, ignored: 0, missing: 0, unexpected: 0, reordered: 0, failedLive: 0, failedShadow: 0 };
    expect(groupOf(report).counts).toMatchObject({ ...nothing, different: 91 });
    expect(groupOf(report).differing).toEqual({
      fields: { '/lines/0/at': 91, '/amount': 2 },
      unnamed: 0,
      more: 0,
    });
    expect(applied).toHaveLength(96);
    expect(new Set(applied).size).toBe(96);

    const placed = members.map((one) => one.status().partitions);
    expect(placed.flat().filter(({ side }) => side === 'shadow')).toHaveLength(3);
    for (const partitions of placed) {
      const on = (wanted: string) => partitions.filter(({ side }) => side === wanted).map(({ partition }) => partition);
      expect(on('shadow').filter((partition) => on('kafka').includes(partition))).toEqual([]);
    }
    expect(await bench.owlmq.describeGroup(`${bench.group}.shadow`)).toBeUndefined();
  });

  it('measures again from where Kafka stands, finds nothing by given sources or ignored, and leaves the soak alone', async () => {
    await bench.route({ ratio: 0 });
    const calls = new Map<string, number>();
    const errors: Error[] = [];
    const consumer = await member({
      process: (message, { clock: given, random }) => {
        calls.set(message.id, (calls.get(message.id) ?? 0) + 1);
        return { ...output(message), order: given.date().toISOString(), amount: random() };
      },
      onError: (error) => errors.push(error),
    });
    const clean = { matched: 0, different: 0, missing: 0, unexpected: 0, failedLive: 0, failedShadow: 0, reordered: 0 };
    for (const round of [1, 2]) {
      // Nobody compares these, and the second time the group of the shadow has committed before them.
      const between = await bench.publish(numbered(10), { copy: false });
      await until(() => applied.length % 30 === 10 || undefined);
      consumer.pause();
      const { shadowFrom } = await startNoise(1);
      const begun = consumer.status().partitions.filter(({ side }) => side === 'shadow');
      expect(begun.map(({ partition, next }) => [partition, next]).sort()).toEqual([
        ...(shadowFrom?.[bench.topic] ?? []).entries(),
      ]);
      consumer.resume();
      const seen = await bench.publish(numbered(20), { copy: round === 2 });
      const compare = comparison({ countFields: true });
      const report = await untilCompared(
        compare,
        ({ counts, unmatched, comparedUpTo }) => counts.ignored === 20 && unmatched === 0 && comparedUpTo !== undefined,
      );
      expect(groupOf(report).counts).toMatchObject({ ...clean, ignored: 20 });
      expect(groupOf(report).differing).toEqual({ fields: {}, unnamed: 0, more: 0 });
      expect(groupOf(report).stalled).toEqual([]);
      expect(between.map(({ id }) => calls.get(id))).toEqual(between.map(() => 1));
      expect(seen.map(({ id }) => calls.get(id))).toEqual(seen.map(() => 2));
      await stopShadows(1);
      const commits = await bench.admin.groupOffsets(`${bench.group}.shadow`, { [bench.topic]: bench.partitions });
      expect(commits).toEqual({ [bench.topic]: await bench.reader.ends(bench.topic) });
      expect(commits).not.toEqual(shadowFrom);
    }

    // The whole topic of observations is read, those of the measurements with it.
    await startShadows(1);
    await bench.publish(numbered(15));
    const soak = comparison();
    const report = await untilCompared(soak, ({ counts, unmatched }) => counts.ignored >= 15 && unmatched === 0);
    expect(groupOf(report).counts).toMatchObject({ ...clean, ignored: 15, duplicates: 0, late: 0 });
    expect(groupOf(report).differing).toBeUndefined();
    expect(applied).toHaveLength(75);
    expect(errors.map(String)).toEqual([]);
  });

  it('ends a step early, judges nothing on what it read in part, and goes on to the end', async () => {
    await bench.route({});
    const start = await observationEnds(bench.connection);
    await member();
    await startShadows(1);
    await publishSome(3_000, seeded(7));
    await untilCompared(comparison(), ({ counts, unmatched }) => counts.ignored === 3_000 && unmatched === 0);

    // Nothing is late enough to wait for: what a partial read has of one side would be missing.
    const compare = comparison({ latenessMs: 0, start });
    const aborted = await compare.step({ signal: AbortSignal.abort() });
    expect(aborted).toMatchObject({ caughtUp: false, checkpoint: { logs: { 0: { next: start[0], unmatched: [] } } } });
    const readSoFar = ({ checkpoint }: ComparisonReport): number =>
      Object.values(checkpoint.logs).reduce((sum, { next }) => sum + next, 0);
    let report = aborted;
    let early = 0;
    while (!report.caughtUp) {
      expect(groupOf(report).comparedUpTo).toBeUndefined();
      const before = readSoFar(report);
      report = await compare.step({ maxMs: 0 });
      expect(readSoFar(report)).toBeGreaterThan(before);
      expect(groupOf(report).counts).toMatchObject({ missing: 0, unexpected: 0 });
      if (!report.caughtUp) early += 1;
    }
    expect(early).toBeGreaterThan(0);
    expect(groupOf(report).counts).toMatchObject({ ignored: 3_000, missing: 0, unexpected: 0 });
    expect(groupOf(report).comparedUpTo).toBeGreaterThan(0);
  });

  it('an error that passes is none on the shadow either', async () => {
    await bench.route({});
    const tried = new Set<string>();
    await member({
      retry: { attempts: 3, initialDelayMs: 1, maxDelayMs: 2 },
      process: (message) => {
        const attempt = `${message.position.leg} ${message.id}`;
        if (!tried.has(attempt)) {
          tried.add(attempt);
          throw new Error('passing');
        }
        // For good, and on the shadow alone.
        if (message.position.leg === 'owlmq' && message.value?.toString() === '3') throw new RangeError('planted');
        return output(message);
      },
    });
    await startShadows(1);
    await bench.publish(Array.from({ length: 10 }, (_, index) => ({ key: `k${index}`, value: String(index) })));
    const report = await untilCompared(comparison(), ({ counts }) => counts.ignored + counts.failedShadow === 10);
    expect(groupOf(report).counts).toMatchObject({ ignored: 9, failedShadow: 1, failedLive: 0 });
    expect([...tried].filter((attempt) => attempt.startsWith('owlmq'))).toHaveLength(10);
  });

  it('tells a copy that never came, an error on one side, and does not judge without the other side', async () => {
    await bench.route({});
    await member({
      process: (message) => {
        if (message.position.owlmq !== undefined && message.value?.toString() === '3') throw new RangeError('planted');
        return output(message);
      },
    });
    const observing = await bench.route({ shadow: 'observe' });
    await bench.untilReports(1, ({ epoch }) => epoch === observing.epoch);
    const ends = await bench.reader.ends(bench.topic);
    await bench.publish(Array.from({ length: 10 }, (_, index) => ({ key: `k${index}`, value: String(index) })));
    const compare = comparison({ latenessMs: 0, from: { [bench.topic]: ends } });
    const alone = await untilCompared(compare, ({ unmatched }) => unmatched === 10);
    expect(groupOf(alone).counts.missing).toBe(0);
    expect(groupOf(alone).comparedUpTo).toBeUndefined();
    expect(groupOf(alone).stalled.join()).toContain('shadow');

    // Announced as copied, and lost on the way.
    await bench.producer.send({
      topic: bench.topic,
      messages: [{ partition: 1, key: 'k1', value: '55', headers: { 'owlmq-id': 'lost', 'owlmq-copied': '1' } }],
    });
    await bench.route({ shadow: 'compare', shadowFrom: { [bench.topic]: ends } });
    const report = await untilCompared(compare, ({ counts, unmatched }) => counts.missing === 1 && unmatched === 0);
    expect(groupOf(report).counts).toMatchObject({ ignored: 9, failedShadow: 1, missing: 1, unexpected: 0 });
    expect(groupOf(report).samples).toMatchObject([
      { verdict: 'failedShadow', error: 'RangeError' },
      { verdict: 'missing', id: 'lost' },
    ]);
  });

  it('a dead OwlMQ stops neither the live side nor the way back, and makes nothing missing', async () => {
    const errors: Error[] = [];
    await bench.route({});
    await member({ onError: (error) => errors.push(error) });
    await startShadows(1);
    await bench.publish([{ key: 'k1', value: '1' }]);
    const compare = comparison({ latenessMs: 0 });
    await untilCompared(compare, ({ counts }) => counts.ignored === 1);
    await bench.stopOwlmq();
    await bench.producer.send({
      topic: bench.topic,
      messages: [{ partition: 1, key: 'k1', value: '2', headers: { 'owlmq-id': 'second', 'owlmq-copied': '1' } }],
    });
    await until(() => (applied.includes('second') ? true : undefined));
    const report = await untilCompared(
      compare,
      ({ unmatched, stalled }) => unmatched === 1 && stalled.some((reason) => reason.includes('shadow')),
    );
    expect(groupOf(report).counts.missing).toBe(0);
    const off = await bench.route({ shadow: 'off', ratio: 0 });
    await bench.untilReports(1, ({ epoch, state, shadow }) => epoch === off.epoch && state === 'live-kafka' && !shadow);
    expect(errors.filter(({ name }) => name !== 'OwlmqUnreachableError').map(String)).toEqual([]);
  });

  it('applies nothing under an epoch that ended while the process was frozen past its lease', async () => {
    await bench.route({ leaseMs: 1_000 });
    let frozen = false;
    await member({
      process: (message) => {
        if (message.value?.toString() === '1') {
          frozen = true;
          freezeWhileWriting(bench, { ...currentState(bench), epoch: currentState(bench).epoch + 1, drain: 'stop' });
        }
        return output(message);
      },
    });
    await bench.publish([
      { key: 'k1', value: '0' },
      { key: 'k1', value: '1' },
      { key: 'k1', value: '2' },
    ]);
    await bench.untilReports(1, ({ state, epoch }) => state === 'drained' && epoch === 2);
    expect(frozen).toBe(true);
    expect(applied).toHaveLength(1);
  });

  it('applies nothing of a partition that its group may have given away while the process was frozen', async () => {
    await bench.route({ live: 'owlmq', primary: 'owlmq' });
    const processed: string[] = [];
    await member({
      consumer: { sessionTimeout: 1_000 },
      process: (message) => {
        const value = message.value?.toString() ?? '';
        if (value === '1' && !processed.includes(value)) freeze(1_500);
        processed.push(value);
        return output(message);
      },
    });
    await bench.publish(['0', '1', '2'].map((value) => ({ key: 'k1', value })));
    await until(() => (applied.length === 3 ? true : undefined));
    // Held back the first time, and delivered again.
    expect(processed).toEqual(['0', '1', '1', '2']);
    expect(new Set(applied).size).toBe(3);
  });
});

function currentState(bench: Bench): RoutingState {
  if (bench.state === undefined) throw new Error('No state was written.');
  return bench.state;
}

/** Blocks this thread, as SIGSTOP would, while another one writes a routing state, and then past the lease. */
function freezeWhileWriting(bench: Bench, state: RoutingState): void {
  const written = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(
    `const { workerData } = require('node:worker_threads');
     const { Kafka, logLevel } = require('kafkajs');
     (async () => {
       const producer = new Kafka({ brokers: workerData.brokers, logLevel: logLevel.NOTHING }).producer();
       await producer.connect();
       await producer.send({ topic: workerData.topic, messages: [{ key: workerData.key, value: workerData.value }] });
       Atomics.store(workerData.written, 0, 1);
       Atomics.notify(workerData.written, 0);
       await producer.disconnect();
     })();`,
    {
      eval: true,
      workerData: {
        brokers: bench.connection.brokers,
        topic: ROUTING_TOPIC,
        key: state.migration,
        value: JSON.stringify(state),
        written,
      },
    },
  );
  worker.unref();
  if (Atomics.wait(written, 0, 0, 20_000) === 'timed-out') throw new Error('The state was not written.');
  freeze(state.leaseMs * 1.5);
}

/** Blocks this thread. */
function freeze(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
