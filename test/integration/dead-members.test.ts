import { describe, expect, it, type TestContext } from 'vitest';
import { Bench, until } from '../../packages/kafka-bridge/test/consumer-harness.js';
import { ConsumerProcess } from '../../packages/kafka-bridge/test/consumer-process.js';
import type { Drained, Fences, MigrationActivities, OffsetMove } from '../../src/activities/migration-activities.js';
import { openSteps, step } from './worker-steps.js';

/*
 * The steps of a cutover and of a rollback, as the workflow takes them, over consumers in processes of their own that are
 * killed or frozen inside the window. Their session timeouts are above the window: neither system misses them in time.
 */

const LEASE_MS = 2_000;
/** What the steps add to a lease before they count a member out. */
const MARGIN_MS = 1_000;
const SESSION_MS = 40_000;
/** Members must not have to wait for the session of one that is dead. */
const RELEASED_MS = LEASE_MS + MARGIN_MS + 7_000;
const MESSAGES = 120;

/** A topic with a group, and the steps of the worker on them. Tests run side by side: each has its own. */
class Window {
  private constructor(
    readonly bench: Bench,
    readonly steps: MigrationActivities,
    private readonly consumers: ConsumerProcess[],
  ) {}

  static async open({ onTestFinished }: TestContext): Promise<Window> {
    const bench = await Bench.open(4);
    const worker = await openSteps(bench);
    const consumers: ConsumerProcess[] = [];
    onTestFinished(async () => {
      for (const consumer of consumers) consumer.kill();
      await worker.close();
      await bench.close();
    });
    await bench.route({ leaseMs: LEASE_MS });
    return new Window(bench, worker.steps, consumers);
  }

  /** One that its group knows by the name that the service has chosen. */
  async consumer(handleMs = 20): Promise<ConsumerProcess> {
    const { kafka, ...options } = this.bench.options();
    const started = await ConsumerProcess.start({
      ...options,
      handleMs,
      kafka: { ...kafka, clientId: 'payment-service' },
      consumer: { sessionTimeout: SESSION_MS },
    });
    this.consumers.push(started);
    return started;
  }

  async publish(first: number, count = MESSAGES): Promise<void> {
    const values = Array.from({ length: count }, (_, index) => ({
      key: `key-${index % 8}`,
      value: `${first + index}`,
    }));
    await this.bench.publish(values);
  }

  /** The drain as the workflow waits for it: where nobody is left to do it, consumers stop where they are. */
  async drain(leg: 'kafka' | 'owlmq'): Promise<Drained> {
    const { bench, steps } = this;
    const { migration, topic, group } = bench;
    const offsets = await step(() => steps.legEnds({ leg, topics: [topic] }));
    await bench.route({ fence: { reason: 'test' }, drain: offsets });
    const drained = (await step(() => steps.awaitDrained({ migration, leg, groups: [group], offsets }))) as Drained;
    if (Object.keys(drained.behind).length > 0) await bench.route({ drain: 'stop' });
    await this.#consumersAre('drained');
    return drained;
  }

  async fences(): Promise<Fences> {
    const topics = [this.bench.topic];
    return {
      kafka: await step(() => this.steps.legEnds({ leg: 'kafka', topics })),
      owlmq: await step(() => this.steps.legEnds({ leg: 'owlmq', topics })),
    };
  }

  async move(direction: 'to-owlmq' | 'to-kafka', fences: Fences): Promise<OffsetMove | undefined> {
    const { topic, group } = this.bench;
    const request = { direction, topics: [topic], groups: [group], fences, reset: 'earliest' as const };
    return (await step(() => this.steps.moveOffsets(request)))[0];
  }

  async live(leg: 'kafka' | 'owlmq'): Promise<void> {
    await this.bench.route({ primary: leg, live: leg }, ['fence', 'drain']);
    await this.#consumersAre(`live-${leg}`);
  }

  async committed() {
    const { admin, group, topic, partitions } = this.bench;
    return await admin.groupOffsets(group, { [topic]: partitions });
  }

  async #consumersAre(state: 'drained' | 'live-kafka' | 'live-owlmq'): Promise<void> {
    const { migration, group, state: routing } = this.bench;
    const request = { migration, epoch: routing?.epoch ?? 0, groups: [group], state, shadow: false };
    await step(() => this.steps.awaitConsumers(request));
  }
}

function counts(...consumers: ConsumerProcess[]): Map<string, number> {
  const applied = new Map<string, number>();
  for (const { value } of consumers.flatMap((one) => one.applied)) applied.set(value, (applied.get(value) ?? 0) + 1);
  return applied;
}

