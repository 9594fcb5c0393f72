import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { ForwardAudit } from '../src/audit/forward-audit.js';
import { MirrorAudit } from '../src/audit/mirror-audit.js';
import { LogReader, LogUnavailableError, OffsetOutOfRangeError, UnknownTopicError } from '../src/kafka/log-reader.js';
import { translateToKafka } from '../src/offsets/translate-to-kafka.js';
import type { OwlmqApi } from '../src/owlmq/owlmq-api.js';
import { Legs, messages } from './audit-legs.js';
import { runHere } from './cli-harness.js';
import { PrivateBroker } from './private-broker.js';

let broker: PrivateBroker;
let legs: Legs;
let reader: LogReader;

beforeAll(async () => {
  broker = await PrivateBroker.start();
  legs = await Legs.start(broker.brokers);
  reader = legs.reader;
});

afterAll(async () => {
  await legs.stop();
  await broker.remove();
});

/** A topic with messages on both legs. */
async function topicWith(count: number): Promise<string> {
  const topic = await legs.topic();
  const written = messages(count);
  await legs.toKafka(topic, written);
  await legs.toOwlmq(topic, written);
  return topic;
}

async function valuesOf(topic: string): Promise<number> {
  let count = 0;
  for await (const { offset } of reader.readToEnd(topic, 0, 0)) {
    expect(offset).toBe(count);
    count++;
  }
  return count;
}

/** Runs work that is begun while the broker is away, and starts the broker once all of it was refused a connection. */
async function overRestart<T>(work: () => Promise<T>): Promise<T> {
  await broker.stop();
  const probe = new LogReader(legs.connection, { clientId: 'probe', retryForMs: 0 });
  const working = work();
  // Told by `working`, below.
  working.catch(() => undefined);
  try {
    await expect(probe.ends('any')).rejects.toThrow(LogUnavailableError);
  } finally {
    await probe.close();
    await broker.startAgain();
  }
  return await working;
}

describe('a broker that is restarted', () => {
  it('is waited for by every call of a reader, those under way and those that come meanwhile', async () => {
    const topic = await topicWith(20);
    const [slow] = await reader.read(topic, [{ partition: 0, offset: 20 }]);
    expect(slow).toMatchObject({ records: [], endOffset: 20 });
    // Held by the broker until it stops.
    const held = reader.read(topic, [{ partition: 0, offset: 20 }], { maxWaitMs: 5_000 });
    const calls = () =>
      Promise.all([
        reader.bounds(topic),
        reader.ends(topic),
        reader.offsetsForTime(topic, Date.now() + 60_000),
        reader.read(topic, [{ partition: 0, offset: 0 }], { maxWaitMs: 1_000 }),
        valuesOf(topic),
      ]);
    const [bounds, ends, times, [slice], values] = await overRestart(calls);
    expect(bounds).toEqual([{ partition: 0, beginOffset: 0, endOffset: 20 }]);
    expect([ends, times]).toEqual([[20], [20]]);
    expect(slice?.records).toHaveLength(20);
    expect(values).toBe(20);
    expect((await held)[0]).toMatchObject({ records: [], nextOffset: 20 });
  });

  it('is waited for by a reader that has not reached it yet', async () => {
    const topic = await topicWith(3);
    const fresh = new LogReader(legs.connection, { clientId: 'fresh' });
    expect(await overRestart(() => Promise.all([fresh.partitionCount(topic), fresh.leaders(topic)]))).toEqual([1, [1]]);
    await fresh.close();
  });

  it('fails neither an audit, one way or both, nor a translation, nor a command', async () => {
    const topic = await topicWith(50);
    const group = `group-${randomUUID()}`;
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 20 }]);
    const { connection, owlmq } = legs;
    const common = { connection, owlmq, topics: [topic], graceMs: 60_000 };
    const begin = { [topic]: [0] };
    const forward = new ForwardAudit({ ...common, positions: begin });
    const mirror = new MirrorAudit({ ...common, owlmqPositions: begin, kafkaPositions: begin });
    const args = ['--topics', topic, '--owlmq-url', legs.server.url, '--owlmq-api-key', 'test-key'];
    const audits = await overRestart(() =>
      Promise.all([
        forward.step(),
        mirror.step(),
        translateToKafka({ connection, owlmq, groups: [group], topics: [topic], kafkaFrom: begin }),
        runHere(['audit', '--kafka-brokers', broker.brokers.join(), ...args]),
      ]),
    );
    await Promise.all([forward.close(), mirror.close()]);
    const [proven, equal, translated, command] = audits;
    expect(proven).toMatchObject({ complete: true, checkpoint: { positions: { [topic]: [50] } } });
    expect(equal).toMatchObject({ complete: true });
    expect(translated[0]?.partitions).toMatchObject([{ verdict: 'exact', target: 20 }]);
    expect(command).toMatchObject({ code: 0, err: expect.stringContaining('Trying for 30 s') as string });
  });
});

