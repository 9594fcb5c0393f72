import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ObservationComparison, type ComparisonReport } from '../src/comparator/observation-log.js';
import { decodeObservation, OBSERVATIONS_TOPIC, type Observation } from '../src/consumer/observation.js';
import type { ConsumedMessage } from '../src/consumer/consumed-message.js';
import { DualConsumer, type DualConsumerOptions } from '../src/consumer/dual-consumer.js';
import { HandlerInterruptedError } from '../src/consumer/handler-interrupted.js';
import { Bench, seeded, until } from './consumer-harness.js';
import { TcpProxy } from './tcp-proxy.js';

const LEGS = ['kafka', 'owlmq'] as const;

/** Resolves when told to. */
class Latch {
  readonly opened: Promise<void>;
  #open: () => void = () => undefined;

  constructor() {
    this.opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(): void {
    this.#open();
  }
}

describe('handlers of a DualConsumer', () => {
  let bench: Bench;
  const applied: number[] = [];
  const errors: Error[] = [];
  const latches: Latch[] = [];
  const consumers: DualConsumer<string>[] = [];

  beforeEach(async () => {
    applied.length = 0;
    errors.length = 0;
    bench = await Bench.open();
  });

  afterEach(async () => {
    for (const latch of latches.splice(0)) latch.open();
    await Promise.all(consumers.splice(0).map((consumer) => consumer.stop()));
    await bench.close();
  });

  function latch(): Latch {
    const made = new Latch();
    latches.push(made);
    return made;
  }

  async function member(change: Partial<DualConsumerOptions<string>> = {}): Promise<DualConsumer<string>> {
    const consumer = new DualConsumer<string>({
      ...bench.options(),
      process: textOf,
      apply: (value) => {
        applied.push(Number(value));
      },
      onError: (error) => errors.push(error),
      ...change,
    });
    consumers.push(consumer);
    await consumer.start();
    return consumer;
  }

  async function routeTo(live: (typeof LEGS)[number]): Promise<void> {
    await bench.route(live === 'kafka' ? {} : { live, primary: 'owlmq' });
  }

  async function committed(live: (typeof LEGS)[number]): Promise<number[]> {
    if (live === 'owlmq') {
      const offsets = (await bench.owlmq.describeGroup(bench.group))?.offsets ?? [];
      return range(bench.partitions).map((one) => offsets.find(({ partition }) => partition === one)?.offset ?? 0);
    }
    const offsets = await bench.admin.groupOffsets(bench.group, { [bench.topic]: bench.partitions });
    return (offsets[bench.topic] ?? []).map((offset) => offset ?? 0);
  }

  const untilApplied = (count: number): Promise<boolean> =>
    until(
      () => (applied.length >= count ? true : undefined),
      () => `${applied.length} of ${count} applied, ${errors.map(String).join()}`,
    );

  /** From where both sides observe, until all that was published has been compared, without a discrepancy. */
  async function startShadows(members: number): Promise<Record<string, number[]>> {
    const observing = await bench.route({ shadow: 'observe' });
    await bench.untilReports(members, ({ epoch }) => epoch === observing.epoch);
    const from = { [bench.topic]: await bench.reader.ends(bench.topic) };
    const state = await bench.route({ shadow: 'compare', shadowFrom: from });
    await bench.untilReports(members, ({ epoch, shadow }) => epoch === state.epoch && shadow);
    return from;
  }

  async function untilMatched(from: Record<string, number[]>, count: number): Promise<void> {
    const comparison = new ObservationComparison({
      connection: bench.connection,
      migration: bench.migration,
      groups: [bench.group],
      latenessMs: 1_000,
      roster: bench.roster,
      from,
    });
    try {
      let last: ComparisonReport | undefined;
      const idleFrom = Date.now();
      await until(
        async () => {
          last = await comparison.step();
          const { counts, unmatched, comparedUpTo } = last.groups[bench.group] ?? {};
          const done = counts !== undefined && counts.matched >= count && unmatched === 0;
          return done && (comparedUpTo ?? 0) > idleFrom ? true : undefined;
        },
        () => JSON.stringify(last?.groups),
      );
      const none = { different: 0, missing: 0, unexpected: 0, reordered: 0, failedLive: 0, failedShadow: 0 };
      expect(last?.groups[bench.group]).toMatchObject({ counts: { matched: count, ...none }, samples: [] });
    } finally {
      await comparison.close();
    }
  }

  describe('their signal', () => {
    it.each(LEGS)('on %s aborts when the time of stop() is over, and the message comes again', async (live) => {
      await routeTo(live);
      const reasons: unknown[] = [];
      const begun = latch();
      const stuck = await member({
        apply: async (_value, _message, { signal }) => {
          begun.open();
          await aborted(signal);
          reasons.push(signal.reason);
          signal.throwIfAborted();
        },
      });
      await bench.publish([{ key: 'k1', value: '7' }]);
      await begun.opened;
      expect(stuck.status()).toMatchObject({ inHand: 1, joined: true, live, phase: 'running' });
      const before = performance.now();
      await stuck.stop({ graceMs: 300 });
      expect(performance.now() - before).toBeGreaterThanOrEqual(290);
      expect(reasons).toMatchObject([{ name: 'HandlerInterruptedError', reason: 'stopping' }]);
      // Neither an attempt, nor a failure.
      expect(errors).toEqual([]);
      expect(stuck.status()).toMatchObject({ inHand: 0, failed: 0, applied: 0, phase: 'stopped' });
      await member();
      await untilApplied(1);
      expect(applied).toEqual([7]);
    });

    it('does not abort when what is in hand ends in time', async () => {
      await routeTo('kafka');
      const [begun, finish] = [latch(), latch()];
      const consumer = await member({
        apply: async (value, _message, { signal }) => {
          begun.open();
          await finish.opened;
          expect(signal.aborted).toBe(false);
          applied.push(Number(value));
        },
      });
      await bench.publish([
        { key: 'k1', value: '1' },
        { key: 'k1', value: '2' },
      ]);
      await begun.opened;
      const stopped = consumer.stop();
      finish.open();
      await stopped;
      expect(applied).toEqual([1]);
      expect((await committed('kafka'))[1]).toBe(1);
    });

    it.each(LEGS)('on %s is obeyed or given up: stop() ends in bounded time, and says which message', async (live) => {
      await routeTo(live);
      const [begun, finish] = [latch(), latch()];
      const stuck = await member({
        apply: async () => {
          begun.open();
          await finish.opened;
        },
      });
      const [written] = await bench.publish([{ key: 'k1', value: '7' }]);
      await begun.opened;
      const failure: unknown = await stuck.stop({ graceMs: 1 }).catch((error: unknown) => error);
      expect(failure).toMatchObject({
        name: 'ConsumerStopTimeoutError',
        inHand: [`${bench.topic}/1 ${written?.id ?? ''}`],
      });
      consumers.length = 0;
      // It may still have its effects: it must not say that it has left.
      await bench.roster.readToEnd();
      const states = bench.roster.members(bench.migration).flatMap(({ report }) => report.state);
      expect(states).toEqual([`live-${live}`]);
      expect((await committed(live))[1]).toBe(0);
    });

    it('aborts when the lease on the routing is lost, and the message is handled when it is back', async () => {
      const link = await TcpProxy.to(bench.connection.brokers[0] ?? '');
      try {
        await bench.route({ live: 'owlmq', primary: 'owlmq', leaseMs: 1_500 });
        const reasons: unknown[] = [];
        const begun = latch();
        await member({
          kafka: { ...bench.connection, brokers: [link.address] },
          process: async (message, { signal }) => {
            expect(signal.aborted).toBe(false);
            if (reasons.length === 0) {
              begun.open();
              await aborted(signal);
              reasons.push(signal.reason);
              signal.throwIfAborted();
            }
            return textOf(message);
          },
          onError: () => undefined,
        });
        await bench.publish([{ key: 'k1', value: '7' }]);
        await begun.opened;
        link.cut();
        await until(() => (reasons.length > 0 ? true : undefined));
        expect(reasons).toMatchObject([{ name: 'HandlerInterruptedError', reason: 'lease-lost' }]);
        expect(applied).toEqual([]);
        link.restore();
        await untilApplied(1);
        expect(applied).toEqual([7]);
        await Promise.all(consumers.splice(0).map((consumer) => consumer.stop()));
      } finally {
        await link.close();
      }
    });

    it.each(LEGS)('on %s aborts when the group gives its partitions to others', async (live) => {
      await routeTo(live);
      const reasons: unknown[] = [];
      const begun = latch();
      await member({
        apply: async (value, _message, { signal }) => {
          if (reasons.length === 0) {
            begun.open();
            await aborted(signal);
            reasons.push(signal.reason);
            signal.throwIfAborted();
          }
          applied.push(Number(value));
        },
      });
      await bench.publish([{ key: 'k1', value: '7' }]);
      await begun.opened;
      await member();
      await until(() => (reasons.length > 0 ? true : undefined));
      expect(reasons[0]).toBeInstanceOf(HandlerInterruptedError);
      expect(reasons).toMatchObject([{ reason: 'revoked' }]);
      await untilApplied(1);
      expect(applied).toEqual([7]);
    });
  });

  describe('pause and resume', () => {
    it.each(LEGS)('on %s take nothing on, stay in the group, and go on where it was', async (live) => {
      await routeTo(live);
      const [begun, finish] = [latch(), latch()];
      const consumer = await member({
        apply: async (value) => {
          begun.open();
          await finish.opened;
          applied.push(Number(value));
        },
        // The least that the broker takes.
        consumer: { sessionTimeout: 6_000 },
      });
      await bench.publish(range(10).map((value) => ({ key: 'k1', value: String(value) })));
      await begun.opened;
      consumer.pause();
      finish.open();
      await untilApplied(1);
      await until(async () => ((await committed(live))[1] === 1 ? true : undefined));
      // A session's length: neither handled, nor put out.
      await bench.publish([{ key: 'k2', value: '10' }]);
      const due = performance.now() + 7_000;
      await until(() => (performance.now() > due ? true : undefined));
      expect(applied).toEqual([0]);
      expect(consumer.status()).toMatchObject({ paused: true, joined: true, inHand: 0, applied: 1 });
      expect(consumer.status().partitions.find(({ partition }) => partition === 1)).toMatchObject({
        side: live,
        next: 1,
        committed: 1,
        stopped: false,
      });
      consumer.resume();
      await untilApplied(11);
      expect([...applied].sort((a, b) => a - b)).toEqual(range(11));
      expect(consumer.status().paused).toBe(false);
      expect(errors).toEqual([]);
    });

    it('does not say that it has drained while it is paused', async () => {
      await routeTo('kafka');
      const consumer = await member();
      await until(() => (consumer.status().partitions.length === 3 ? true : undefined));
      consumer.pause();
      await bench.publish([{ key: 'k1', value: '1' }]);
      const ends = await bench.reader.ends(bench.topic);
      const drain = await bench.route({ drain: { [bench.topic]: ends } });
      await until(() => (consumer.status().epoch === drain.epoch ? true : undefined));
      // A report made well after it knew.
      const due = Date.now() + 1_500;
      const reports = await bench.untilReports(1, ({ at }) => Date.parse(at) > due);
      expect(reports).toMatchObject([{ state: 'live-kafka', epoch: drain.epoch - 1 }]);
      consumer.resume();
      await bench.untilReports(1, ({ state, epoch }) => state === 'drained' && epoch === drain.epoch);
      expect(applied).toEqual([1]);
    });
  });

  describe('onFailure', () => {
    it.each(LEGS)('dead-letter on %s writes the message with the reason, then commits past it', async (live) => {
      await routeTo(live);
      const deadLetterTopic = `dead-${bench.suffix}`;
      const consumer = await member({
        deadLetterTopic,
        handlerVersion: 'v7',
        retry: { attempts: 2, initialDelayMs: 300, maxDelayMs: 600 },
        process: (message) => {
          if (textOf(message) === '4') throw new RangeError('planted');
          return textOf(message);
        },
        onFailure: () => 'dead-letter',
      });
      const written = await bench.publish(range(8).map((value) => ({ key: 'k1', value: String(value) })));
      // The topic is not there: the message must not be lost.
      await until(() => (errors.some(({ name }) => name === 'DeadLetterFailedError') ? true : undefined));
      expect(consumer.status().partitions.find(({ partition }) => partition === 1)).toMatchObject({ next: 4 });
      expect(applied).toEqual([0, 1, 2, 3]);
      await consumer.stop();
      expect((await committed(live))[1]).toBe(4);

      await Promise.all([
        bench.admin.createTopic(deadLetterTopic, { partitions: 1 }),
        bench.owlmq.createTopic(deadLetterTopic, 2),
      ]);
      const next = await member({
        deadLetterTopic,
        retry: { attempts: 20, initialDelayMs: 50, maxDelayMs: 500 },
        apply: (value) => {
          if (value === '4') throw new RangeError('planted');
          applied.push(Number(value));
        },
        onFailure: () => 'dead-letter',
      });
      await untilApplied(7);
      await until(async () => ((await committed(live))[1] === 8 ? true : undefined));
      expect(applied).toEqual([0, 1, 2, 3, 5, 6, 7]);
      expect(next.status()).toMatchObject({ failed: 1 });
      const records =
        live === 'kafka'
          ? (await bench.reader.read(deadLetterTopic, [{ partition: 0, offset: 0 }])).flatMap((slice) => slice.records)
          : (await Promise.all([0, 1].map((one) => bench.owlmq.read(deadLetterTopic, one, 0)))).flatMap(
              (slice) => slice.records,
            );
      expect(records.map(({ key, value }) => [key?.toString(), value?.toString()])).toEqual([['k1', '4']]);
      const { headers: stored = [] } = records[0] ?? {};
      const entries = Array.isArray(stored) ? stored : Object.entries(stored);
      const headers = new Map(entries.map(([name, value]) => [name, String(value)]));
      expect(Object.fromEntries(headers)).toMatchObject({
        trace: 'abc',
        'dead-letter-group': bench.group,
        'dead-letter-topic': bench.topic,
        'dead-letter-partition': '1',
        'dead-letter-leg': live,
        'dead-letter-offset': '4',
        'dead-letter-id': written[4]?.id,
        'dead-letter-error': 'RangeError',
        'dead-letter-reason': 'planted',
        'dead-letter-attempts': '20',
      });
      expect([...headers.keys()].filter((name) => name.startsWith('owlmq-'))).toEqual([]);
    });

    it('stops the partition when it fails itself', async () => {
      await routeTo('kafka');
      const consumer = await member({
        retry: { attempts: 1 },
        apply: () => {
          throw new Error('planted');
        },
        onFailure: () => Promise.reject(new TypeError('of the policy')),
      });
      await bench.publish([{ key: 'k1', value: '1' }]);
      await until(() => (consumer.status().failed === 1 ? true : undefined));
      expect(errors.map(({ name }) => name)).toEqual(['TypeError', 'HandlerFailedError']);
      expect(consumer.status().partitions.find(({ partition }) => partition === 1)).toMatchObject({ next: 0 });
    });
  });

  describe('with concurrency', () => {
    it.each(LEGS)('on %s keep the order of keys, and commit nothing that is not done', async (live) => {
      const seed = randomInt(2 ** 31);
      process.stderr.write(`seed ${seed}\n`);
      const random = seeded(seed);
      await routeTo(live);
      const inHand = new Map<number, number>();
      let most = 0;
      const open = new Map<number, Set<number>>();
      await member({
        concurrency: 8,
        apply: async (value, message) => {
          const offset = message.position[live] ?? -1;
          const partition = open.get(message.partition) ?? new Set<number>();
          open.set(message.partition, partition);
          partition.add(offset);
          const key = Number(message.key?.toString().slice(1));
          inHand.set(key, (inHand.get(key) ?? 0) + 1);
          expect(inHand.get(key)).toBe(1);
          most = Math.max(
            most,
            [...inHand.values()].reduce((sum, one) => sum + one, 0),
          );
          await delay(random() * 20);
          inHand.set(key, 0);
          applied.push(Number(value));
          partition.delete(offset);
        },
      });
      const count = 2_000;
      const published = bench.publish(range(count).map((value) => ({ key: `k${value % 40}`, value: String(value) })));
      const watching = (async () => {
        while (applied.length < count) {
          // Taken before: what was open then must not be committed now, nor later than it was done.
          const opened = new Map([...open].map(([partition, offsets]) => [partition, [...offsets]]));
          const offsets = await committed(live);
          for (const [partition, list] of opened) {
            const still = list.filter((offset) => open.get(partition)?.has(offset) === true);
            expect(Math.min(...still, Infinity)).toBeGreaterThanOrEqual(offsets[partition] ?? 0);
          }
        }
      })();
      await published;
      await untilApplied(count);
      await watching;
      expect([...applied].sort((a, b) => a - b)).toEqual(range(count));
      const byKey = new Map<number, number[]>();
      for (const value of applied) byKey.set(value % 40, [...(byKey.get(value % 40) ?? []), value]);
      for (const list of byKey.values()) expect(list).toEqual([...list].sort((a, b) => a - b));
      expect(most).toBe(8);
      expect(errors).toEqual([]);
    });

    it.each(LEGS)(
      'on %s a message that fails for good holds the position, and nothing is lost behind it',
      async (live) => {
        await routeTo(live);
        let broken = true;
        const options: Partial<DualConsumerOptions<string>> = {
          concurrency: 4,
          retry: { attempts: 1 },
          apply: (value) => {
            if (value === '4' && broken) throw new Error('planted');
            applied.push(Number(value));
          },
        };
        const consumer = await member(options);
        // All in one partition, in eight keys.
        await bench.publish(range(64).map((value) => ({ key: `k${1 + 3 * (value % 8)}`, value: String(value) })));
        await until(() => (consumer.status().failed === 1 ? true : undefined));
        await until(() => (consumer.status().inHand === 0 ? true : undefined));
        await until(async () => ((await committed(live))[1] === 4 ? true : undefined));
        expect(consumer.status().partitions.find(({ partition }) => partition === 1)).toMatchObject({
          next: 4,
          stopped: true,
        });
        expect(applied.filter((value) => value % 8 === 4)).toEqual([]);
        broken = false;
        // Another member comes: partitions are assigned anew.
        const other = await member({ ...options, apply: (value) => void applied.push(Number(value)) });
        await until(() => (new Set(applied).size === 64 ? true : undefined));
        await other.stop();
        const ofKey = applied.filter((value) => value % 8 === 4);
        expect([...new Set(ofKey)]).toEqual([...new Set(ofKey)].sort((a, b) => a - b));
      },
    );

    it('what was applied ahead of a failure is not applied again by the process, and is observed all the same', async () => {
      await bench.close();
      bench = await Bench.open(1);
      const begins = await bench.reader.ends(OBSERVATIONS_TOPIC);
      await bench.route({});
      let broken = true;
      const options = (mine: number[]): Partial<DualConsumerOptions<string>> => ({
        concurrency: 4,
        capture: true,
        handlerVersion: 'v7',
        retry: { attempts: 1 },
        apply: (value) => {
          if (value === '4' && broken) throw new Error('planted');
          mine.push(Number(value));
        },
      });
      const [first, second]: [number[], number[]] = [[], []];
      const consumer = await member(options(first));
      const from = await startShadows(1);
      await bench.publish(range(40).map((value) => ({ key: `k${value % 8}`, value: String(value) })));
      await until(() => (consumer.status().failed === 1 && consumer.status().inHand === 0 ? true : undefined));
      expect(Math.max(...first)).toBeGreaterThan(4);
      // The partition is assigned anew, and comes back once the other is gone.
      const other = await member(options(second));
      await until(() => (consumer.status().failed + other.status().failed > 1 ? true : undefined));
      broken = false;
      await other.stop();
      await until(() => (new Set([...first, ...second]).size === 40 ? true : undefined));
      expect(new Set(first).size).toBe(first.length);
      await untilMatched(from, 40);

      const observed: Observation[] = [];
      for (const [partition, begin] of begins.entries()) {
        for await (const { value } of bench.reader.readToEnd(OBSERVATIONS_TOPIC, partition, begin)) {
          const one = decodeObservation(value);
          if (one?.migration === bench.migration) observed.push(one);
        }
      }
      expect(observed.length).toBeGreaterThanOrEqual(80);
      expect(new Set(observed.map(({ handlerVersion }) => handlerVersion))).toEqual(new Set(['v7']));
      expect(new Set(observed.map(({ output }) => Number(JSON.parse(output?.captured?.text ?? '""'))))).toEqual(
        new Set(range(40)),
      );
    });

    it('drain to their offsets', async () => {
      await routeTo('kafka');
      await member({
        concurrency: 16,
        apply: async (value) => {
          await delay(5);
          applied.push(Number(value));
        },
      });
      await bench.publish(range(300).map((value) => ({ key: `k${value % 50}`, value: String(value) })));
      const ends = await bench.reader.ends(bench.topic);
      const drain = await bench.route({ drain: { [bench.topic]: ends } });
      await bench.publish(range(100).map((value) => ({ key: `k${value % 50}`, value: String(300 + value) })));
      await bench.untilReports(1, ({ state, epoch }) => state === 'drained' && epoch === drain.epoch);
      expect(await committed('kafka')).toEqual(ends);
      expect([...applied].sort((a, b) => a - b)).toEqual(range(300));
    });
  });

  it('compute alike on both sides with the sources they are given, several at a time, across failures and members', async () => {
    const seed = randomInt(2 ** 31);
    process.stderr.write(`seed ${seed}\n`);
    const random = seeded(seed);
    await bench.route({});
    const options: Partial<DualConsumerOptions<string>> = {
      concurrency: 8,
      handlerVersion: 'v7',
      retry: { attempts: 10, initialDelayMs: 1, maxDelayMs: 2 },
      process: async (message, context) => {
        const made = [context.id(), context.random(), context.clock.date().toISOString(), context.id()];
        await delay(random() * 3);
        if (random() < 0.1) throw new Error('passing');
        return JSON.stringify([textOf(message), ...made, context.randomBytes(8).toString('hex')]);
      },
      apply: (value) => {
        applied.push(Number((JSON.parse(value) as string[])[0]));
      },
    };
    await Promise.all([member(options), member(options)]);
    const from = await startShadows(2);
    const count = 1_500;
    for (let value = 0; value < count; value += 150) {
      await bench.publish(range(150).map((one) => ({ key: `k${(value + one) % 30}`, value: String(value + one) })));
    }
    // A third one: partitions move while messages are in hand.
    await member(options);
    await untilMatched(from, count);
    expect(new Set(applied).size).toBe(count);
    expect(errors).toEqual([]);
  });
});

function textOf(message: ConsumedMessage): string {
  return message.value?.toString() ?? '';
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

async function aborted(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else
      signal.addEventListener(
        'abort',
        () => {
          resolve();
        },
        { once: true },
      );
  });
}