async function applies(many: number, ...consumers: ConsumerProcess[]): Promise<void> {
  await until(() => consumers.every(({ applied }) => applied.length > many) || undefined);
}

/** All of them were applied, and what came twice was in the hands of those that died: they had not committed it. */
async function expectAll(count: number, living: ConsumerProcess[], dead: ConsumerProcess[]): Promise<void> {
  const all = [...living, ...dead];
  await until(
    () => counts(...all).size >= count || undefined,
    () => `${counts(...all).size} of ${count}`,
  );
  const applied = counts(...all);
  expect(applied.size).toBe(count);
  const again = [...applied].filter(([, times]) => times > 1).map(([value]) => value);
  const byDead = counts(...dead);
  expect(again.filter((value) => !byDead.has(value))).toEqual([]);
  expect(Math.max(...applied.values())).toBeLessThanOrEqual(1 + dead.length);
  console.info(`${again.length} of ${count} came again`);
}

describe.concurrent('a cutover in whose window a consumer dies', () => {
  it.for(['killed', 'frozen'] as const)('that is %s: its group drains without it', async (how, context) => {
    const window = await Window.open(context);
    const { bench } = window;
    const [survivor, dead] = await Promise.all([window.consumer(), window.consumer()]);
    await window.publish(0);
    await applies(5, survivor, dead);
    if (how === 'killed') dead.kill();
    else dead.freeze();
    const begun = performance.now();

    const { behind } = await window.drain('kafka');
    expect(performance.now() - begun).toBeLessThan(RELEASED_MS);
    expect(behind).toEqual({});
    expect(counts(survivor, dead).size).toBe(MESSAGES);
    expect(await window.move('to-owlmq', await window.fences())).toMatchObject({ exact: 4, bounded: 0 });
    const committed = await window.committed();
    await window.live('owlmq');

    if (how === 'frozen') {
      const before = dead.applied.length;
      dead.thaw();
      // It ends what it had in hand, and goes on where its group is now.
      await bench.untilReports(2, ({ state }) => state === 'live-owlmq');
      expect(dead.applied.length).toBeLessThanOrEqual(before + bench.partitions);
      // What it commits in Kafka comes too late.
      expect(await window.committed()).toEqual(committed);
    }
    await window.publish(MESSAGES, 40);
    await expectAll(MESSAGES + 40, [survivor], [dead]);
  });

  it('that was its group alone: its place is moved as it is, and back again', async (context) => {
    const window = await Window.open(context);
    const { group } = window.bench;
    const dead = await window.consumer();
    await window.publish(0);
    await applies(10, dead);
    dead.kill();
    const { behind } = await window.drain('kafka');
    expect(Object.keys(behind)).toEqual([group]);
    // One that is started now must not go on in Kafka: positions are about to be taken.
    const next = await window.consumer();
    const fences = await window.fences();
    expect(await window.move('to-owlmq', fences)).toMatchObject({ exact: 4, bounded: 0 });
    expect(next.applied).toEqual([]);
    await window.live('owlmq');
    await applies(10, next);
    next.kill();

    // Rolled back at once, again with nobody left.
    const back = await window.drain('owlmq');
    expect(Object.keys(back.behind)).toEqual([group]);
    expect(await window.move('to-kafka', fences)).toMatchObject({ exact: 4, bounded: 0 });
    const last = await window.consumer(0);
    await window.live('kafka');
    await expectAll(MESSAGES, [last], [dead, next]);
  });
});

describe.concurrent('a rollback in which a consumer dies', () => {
  it('on OwlMQ: its group drains without it, and one that died in the Kafka group holds nothing up', async (context) => {
    const window = await Window.open(context);
    const [survivor, second, first] = await Promise.all([window.consumer(), window.consumer(), window.consumer()]);
    await window.publish(0, 40);
    await until(() => counts(survivor, second, first).size >= 40 || undefined);
    const fences = await window.fences();
    await window.drain('kafka');
    // Dead in the Kafka group, where nobody needs it any more.
    first.kill();
    await window.move('to-owlmq', fences);
    await window.live('owlmq');
    await window.publish(40);
    await until(() => second.applied.some(({ leg }) => leg === 'owlmq') || undefined);
    second.kill();
    const begun = performance.now();

    const { behind } = await window.drain('owlmq');
    expect(behind).toEqual({});
    expect(performance.now() - begun).toBeLessThan(RELEASED_MS);
    expect(await window.move('to-kafka', fences)).toMatchObject({ exact: 4, bounded: 0 });
    await window.live('kafka');
    await window.publish(40 + MESSAGES, 20);
    await expectAll(60 + MESSAGES, [survivor], [second, first]);
  });
});
