import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startOwlmqLocal } from '../../owlmq-local/src/index.js';
import { ForwardAudit } from '../src/audit/forward-audit.js';
import { MirrorAudit } from '../src/audit/mirror-audit.js';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { LogReader } from '../src/kafka/log-reader.js';
import { readProvenance } from '../src/message/headers.js';
import { allBelowUpTo, nothingBelowFrom, withSync, type Sync } from '../src/offsets/offset-syncs.js';
import { OffsetSyncWriter, readOffsetSyncs } from '../src/offsets/sync-log.js';
import { translateToOwlmq } from '../src/offsets/translate-to-owlmq.js';
import type { OwlmqApi } from '../src/owlmq/owlmq-api.js';
import { OwlmqClient } from '../src/owlmq/owlmq-client.js';
import { ensureBridgeTopics } from '../src/routing/bridge-topics.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';
import { Legs, messages, type TestMessage } from './audit-legs.js';

describe('offset syncs', () => {
  it('bound what they were made of, however they are thinned', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ late: fc.nat({ max: 9 }), note: fc.boolean() }), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 2, max: 6 }),
        (records, max) => {
          // Where the copy of each source record is.
          const order = records
            .map(({ late }, source) => ({ source, rank: source + late }))
            .toSorted((a, b) => a.rank - b.rank || a.source - b.source);
          const target = new Map(order.map(({ source }, offset) => [source, offset]));
          let [toSource, toTarget]: [Sync[], Sync[]] = [[], []];
          for (const [index, { note }] of records.entries()) {
            if (!note) continue;
            const below = index + 1;
            const highestSource = Math.max(...order.slice(0, below).map(({ source }) => source));
            toSource = withSync(toSource, [below, highestSource + 1], max);
            const highestTarget = Math.max(...records.slice(0, below).map((_, source) => target.get(source) ?? 0));
            toTarget = withSync(toTarget, [below, highestTarget + 1], max);
          }
          for (const syncs of [toSource, toTarget]) {
            expect(syncs.length).toBeLessThanOrEqual(max);
            expect(syncs).toEqual(syncs.toSorted((a, b) => a[0] - b[0]));
            expect(syncs.map(([, within]) => within)).toEqual(
              syncs.map(([, within]) => within).toSorted((a, b) => a - b),
            );
          }
          for (let offset = 0; offset <= records.length; offset++) {
            const from = nothingBelowFrom(toSource, offset) ?? Infinity;
            const upTo = allBelowUpTo(toTarget, offset) ?? 0;
            for (const [source, place] of target) {
              if (source >= from) expect(place).toBeGreaterThanOrEqual(offset);
              if (source < upTo) expect(place).toBeLessThan(offset);
            }
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('stay dense near the newest, and reach far back', () => {
    let syncs: Sync[] = [];
    for (let offset = 1_000; offset <= 10_000_000; offset += 1_000) syncs = withSync(syncs, [offset, offset]);
    for (const lag of [5_000, 50_000, 500_000, 5_000_000]) {
      const at = 10_000_000 - lag;
      const gap = (nothingBelowFrom(syncs, at) ?? 0) - (allBelowUpTo(syncs, at) ?? 0);
      expect(gap / lag).toBeLessThan(0.25);
    }
    expect(syncs.at(-1)).toEqual([10_000_000, 10_000_000]);
  });
});