describe('a broker that does not come back', () => {
  const away = { brokers: ['127.0.0.1:1'] };

  it('is told of once the time is over, with for how long it was tried and why it failed', async () => {
    const alone = new LogReader(away, { clientId: 'alone', retryForMs: 1_000 });
    const began = performance.now();
    const error: unknown = await alone.ends('orders').catch((thrown: unknown) => thrown);
    const tookMs = performance.now() - began;
    await alone.close();
    expect(error).toBeInstanceOf(LogUnavailableError);
    expect(error).toMatchObject({
      topic: 'orders',
      message: expect.stringMatching(/orders, asked \d+ times in \d\.\d s: .*ECONNREFUSED/) as string,
      cause: expect.anything() as unknown,
    });
    const { attempts, triedMs } = error as LogUnavailableError;
    expect(attempts).toBeGreaterThan(2);
    expect(triedMs).toBeLessThanOrEqual(tookMs);
    expect(triedMs).toBeGreaterThanOrEqual(1_000);
  });

  it('is asked once where a call says so', async () => {
    const alone = new LogReader(away, { clientId: 'alone' });
    await expect(alone.ends('orders', { retryForMs: 0 })).rejects.toMatchObject({ attempts: 1 });
    await alone.close();
  });

  it.each(['the signal', 'closing'])('is not waited for past %s', async (by) => {
    const alone = new LogReader(away, { clientId: 'alone', retryForMs: 600_000 });
    const stop = new AbortController();
    const reading = alone.read('orders', [{ partition: 0, offset: 0 }], { signal: stop.signal });
    const outcome = reading.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    await expect(alone.ends('orders', { retryForMs: 0 })).rejects.toThrow(LogUnavailableError);
    const reason = new Error('Enough.');
    if (by === 'closing') await alone.close();
    else stop.abort(reason);
    const error = await outcome;
    if (by === 'closing') expect(error).toBeInstanceOf(LogUnavailableError);
    else expect(error).toBe(reason);
    await alone.close();
  });

  it('is not waited for by one partition of an audit after the other', async () => {
    onTestFinished(() => broker.startAgain());
    const topic = await legs.topic(16);
    const positions = { [topic]: new Array<number>(16).fill(0) };
    const all = Array.from({ length: 16 }, (_, partition) => messages(1, { partition })).flat();
    await legs.toKafka(topic, all);
    const { connection, owlmq } = legs;
    let stopped: Promise<void> | undefined;
    // Stops the broker once the first partitions were read.
    const behind: OwlmqApi['lookup'] = async (...call) => {
      await (stopped ??= broker.stop());
      return await owlmq.lookup(...call);
    };
    const stopping = new Proxy<OwlmqApi>(owlmq, {
      get: (target, name) => {
        const found: unknown = name === 'lookup' ? behind : Reflect.get(target, name, target);
        return typeof found === 'function' ? (found.bind(target) as unknown) : found;
      },
    });
    const audit = new ForwardAudit({
      ...{ connection, owlmq: stopping, topics: [topic], positions, graceMs: 60_000, retryForMs: 1_500 },
    });
    const error: unknown = await audit.step().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AggregateError);
    const { errors } = error as AggregateError;
    expect(errors.every((one) => one instanceof LogUnavailableError)).toBe(true);
    // As many as are audited at once.
    expect(errors.length).toBeLessThanOrEqual(4);
    await audit.close();
  });
});

describe('what no wait mends is told at once', () => {
  it('a topic that does not exist, and a position outside of the log', async () => {
    const topic = await topicWith(3);
    const began = performance.now();
    await expect(reader.bounds('no-such-topic')).rejects.toThrow(UnknownTopicError);
    await expect(reader.read('no-such-topic', [{ partition: 0, offset: 0 }])).rejects.toThrow(UnknownTopicError);
    await expect(reader.read(topic, [{ partition: 0, offset: 100 }])).rejects.toThrow(OffsetOutOfRangeError);
    await expect(reader.read(topic, [{ partition: 7, offset: 0 }])).rejects.toThrow(RangeError);
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  it('a topic that is deleted while a reader knows it', async () => {
    const topic = `deleted-${randomUUID()}`;
    await legs.admin.createTopics({ topics: [{ topic }], waitForLeaders: true });
    expect(await reader.ends(topic)).toEqual([0]);
    await legs.admin.deleteTopics({ topics: [topic] });
    await expect.poll(() => legs.admin.listTopics()).not.toContain(topic);
    await expect(reader.ends(topic)).rejects.toThrow(UnknownTopicError);
    await expect(reader.read(topic, [{ partition: 0, offset: 0 }])).rejects.toThrow(UnknownTopicError);
  });
});
