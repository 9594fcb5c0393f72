import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DualPublisher, PublisherConfigError, type DualPublisherOptions, type PublisherEvent } from '../src/index.js';
import { HEADER, parsePosition, readProvenance } from '../src/message/headers.js';
import { MemberRoster } from '../src/members/member-roster.js';
import { MEMBERS_TOPIC, type MemberReport } from '../src/members/member-report.js';
import type { OwlmqApi, OwlmqStoredRecord } from '../src/owlmq/owlmq-api.js';
import { isCopied } from '../src/publisher/copy-decision.js';
import type { RoutingState } from '../src/routing/routing-state.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';
import { API_KEY, routingState, testBrokers, TwoLegs, uniqueName, until, valuesByKey } from './publisher-fixture.js';

describe('options', () => {
  beforeEach(() => {
    vi.stubEnv('OWLMQ_URL', undefined);
    vi.stubEnv('OWLMQ_API_KEY', undefined);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it('are refused with all problems at once', () => {
    const make = () =>
      new DualPublisher({
        ...{ kafka: { brokers: [] }, ratio: 1.5, migration: 'orders', acks: 1, holdTimeoutMs: -1 },
        producer: { idempotent: true },
      });
    expect(make).toThrow(PublisherConfigError);
    try {
      make();
    } catch (error) {
      expect((error as PublisherConfigError).problems).toEqual([
        expect.stringContaining('kafka.brokers'),
        expect.stringContaining('ratio must be'),
        expect.stringContaining('ratio and migration'),
        expect.stringContaining('exclude each other'),
        expect.stringContaining('holdTimeoutMs'),
        expect.stringContaining('OWLMQ_URL'),
        expect.stringContaining('OWLMQ_API_KEY'),
      ]);
    }
  });

  it('need an OwlMQ only where something is copied', async () => {
    const kafka = { brokers: ['127.0.0.1:1'] };
    const publisher = new DualPublisher({ kafka, owlmq: { apiKey: process.env['OWLMQ_API_KEY'] }, ratio: 0.0 });
    expect(() => {
      publisher.setRatio(0.1);
    }).toThrow(/OWLMQ_URL/);
    expect(() => new DualPublisher({ kafka, ratio: 0.1 })).toThrow(/OWLMQ_API_KEY/);
    await publisher.close();
  });
});

describe('DualPublisher', () => {
  let legs: TwoLegs;
  let writer: RoutingWriter;
  const publishers: DualPublisher[] = [];
  const events: PublisherEvent[] = [];
  let state: RoutingState | undefined;

  beforeEach(async () => {
    legs = await TwoLegs.open();
    writer = new RoutingWriter({ connection: { brokers: testBrokers() }, clientId: 'publisher-test' });
    await writer.ensureTopics();
    events.length = 0;
    state = undefined;
  });

  afterEach(async () => {
    await Promise.all(publishers.splice(0).map((publisher) => publisher.close({ timeoutMs: 2_000 })));
    await writer.close();
    await legs.close();
  });

  function publisherOf(change: Partial<DualPublisherOptions> = {}): DualPublisher {
    const publisher = new DualPublisher({ ...legs.options, onEvent: (event) => events.push(event), ...change });
    publishers.push(publisher);
    return publisher;
  }

  /** The next epoch, of the last one and what changes; `fence: undefined` ends a fence. */
  async function route(change: Partial<Omit<RoutingState, 'fence'>> & { fence?: RoutingState['fence'] | undefined }) {
    const { migration, topic } = legs;
    const base = state ?? routingState({ migration, epoch: 0, topics: [topic] });
    const { fence, ...rest } = { ...base, ...change, epoch: base.epoch + 1 };
    state = fence === undefined ? rest : { ...rest, fence };
    await writer.write(state);
    return state.epoch;
  }

  const condition = (publisher: DualPublisher) => `${publisher.status().epoch} ${publisher.status().state}`;

  function expectUnique(records: readonly OwlmqStoredRecord[], count: number): void {
    expect(records).toHaveLength(count);
    expect(new Set(records.map(({ id }) => id)).size).toBe(count);
  }

  it('runs as the playbook writes it', async () => {
    vi.stubEnv('OWLMQ_URL', undefined);
    const payload = { order: 1 };
    const publisher = new DualPublisher({
      kafka: { brokers: testBrokers() },
      owlmq: { apiKey: process.env['OWLMQ_API_KEY'] },
      ratio: 0.0, // Start at 0% OwlMQ traffic
    });
    publishers.push(publisher);
    const result = await publisher.publish(legs.topic, payload);
    vi.unstubAllEnvs();
    const [record, ...others] = await legs.kafkaRecords();
    expect(others).toEqual([]);
    expect(record?.value?.toString()).toBe('{"order":1}');
    expect(result).toEqual({
      id: readProvenance(record?.headers).id,
      epoch: 0,
      kafka: { partition: record?.partition, offset: 0 },
    });
    expect(readProvenance(record?.headers)).toMatchObject({ copied: false, source: undefined });
    expect(await legs.owlmqRecords()).toEqual([]);
  });

  it('copies the share of keys with id, headers, time and the Kafka position, to the same partition', async () => {
    const publisher = publisherOf({ ratio: 0.5 });
    const results = await Promise.all(
      Array.from({ length: 500 }, (_, n) =>
        publisher.publish(
          legs.topic,
          { n },
          { key: `key-${n}`, headers: { trace: `t${n}` }, timestamp: 1_700_000_000_000 + n },
        ),
      ),
    );
    await publisher.flush();
    const kafka = new Map((await legs.kafkaRecords()).map((record) => [readProvenance(record.headers).id, record]));
    expect(kafka.size).toBe(500);
    for (const { id, kafka: place } of results) {
      expect(place).toEqual({ partition: kafka.get(id)?.partition, offset: kafka.get(id)?.offset });
    }
    const copies = await legs.owlmqRecords();
    const wanted = [...kafka.values()].filter(({ key }) => isCopied(key ?? Buffer.alloc(0), 0.5));
    expectUnique(copies, wanted.length);
    expect(wanted.length).toBeGreaterThan(150);
    for (const [id, record] of kafka) {
      expect(readProvenance(record.headers).copied).toBe(
        wanted.some(({ offset, partition }) => offset === record.offset && partition === record.partition),
      );
      expect(id).toBeDefined();
    }
    for (const copy of copies) {
      const original = kafka.get(copy.id);
      const { [HEADER.source]: source, ...headers } = Object.fromEntries(
        copy.headers.map(([name, value]) => [name, value.toString()]),
      );
      expect(parsePosition(source)).toEqual({ leg: 'kafka', partition: original?.partition, offset: original?.offset });
      expect(headers).toEqual(
        Object.fromEntries(Object.entries(original?.headers ?? {}).map(([name, value]) => [name, value.toString()])),
      );
      expect(copy).toMatchObject({
        partition: original?.partition,
        key: original?.key,
        value: original?.value,
        timestamp: original?.timestamp,
      });
    }
    publisher.setRatio(0);
    await publisher.publish(legs.topic, 'last');
    await publisher.flush();
    expect(await legs.owlmqRecords()).toHaveLength(wanted.length);
  });

  it('keeps the order of each key on both legs, with several publishers', async () => {
    const expected = new Map<string, string[]>();
    await Promise.all(
      ['a', 'b', 'c'].map(async (name) => {
        const publisher = publisherOf({ ratio: 1 });
        const calls: Promise<unknown>[] = [];
        for (let n = 0; n < 3_000; n++) {
          const key = `${name}-${n % 7}`;
          expected.set(key, [...(expected.get(key) ?? []), String(n)]);
          calls.push(publisher.publish(legs.topic, String(n), { key }));
          if (n % 500 === 0) await Promise.all(calls.splice(0));
        }
        await Promise.all(calls);
        await publisher.flush();
      }),
    );
    expect(valuesByKey(await legs.kafkaRecords())).toEqual(expected);
    expect(valuesByKey(await legs.owlmqRecords())).toEqual(expected);
  });

  it('says of each message of a batch what became of it', async () => {
    const publisher = publisherOf();
    const messages = Array.from({ length: 20 }, (_, n) => ({ value: `${n}`, key: 'k' }));
    const results = await publisher.publishBatch(legs.topic, messages);
    expect(results.map(({ kafka }) => kafka?.offset)).toEqual(messages.map((_, n) => n));
    // One is larger than the broker takes, one has no such partition; the others are published all the same.
    const large = { value: Buffer.alloc(3_000_000), key: 'k' };
    const batch = publisher.publishBatch(legs.topic, [
      { value: 'x', key: 'k' },
      large,
      { value: 'y', partition: 99 },
      { value: 'z', key: 'k' },
    ]);
    await expect(batch).rejects.toMatchObject({
      name: 'PublishBatchError',
      outcomes: [
        { status: 'fulfilled' },
        { status: 'rejected', reason: { name: 'PublishFailedError' } },
        { status: 'rejected', reason: { name: 'PublishFailedError' } },
        { status: 'fulfilled' },
      ],
    });
    expect(
      valuesByKey(await legs.kafkaRecords())
        .get('k')
        ?.slice(20),
    ).toEqual(['x', 'z']);
    await expect(publisher.publish(uniqueName('no-such-topic'), 'x')).rejects.toMatchObject({
      name: 'PublishFailedError',
    });
  }, 120_000);

  it.each(['cut', 'blackhole'] as const)('is neither failed nor delayed by an OwlMQ whose link is %s', async (how) => {
    const publisher = publisherOf({ ratio: 1, maxBacklogMessages: 100 });
    await publisher.publish(legs.topic, 'first', { key: 'k' });
    await publisher.flush();
    legs.owlmqLink[how]();
    const start = performance.now();
    for (let n = 0; n < 400; n++) await publisher.publish(legs.topic, `${n}`, { key: `k${n % 3}` });
    // One after the other: any wait for OwlMQ, whose requests take seconds to fail, would show.
    expect(performance.now() - start).toBeLessThan(15_000);
    const { backlog, dropped, unsettled } = publisher.status();
    expect({ sum: backlog + dropped, unsettled }).toEqual({ sum: 400, unsettled: 0 });
    expect(backlog).toBeLessThanOrEqual(100);
    expect(events.filter(({ type }) => type === 'copies-dropped')).toHaveLength(1);
    legs.owlmqLink.restore();
    await publisher.flush();
    // The gap is one and at the end: what came before it is there in order.
    const copies = await legs.owlmqRecords();
    expectUnique(copies, 1 + 400 - dropped);
    expect(await legs.kafkaRecords()).toHaveLength(401);
    await publisher.publish(legs.topic, 'after', { key: 'k' });
    await publisher.flush();
    expect(await legs.owlmqRecords()).toHaveLength(2 + 400 - dropped);
  });

  it.each(['cut', 'loseAnswers'] as const)(
    'loses, repeats and reorders nothing in Kafka when its link fails for a while (%s)',
    async (how) => {
      const kafka = { brokers: [legs.kafkaLink.address], requestTimeout: 1_000 };
      const publisher = publisherOf({ ratio: 1, kafka });
      await publisher.publish(legs.topic, '0', { key: 'k' });
      const calls: Promise<unknown>[] = [];
      for (let n = 1; n <= 300; n++) {
        calls.push(publisher.publish(legs.topic, String(n), { key: 'k' }));
        if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
        if (n === 100) legs.kafkaLink[how]();
      }
      const settled = Promise.all(calls);
      if (how === 'loseAnswers') {
        await until(
          'a batch is stored and not answered',
          async () => (await legs.kafkaRecords()).length > publisher.status().kafka.messages,
        );
      } else {
        await until('calls wait', () => publisher.status().unsettled > 0);
      }
      legs.kafkaLink.restore();
      await settled;
      await publisher.flush();
      const expected = Array.from({ length: 301 }, (_, n) => String(n));
      expect(valuesByKey(await legs.kafkaRecords()).get('k')).toEqual(expected);
      expect(valuesByKey(await legs.owlmqRecords()).get('k')).toEqual(expected);
    },
  );

  it('copies in order across a link to OwlMQ that fails for a while', async () => {
    const publisher = publisherOf({ ratio: 1 });
    await publisher.publish(legs.topic, '0', { key: 'k0' });
    await publisher.flush();
    legs.owlmqLink.cut();
    for (let n = 1; n <= 60; n++) await publisher.publish(legs.topic, String(n), { key: `k${n % 3}` });
    await until('a request has failed', () => events.some(({ type }) => type === 'error'));
    for (let n = 61; n <= 120; n++) await publisher.publish(legs.topic, String(n), { key: `k${n % 3}` });
    expect(publisher.status().backlog).toBe(120);
    legs.owlmqLink.restore();
    await publisher.flush();
    expect(publisher.status().dropped).toBe(0);
    expect(valuesByKey(await legs.owlmqRecords())).toEqual(valuesByKey(await legs.kafkaRecords()));
  });

  it('keeps the order of each key when OwlMQ refuses some entries of a batch for now', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    console.info(`seed ${seed}`);
    let random = seed;
    const draw = (): number => (random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0) / 2 ** 32;
    let refusals = 0;
    // As the contract has it, the later entries of a refused one's key are refused too. No server does it on demand.
    const publish: OwlmqApi['publish'] = async (topic, records, options) => {
      const refused = new Set<string>();
      const taken = records.filter(({ key }) => {
        if (draw() < 0.05) refused.add(key?.toString() ?? '');
        return !refused.has(key?.toString() ?? '');
      });
      refusals += records.length - taken.length;
      const results = await legs.owlmq.publish(topic, taken, options);
      return records.map((record) => {
        const result = results[taken.indexOf(record)];
        return result ?? { ok: false, type: 'unavailable', detail: 'Not now', retriable: true };
      });
    };
    const client = new Proxy<OwlmqApi>(legs.owlmq, {
      get: (target, name: keyof OwlmqApi) => (name === 'publish' ? publish : target[name].bind(target)),
    });
    for (const primary of ['kafka', 'owlmq'] as const) {
      await route({ ratio: 1, primary, live: primary });
      const publisher = publisherOf({ migration: legs.migration, owlmq: { client } });
      await Promise.all(
        Array.from({ length: 300 }, (_, n) => publisher.publish(legs.topic, `${n}`, { key: `${primary}-${n % 20}` })),
      );
      await publisher.flush();
    }
    expect(refusals).toBeGreaterThan(0);
    const owlmq = await legs.owlmqRecords();
    expectUnique(owlmq, 600);
    for (const values of valuesByKey(owlmq).values()) {
      expect(values).toEqual([...values].sort((a, b) => Number(a) - Number(b)));
    }
  });

  it('bounds its buffer, and how long a call waits for room', async () => {
    const publisher = publisherOf({
      kafka: { brokers: [legs.kafkaLink.address] },
      maxBufferedMessages: 10,
      bufferTimeoutMs: 300,
    });
    await publisher.publish(legs.topic, 'first');
    legs.kafkaLink.blackhole();
    const waiting = Promise.allSettled(Array.from({ length: 10 }, () => publisher.publish(legs.topic, 'x')));
    const refused = publisher.publish(legs.topic, 'one too many');
    await expect(refused).rejects.toMatchObject({ name: 'PublishBufferFullError' });
    legs.kafkaLink.restore();
    // Those that had room are published, once.
    expect((await waiting).every(({ status }) => status === 'fulfilled')).toBe(true);
    expect(await legs.kafkaRecords()).toHaveLength(11);
  });

  describe('with a migration', () => {
    it('goes to Kafka alone before the first state, then obeys each', async () => {
      const publisher = publisherOf({ migration: legs.migration });
      expect(() => {
        publisher.setRatio(0.5);
      }).toThrow(PublisherConfigError);
      expect(await publisher.publish(legs.topic, '0', { key: 'k' })).toMatchObject({ epoch: 0, kafka: { offset: 0 } });
      await route({ ratio: 1 });
      await until('epoch 1 is applied', () => condition(publisher) === '1 publishing');
      expect(await publisher.publish(legs.topic, '1', { key: 'k' })).toMatchObject({ epoch: 1, kafka: { offset: 1 } });
      await publisher.flush();
      await route({ primary: 'owlmq', live: 'owlmq' });
      await until('epoch 2 is applied', () => condition(publisher) === '2 publishing');
      expect(await publisher.publish(legs.topic, '2', { key: 'k' })).toMatchObject({
        epoch: 2,
        kafka: { offset: 2 },
        owlmq: { offset: 1 },
      });
      await route({ mirror: false });
      await until('epoch 3 is applied', () => condition(publisher) === '3 publishing');
      const last = await publisher.publish(legs.topic, '3', { key: 'k' });
      expect(last.owlmq?.offset).toBe(2);
      expect(last.kafka).toBeUndefined();
      expect(valuesByKey(await legs.kafkaRecords()).get('k')).toEqual(['0', '1', '2']);
      expect(valuesByKey(await legs.owlmqRecords()).get('k')).toEqual(['1', '2', '3']);

      const other = uniqueName('other');
      await legs.addTopic(other);
      expect(await publisher.publish(other, 'x')).toMatchObject({ kafka: { offset: 0 } });
      expect(await legs.owlmqRecords(other)).toEqual([]);
    });

    it('registers, and reports its epoch and that it left', async () => {
      await route({ ratio: 1 });
      const roster = new MemberRoster({ connection: { brokers: testBrokers() }, clientId: 'publisher-test' });
      await roster.start();
      const reports = async (): Promise<MemberReport[]> => {
        await roster.readToEnd();
        return roster.members(legs.migration).map(({ report }) => report);
      };
      const publisher = publisherOf({ migration: legs.migration });
      await publisher.connect();
      await until('it is applied', async () => (await reports())[0]?.epoch === 1);
      await publisher.publish(legs.topic, 'x');
      await publisher.close();
      const figures = (await reports())[0];
      expect(figures).toMatchObject({ copyErrors: 0, oldestCopyMs: 0 });
      expect(figures?.role === 'publisher' && figures.owlmqLatencyMs).toBeGreaterThan(0);
      expect(await reports()).toMatchObject([
        {
          role: 'publisher',
          instance: publisher.instance,
          state: 'left',
          topics: [legs.topic],
          kafka: { messages: 1 },
          owlmq: { messages: 1 },
        },
      ]);
      await expect(publisher.publish(legs.topic, 'y')).rejects.toMatchObject({ name: 'PublisherClosedError' });
      await roster.stop();
    });

    it('keeps the order on both legs after cutover, with exact positions', async () => {
      await route({ primary: 'owlmq', live: 'owlmq' });
      const publisher = publisherOf({ migration: legs.migration });
      const calls = Array.from({ length: 2_500 }, (_, n) =>
        publisher.publish(legs.topic, `${n}`, { key: `k${n % 11}` }),
      );
      const results = await Promise.all(calls);
      expect(results.every(({ kafka, owlmq }) => kafka !== undefined && owlmq !== undefined)).toBe(true);
      const owlmq = await legs.owlmqRecords();
      const kafka = await legs.kafkaRecords();
      expectUnique(owlmq, 2_500);
      expect(valuesByKey(owlmq)).toEqual(valuesByKey(kafka));
      const places = new Map(owlmq.map(({ id, partition, offset }) => [id, { leg: 'owlmq', partition, offset }]));
      for (const record of kafka) {
        const { id, source, copied } = readProvenance(record.headers);
        expect(source).toEqual(places.get(id ?? ''));
        expect(copied).toBe(true);
      }
    });

    it('holds calls at a fence with nothing in flight, and lets all go on by the next state', async () => {
      await route({ ratio: 1 });
      const fleet = [publisherOf({ migration: legs.migration }), publisherOf({ migration: legs.migration })];
      const outcomes: Promise<{ epoch: number }>[] = [];
      let sent = 0;
      let stop = false;
      const traffic = fleet.map(async (publisher, index) => {
        while (!stop) {
          for (let n = 0; n < 20; n++)
            outcomes.push(publisher.publish(legs.topic, String(sent++), { key: `${index}-${n % 5}` }));
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      });
      await until('traffic flows', () => fleet.every((publisher) => publisher.status().kafka.messages > 100));
      const fence = await route({ fence: { reason: 'test' } });
      await until('all are fenced', () => fleet.every((publisher) => condition(publisher) === `${fence} fenced`));
      const fencedAt = await legs.reader.ends(legs.topic);
      await until('calls are held', () => fleet.every((publisher) => publisher.status().held >= 100));
      expect(await legs.reader.ends(legs.topic)).toEqual(fencedAt);
      for (const publisher of fleet) expect(publisher.status()).toMatchObject({ inFlight: 0, backlog: 0 });
      // All before the fence has its copy already.
      expect((await legs.owlmqRecords()).length).toBe((await legs.kafkaRecords()).length);

      const open = await route({ fence: undefined, primary: 'owlmq', live: 'owlmq' });
      await until('all go on', () =>
        fleet.every((publisher) => condition(publisher) === `${open} publishing` && publisher.status().held === 0),
      );
      for (const publisher of fleet) expect(publisher.status().longestHoldMs).toBeGreaterThan(0);
      stop = true;
      await Promise.all(traffic);
      const results = await Promise.all(outcomes);
      expect(new Set(results.map(({ epoch }) => epoch))).toEqual(new Set([1, open]));
      const [kafka, owlmq] = [await legs.kafkaRecords(), await legs.owlmqRecords()];
      expectUnique(owlmq, sent);
      expect(kafka).toHaveLength(sent);
      for (const records of [kafka, owlmq]) {
        for (const values of valuesByKey(records).values()) {
          expect(values).toEqual([...values].sort((a, b) => Number(a) - Number(b)));
        }
      }
      for (const record of kafka) {
        const { epoch } = readProvenance(record.headers);
        expect(epoch).toBe(record.offset < (fencedAt[record.partition] ?? 0) ? 1 : open);
      }
    });

    it('fails a held call only after its bound, with a typed error', async () => {
      await route({ fence: { reason: 'test' } });
      const publisher = publisherOf({ migration: legs.migration, holdTimeoutMs: 500 });
      const call = publisher.publish(legs.topic, 'x');
      await expect(call).rejects.toMatchObject({ name: 'PublishHeldTimeoutError', reason: 'fence' });
      expect(await legs.kafkaRecords()).toEqual([]);
    });

    it('fences within seconds although OwlMQ is dead, and leaves its copies to the audit', async () => {
      await route({ ratio: 1 });
      const publisher = publisherOf({ migration: legs.migration });
      await publisher.publish(legs.topic, 'x');
      await publisher.flush();
      legs.owlmqLink.blackhole();
      await Promise.all(Array.from({ length: 50 }, () => publisher.publish(legs.topic, 'y')));
      expect(publisher.status().backlog).toBe(50);
      const fence = await route({ fence: { reason: 'test' } });
      await until('it is fenced', () => condition(publisher) === `${fence} fenced`);
      expect(publisher.status()).toMatchObject({ backlog: 0, dropped: 50 });
    });

    it('holds when the lease is lost, and goes on when it is back', async () => {
      await route({ ratio: 0, leaseMs: 1_500 });
      const publisher = publisherOf({ migration: legs.migration, kafka: { brokers: [legs.kafkaLink.address] } });
      await publisher.publish(legs.topic, '0', { key: 'k' });
      legs.kafkaLink.blackhole();
      await until('the lease is over', () => publisher.status().state === 'lease-lost');
      const calls = [1, 2, 3].map((n) => publisher.publish(legs.topic, String(n), { key: 'k' }));
      await until('calls are held', () => publisher.status().held === 3);
      legs.kafkaLink.restore();
      const results = await Promise.all(calls);
      expect(results.map(({ kafka }) => kafka?.offset)).toEqual([1, 2, 3]);
      expect(publisher.status().state).toBe('publishing');
      expect(events).toContainEqual({ type: 'held', reason: 'lease-lost' });
      expect(events.some(({ type }) => type === 'released')).toBe(true);
    });

    it('goes on without a lease once Kafka is decommissioned, when Kafka is gone', async () => {
      const leased = { primary: 'owlmq', live: 'owlmq', leaseMs: 1_500 } as const;
      await route(leased);
      const link = { kafka: { brokers: [legs.kafkaLink.address] } };
      const publisher = publisherOf({ ...link, migration: legs.migration, holdTimeoutMs: 3_000 });
      await publisher.publish(legs.topic, '0', { key: 'k' });
      const last = await route({ mirror: false });
      await until('it is applied', () => condition(publisher) === `${last} publishing`);
      const warm = uniqueName('warm');
      await writer.write(routingState({ migration: warm, epoch: 1, topics: [legs.topic], ...leased }));
      const leaseholder = publisherOf({ ...link, migration: warm });
      await leaseholder.connect();
      await until('the lease is held', () => condition(leaseholder) === '1 publishing');
      legs.kafkaLink.cut();
      await until('a lease is over', () => leaseholder.status().state === 'lease-lost');
      for (let n = 1; n <= 5; n++) {
        expect(await publisher.publish(legs.topic, `${n}`, { key: 'k' })).toMatchObject({ owlmq: { offset: n } });
      }
      expect(condition(publisher)).toBe(`${last} publishing`);
      expect(events).toContainEqual({ type: 'held', reason: 'lease-lost' });
      legs.kafkaLink.restore();
    });

    it('repeats what OwlMQ did not answer, and OwlMQ stores it once', async () => {
      await route({ primary: 'owlmq', live: 'owlmq' });
      const publisher = publisherOf({ migration: legs.migration });
      await publisher.publish(legs.topic, 'warm', { key: 'k' });
      legs.owlmqLink.loseAnswers();
      const calls = Array.from({ length: 200 }, (_, n) => publisher.publish(legs.topic, `${n}`, { key: 'k' }));
      const settled = Promise.all(calls);
      await until('OwlMQ has some', async () => (await legs.owlmqRecords()).length > 1);
      legs.owlmqLink.restore();
      await settled;
      const owlmq = await legs.owlmqRecords();
      expectUnique(owlmq, 201);
      expect(valuesByKey(owlmq).get('k')).toEqual(['warm', ...Array.from({ length: 200 }, (_, n) => `${n}`)]);
      expect(valuesByKey(await legs.kafkaRecords())).toEqual(valuesByKey(owlmq));
    });

    it('says that an outcome is unknown when OwlMQ does not answer within the bound', async () => {
      await route({ primary: 'owlmq', live: 'owlmq' });
      const publisher = publisherOf({ migration: legs.migration, deliveryTimeoutMs: 1_000 });
      await publisher.publish(legs.topic, 'warm', { key: 'k' });
      legs.owlmqLink.loseAnswers();
      const call = publisher.publish(legs.topic, 'x', { key: 'k', id: 'the-id' });
      await expect(call).rejects.toMatchObject({ name: 'PublishOutcomeUnknownError', id: 'the-id', leg: 'owlmq' });
      legs.owlmqLink.restore();
      await publisher.publish(legs.topic, 'x', { key: 'k', id: 'the-id' });
      expectUnique(await legs.owlmqRecords(), 2);
    });

    it('goes on without the mirror when Kafka is dead, says so, and takes it up again', async () => {
      await route({ primary: 'owlmq', live: 'owlmq', leaseMs: 60_000 });
      const publisher = publisherOf({
        ...{ migration: legs.migration, kafka: { brokers: [legs.kafkaLink.address], requestTimeout: 2_000 } },
        ...{ mirrorTimeoutMs: 500, deliveryTimeoutMs: 3_000 },
      });
      expect((await publisher.publish(legs.topic, '0', { key: 'k' })).kafka).toBeDefined();
      legs.kafkaLink.cut();
      for (let n = 1; n <= 20; n++) {
        const { owlmq, kafka } = await publisher.publish(legs.topic, String(n), { key: 'k' });
        expect([owlmq?.offset, kafka]).toEqual([n, undefined]);
      }
      expect(publisher.status().mirrorDegraded).toBe(true);
      legs.kafkaLink.restore();
      let n = 20;
      await until('the mirror works again', async () => {
        await publisher.publish(legs.topic, String(++n), { key: 'k' });
        return !publisher.status().mirrorDegraded;
      });
      expect((await publisher.publish(legs.topic, 'last', { key: 'k' })).kafka).toBeDefined();
      const { dropped } = publisher.status();
      expect(dropped).toBeGreaterThan(0);
      expectUnique(await legs.owlmqRecords(), n + 2);
      expect((await legs.kafkaRecords()).length + dropped).toBeGreaterThanOrEqual(n + 2);
    });

    it('takes calls back from a dead OwlMQ at a fence, and sends them to Kafka after a rollback', async () => {
      await route({ primary: 'owlmq', live: 'owlmq' });
      const publisher = publisherOf({ migration: legs.migration });
      await publisher.publish(legs.topic, '0', { key: 'k' });
      legs.owlmqLink.blackhole();
      const calls = [1, 2, 3].map((n) => publisher.publish(legs.topic, String(n), { key: 'k' }));
      await until('they are in flight', () => publisher.status().inFlight === 3);
      const fence = await route({ fence: { reason: 'rollback' } });
      await until('it is fenced', () => condition(publisher) === `${fence} fenced`);
      expect(publisher.status().held).toBe(3);
      const open = await route({ fence: undefined, primary: 'kafka', live: 'kafka', ratio: 0 });
      const results = await Promise.all(calls);
      expect(results.map(({ epoch, owlmq }) => [epoch, owlmq])).toEqual([1, 2, 3].map(() => [open, undefined]));
      expect(valuesByKey(await legs.kafkaRecords()).get('k')).toEqual(['0', '1', '2', '3']);
    });

    it('is told with what is missing when there is no routing', async () => {
      const publisher = publisherOf({ migration: legs.migration, kafka: { brokers: ['127.0.0.1:1'] } });
      await expect(publisher.publish(legs.topic, 'x')).rejects.toThrow(/Kafka cannot be reached/);
    });

    it('is told to start the worker first when nobody made the bridge’s topics', async () => {
      legs.kafkaLink.hide(MEMBERS_TOPIC);
      const publisher = publisherOf({ migration: legs.migration, kafka: { brokers: [legs.kafkaLink.address] } });
      const call = publisher.publish(legs.topic, 'x');
      await expect(call).rejects.toMatchObject({ name: 'RoutingUnavailableError', migration: legs.migration });
      await expect(call).rejects.toThrow(/owlmq-bridge.members does not exist.*start the worker first/);
      legs.kafkaLink.restore();
      expect(await publisher.publish(legs.topic, 'y')).toMatchObject({ kafka: { offset: 0 } });
    });

    it('does not say that a call was not sent when OwlMQ may have it', async () => {
      await route({ primary: 'owlmq', live: 'owlmq' });
      const publisher = publisherOf({ migration: legs.migration });
      await publisher.publish(legs.topic, 'warm', { key: 'k' });
      legs.owlmqLink.loseAnswers();
      const sent = publisher.publish(legs.topic, 'x', { key: 'k', id: 'the-id' });
      await until('OwlMQ has it', async () => (await legs.owlmqRecords()).length === 2);
      const waiting = publisher.publish(legs.topic, 'y', { key: 'k' });
      const outcomes = Promise.allSettled([sent, waiting]);
      await publisher.close({ timeoutMs: 100 });
      expect(await outcomes).toMatchObject([
        { reason: { name: 'PublishOutcomeUnknownError', id: 'the-id', cause: { name: 'PublisherClosedError' } } },
        { reason: { name: 'PublisherClosedError' } },
      ]);
    });

    it('says before the cutover that OwlMQ lacks copies, until they flow again', async () => {
      await route({ ratio: 1 });
      const publisher = publisherOf({ migration: legs.migration, maxBacklogMessages: 20 });
      const publish = () => publisher.publish(legs.topic, 'x', { key: 'k' });
      await publish();
      await publisher.flush();
      const degraded = () => publisher.status().mirrorDegraded;
      expect(degraded()).toBe(false);
      // Waiting for seconds, none dropped.
      legs.owlmqLink.cut();
      for (let n = 0; n < 10; n++) await publish();
      await until('it is degraded', degraded);
      expect(publisher.status()).toMatchObject({ backlog: 10, dropped: 0, state: 'publishing' });
      expect(publisher.status().copyErrors).toBeGreaterThan(0);
      expect(publisher.status().oldestCopyMs).toBeGreaterThanOrEqual(5_000);
      legs.owlmqLink.restore();
      await until('copies flow again', () => !degraded() && publisher.status().backlog === 0);
      expect(publisher.status().oldestCopyMs).toBe(0);
      // Dropped: at once, and until copies have flowed for a while.
      legs.owlmqLink.cut();
      for (let n = 0; n < 30; n++) await publish();
      expect(publisher.status()).toMatchObject({ backlog: 20, dropped: 10, mirrorDegraded: true });
      legs.owlmqLink.restore();
      await publisher.flush();
      expect(degraded()).toBe(true);
      await until('copies flow again', async () => {
        await publish();
        return !degraded();
      });
      // What was dropped under an earlier state is not held against a later one.
      legs.owlmqLink.cut();
      for (let n = 0; n < 40; n++) await publish();
      expect(degraded()).toBe(true);
      legs.owlmqLink.restore();
      await publisher.flush();
      const next = await route({ ratio: 0 });
      await until('it is applied', () => condition(publisher) === `${next} publishing`);
      expect(degraded()).toBe(false);
    });

    it('connects at a later call when it could not at first', async () => {
      await route({ ratio: 0 });
      const publisher = publisherOf({ migration: legs.migration, kafka: { brokers: [legs.kafkaLink.address] } });
      legs.kafkaLink.cut();
      await expect(publisher.publish(legs.topic, 'x')).rejects.toThrow(/Kafka cannot be reached/);
      legs.kafkaLink.restore();
      expect(await publisher.publish(legs.topic, 'y')).toMatchObject({ epoch: 1, kafka: { offset: 0 } });
    });
  });

  it('does not show its API key', () => {
    const publisher = publisherOf({ ratio: 1 });
    expect(JSON.stringify(publisher.status())).not.toContain(API_KEY);
  });
});