/** Two logs as they grow, with an audit beside them that notes; groups anywhere; against what a reader of both sees. */
describe('translation by syncs', () => {
  const seed = Date.now() % 2 ** 31;
  const PARTITIONS = 12;
  const clientId = 'syncs-test';
  let legs: Legs;
  let admin: ClusterAdmin;
  beforeAll(async () => {
    legs = await Legs.start();
    admin = new ClusterAdmin(legs.connection, { clientId });
    await ensureBridgeTopics(legs.connection, clientId, 'audit');
  });
  afterAll(async () => {
    await admin.close();
    await legs.stop();
  });

  /** Evenly from 0 to 1. */
  function shares(from: number, numRuns: number): number[] {
    return fc.sample(fc.noBias(fc.nat({ max: 999_999 })), { seed: from, numRuns }).map((drawn) => drawn / 1_000_000);
  }

  function auditOf(topic: string, graceMs: number) {
    const positions = { [topic]: new Array<number>(PARTITIONS).fill(0) };
    const { connection, owlmq } = legs;
    return new ForwardAudit({ connection, owlmq, topics: [topic], positions, graceMs });
  }

  function writerOf(topic: string) {
    const { connection, owlmq } = legs;
    const errors: Error[] = [];
    const onError = (error: Error) => errors.push(error);
    return {
      errors,
      writer: new OffsetSyncWriter({ connection, owlmq, clientId, topics: [topic], role: 'audit', onError }),
    };
  }

  /** Lets logs grow in rounds: copies come late, in another order, by the audit alone. It notes after each round. */
  async function grow(topic: string): Promise<void> {
    const random = shares(seed, 20_000);
    let drawn = 0;
    const draw = (below: number) => Math.floor((random[drawn++ % random.length] ?? 0) * below);
    const audit = auditOf(topic, 3_600_000);
    const { writer, errors } = writerOf(topic);
    let late: { message: TestMessage; round: number }[] = [];
    for (let round = 0; round < 8; round++) {
      const added = Array.from({ length: PARTITIONS }, (_, partition) => messages(3 + draw(12), { partition })).flat();
      await legs.toKafka(topic, added);
      // Some come rounds later, the more the higher the partition; partition 0 is in order.
      const held = added.map((message) => {
        const isLate = draw(PARTITIONS) < (message.partition ?? 0) - 1;
        return { message, round: round + (isLate ? 1 + draw(4) : 0) };
      });
      const due = [...late, ...held].filter((one) => one.round <= round);
      late = [...late, ...held].filter((one) => one.round > round);
      const ranked = due.map(({ message }, index) => ({
        message,
        rank: message.partition === 0 ? index : index + draw(40),
      }));
      const copies = ranked.toSorted((a, b) => a.rank - b.rank).map(({ message }) => message);
      if (copies.length > 0) await legs.toOwlmq(topic, copies);
      const { checkpoint } = await audit.step();
      await writer.forward(checkpoint, { last: true });
    }
    await audit.close();
    if (late.length > 0)
      await legs.toOwlmq(
        topic,
        late.map(({ message }) => message),
      );
    await writer.close();
    expect(errors).toEqual([]);
  }

  it(`says what a reader of both logs sees, whatever was noted (seed ${seed})`, async () => {
    const topic = await legs.topic(PARTITIONS);
    await grow(topic);
    const ends = await legs.reader.ends(topic);
    const groups = Array.from({ length: 10 }, () => `syncs-test-${randomUUID()}`);
    const commits = new Map<string, number[]>();
    for (const [index, group] of groups.entries()) {
      // Drained, at the begin, and the others anywhere.
      const share = shares(seed + index, PARTITIONS);
      const offsets = ends.map((end, partition) =>
        index === 0 ? end : index === 1 ? 0 : Math.round((share[partition] ?? 0) * end),
      );
      commits.set(group, offsets);
      await admin.setGroupOffsets(group, { [topic]: offsets });
    }
    const { connection, owlmq, reader } = legs;
    const syncs = await readOffsetSyncs(reader, owlmq, [topic]);
    expect(syncs[topic]?.map((of) => of !== undefined && of.owlmqToKafka.length > 1)).toEqual(ends.map(() => true));
    const options = { connection, owlmq, groups, topics: [topic], graceMs: 0 };
    const translated = await translateToOwlmq(options);
    const unaided = await translateToOwlmq({ ...options, syncs: {} });
    const verdicts = new Set<string>();
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const kafka = (await legs.kafkaRecords(topic, partition)).map(({ headers, offset }) => ({
        id: readProvenance(headers).id ?? '',
        offset,
      }));
      const target = await legs.owlmqRecords(topic, partition);
      for (const [index, group] of groups.entries()) {
        const place = `seed ${seed}, partition ${partition}, group ${index}`;
        const committed = commits.get(group)?.[partition] ?? 0;
        const found = translated[index]?.partitions[partition];
        const unconsumed = new Set(kafka.filter(({ offset }) => offset >= committed).map(({ id }) => id));
        const delivered = target.filter(({ offset }) => offset >= (found?.target ?? Infinity)).map(({ id }) => id);
        for (const id of unconsumed) expect(delivered, place).toContain(id);
        const again = delivered.filter((id) => !unconsumed.has(id)).toSorted();
        expect(found?.redeliveredIds?.toSorted() ?? [], place).toEqual(again);
        expect(found?.redeliveries, place).toBe(again.length);
        expect(found?.verdict, place).toBe(again.length === 0 ? 'exact' : 'bounded');
        if (partition === 0) expect(found?.verdict, place).toBe('exact');
        expect(found?.target, place).toBe(unaided[index]?.partitions[partition]?.target);
        expect(found?.redeliveries, place).toBe(unaided[index]?.partitions[partition]?.redeliveries);
        verdicts.add(found?.verdict ?? 'none');
      }
    }
    expect([...verdicts].toSorted()).toEqual(['bounded', 'exact']);
  });

  async function inOrder(topic: string, count: number): Promise<void> {
    const all = messages(count, { partition: 1 });
    await legs.toKafka(topic, all);
    await legs.toOwlmq(topic, all);
  }

  async function note(topic: string): Promise<void> {
    const { writer, errors } = writerOf(topic);
    await writer.forward((await stepOf(topic)).checkpoint, { last: true });
    await writer.close();
    expect(errors).toEqual([]);
  }

  async function stepOf(topic: string) {
    const audit = auditOf(topic, 3_600_000);
    return await audit.step().finally(() => audit.close());
  }

  it('believes no syncs of a topic or an OwlMQ that was made anew', async () => {
    const topic = await legs.topic(PARTITIONS);
    await inOrder(topic, 5);
    await note(topic);
    const { reader, owlmq, connection } = legs;
    const noted = { owlmqToKafka: [[5, 5]], kafkaToOwlmq: [[5, 5]], coveredFrom: 0 };
    expect((await readOffsetSyncs(reader, owlmq, [topic]))[topic]?.[1]).toEqual(noted);

    const folder = await mkdtemp(join(tmpdir(), 'syncs-'));
    const server = await startOwlmqLocal({ data: folder, apiKeys: ['test-key'] });
    const other = new OwlmqClient({ url: server.url, apiKey: 'test-key' });
    expect(await readOffsetSyncs(reader, other, [topic])).toEqual({});
    await other.createTopic(topic, PARTITIONS);
    expect(await readOffsetSyncs(reader, other, [topic])).toEqual({});
    await Promise.all([other.close(), server.close()]);
    await rm(folder, { recursive: true });

    await legs.admin.deleteTopics({ topics: [topic] });
    await vi.waitFor(
      async () => {
        await legs.admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }], waitForLeaders: false });
        const anew = new LogReader(connection, { clientId });
        await anew.bounds(topic).finally(() => anew.close());
      },
      { timeout: 15_000, interval: 200 },
    );
    const anew = new LogReader(connection, { clientId });
    expect(await readOffsetSyncs(anew, owlmq, [topic])).toEqual({});
    await anew.close();
  });

  it('notes nothing of where OwlMQ came from once it is written first', async () => {
    const topic = await legs.topic(PARTITIONS);
    await inOrder(topic, 5);
    const routing = new RoutingWriter({ connection: legs.connection, clientId });
    const state = {
      ...{ version: 1 as const, migration: `syncs-test-${randomUUID()}`, topics: [topic], groups: [], ratio: 1 },
      ...{ primary: 'owlmq' as const, live: 'owlmq' as const, mirror: true, shadow: 'off' as const, leaseMs: 10_000 },
      ...{ writtenAt: new Date().toISOString(), reason: 'test' },
    };
    await routing.ensureTopics();
    await routing.write({ ...state, epoch: 1 });
    await note(topic);
    const syncs = async () => (await readOffsetSyncs(legs.reader, legs.owlmq, [topic]))[topic]?.[1];
    expect(await syncs()).toEqual({ owlmqToKafka: [], kafkaToOwlmq: [[5, 5]], coveredFrom: 0 });
    // Nor on the way back, where what OwlMQ alone has may be copied to Kafka later.
    await routing.write({ ...state, epoch: 2, primary: 'kafka', live: 'kafka' });
    await routing.close();
    await inOrder(topic, 3);
    await note(topic);
    expect(await syncs()).toMatchObject({
      owlmqToKafka: [],
      kafkaToOwlmq: [
        [5, 5],
        [8, 8],
      ],
    });
  });

  it('notes no end of Kafka before records that OwlMQ has, though a transaction hides them', async () => {
    const [topic, group] = [await legs.topic(PARTITIONS), `syncs-test-${randomUUID()}`];
    await inOrder(topic, 3);
    const transactionalId = `syncs-test-${randomUUID()}`;
    const producer = legs.kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    const transaction = await producer.transaction();
    await transaction.send({ topic, messages: [{ partition: 1, value: 'of a producer without the library' }] });
    await inOrder(topic, 2);
    await note(topic);
    await transaction.abort();
    await producer.disconnect();
    await vi.waitFor(async () => {
      expect((await legs.reader.ends(topic))[1]).toBe(7);
    });
    await note(topic);
    const offsets = new Array<number>(PARTITIONS).fill(0).with(1, 3);
    await admin.setGroupOffsets(group, { [topic]: offsets });
    const { connection, owlmq } = legs;
    const [found] = await translateToOwlmq({ connection, owlmq, groups: [group], topics: [topic] });
    expect(found?.partitions[1]).toMatchObject({ verdict: 'exact', target: 3 });
  });

  it('forget nothing of what was not copied when an older place of the audit is noted again', async () => {
    const [topic, group] = [await legs.topic(PARTITIONS), `syncs-test-${randomUUID()}`];
    await inOrder(topic, 3);
    const { checkpoint: earlier } = await stepOf(topic);
    await note(topic);
    await legs.toKafka(topic, messages(1, { partition: 1, copied: false }));
    await inOrder(topic, 3);
    await note(topic);
    // A worker that died before its heartbeat was kept, or one that was slow.
    const { writer, errors } = writerOf(topic);
    await writer.forward(earlier, { last: true });
    await writer.close();
    expect(errors).toEqual([]);
    const offsets = new Array<number>(PARTITIONS).fill(0).with(1, 2);
    await admin.setGroupOffsets(group, { [topic]: offsets });
    const { connection, owlmq } = legs;
    const [found] = await translateToOwlmq({ connection, owlmq, groups: [group], topics: [topic] });
    expect(found?.partitions[1]).toMatchObject({ verdict: 'refused' });
    expect(found?.partitions[1]?.reason).toMatch(/outside of coverage/);
  });

  it('tell nothing of what lies between one audit and the next', async () => {
    const [topic, group] = [await legs.topic(PARTITIONS), `syncs-test-${randomUUID()}`];
    await inOrder(topic, 3);
    await note(topic);
    await legs.toKafka(topic, messages(1, { partition: 1, copied: false }));
    await inOrder(topic, 3);
    const { connection, owlmq, reader } = legs;
    const fence = new Array<number>(PARTITIONS).fill(0);
    const audit = new MirrorAudit({
      ...{ connection, owlmq, topics: [topic], graceMs: 3_600_000 },
      kafkaPositions: { [topic]: fence.with(1, 7) },
      owlmqPositions: { [topic]: fence.with(1, 6) },
    });
    const { checkpoint } = await audit.step().finally(() => audit.close());
    const { writer, errors } = writerOf(topic);
    await writer.mirror(checkpoint, { from: { [topic]: fence.with(1, 7) }, last: true });
    await writer.close();
    expect(errors).toEqual([]);
    expect((await readOffsetSyncs(reader, owlmq, [topic]))[topic]?.[1]).toMatchObject({ coveredFrom: 7 });
    await admin.setGroupOffsets(group, { [topic]: fence.with(1, 2) });
    const options = { connection, owlmq, groups: [group], topics: [topic] };
    const partition = async () => (await translateToOwlmq(options))[0]?.partitions[1];
    const refusal = { verdict: 'refused', reason: expect.stringMatching(/outside of coverage.*offsets 3/) as unknown };
    expect(await partition()).toMatchObject(refusal);
    // What is not known is looked at.
    await admin.setGroupOffsets(group, { [topic]: fence.with(1, 5) });
    expect(await partition()).toMatchObject({ verdict: 'exact', target: 4 });
  });

  it('waits for the copies of the newest records, and no longer than it is told', async () => {
    const [topic, group] = [await legs.topic(PARTITIONS), `syncs-test-${randomUUID()}`];
    await inOrder(topic, 4);
    const last = messages(1, { partition: 1 });
    await legs.toKafka(topic, last);
    const offsets = new Array<number>(PARTITIONS).fill(0);
    await admin.setGroupOffsets(group, { [topic]: offsets });
    const { connection, owlmq } = legs;
    const options = { connection, groups: [group], topics: [topic] };
    const verdict = async (api: OwlmqApi, graceMs: number) =>
      (await translateToOwlmq({ ...options, owlmq: api, graceMs }))[0]?.partitions[1]?.verdict;
    expect(await verdict(owlmq, 0)).toBe('refused');
    // The copy comes once it was looked for in vain.
    let looked = 0;
    const slow = Object.assign(Object.create(owlmq) as OwlmqApi, {
      lookup: async (...args: Parameters<OwlmqApi['lookup']>) => {
        const places = await owlmq.lookup(...args);
        // First to find where to read, then for the missing one.
        if (places.includes(undefined) && ++looked === 2) await legs.toOwlmq(topic, last);
        return places;
      },
      describeTopic: owlmq.describeTopic.bind(owlmq),
      readHeads: owlmq.readHeads.bind(owlmq),
      read: owlmq.read.bind(owlmq),
    });
    expect(await verdict(slow, 20_000)).toBe('exact');
    expect(looked).toBeGreaterThan(1);
  });
});
