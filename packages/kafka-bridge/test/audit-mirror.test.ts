import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MirrorAudit, type MirrorAuditOptions } from '../src/audit/mirror-audit.js';
import { foreignMessageId, readProvenance } from '../src/message/headers.js';
import { Legs, messages } from './audit-legs.js';

describe('MirrorAudit', () => {
  let legs: Legs;
  const opened: MirrorAudit[] = [];
  beforeAll(async () => {
    legs = await Legs.start();
  });
  afterAll(async () => {
    await Promise.all(opened.map((audit) => audit.close()));
    await legs.stop();
  });

  function audit(topic: string, options: Partial<MirrorAuditOptions> = {}, partitions = 1): MirrorAudit {
    const zeros = { [topic]: new Array<number>(partitions).fill(0) };
    const made = new MirrorAudit({
      connection: legs.connection,
      owlmq: legs.owlmq,
      topics: [topic],
      owlmqPositions: zeros,
      kafkaPositions: zeros,
      graceMs: 5_000,
      ...options,
    });
    opened.push(made);
    return made;
  }

  /** Ids in the order of a Kafka partition. */
  async function kafkaIds(topic: string, partition = 0) {
    return (await legs.kafkaRecords(topic, partition)).map(({ headers }) => readProvenance(headers).id);
  }

  it('proves mirror copies in any order, and writes none', async () => {
    const topic = await legs.topic(2);
    const all = messages(40).map((message, index) => ({ ...message, partition: index % 2 }));
    const offsets = await legs.toOwlmq(topic, all);
    await legs.toKafka(topic, all.toReversed(), offsets.toReversed());
    const report = await audit(topic, {}, 2).step();
    expect(report).toMatchObject({ complete: true, unchecked: 0, waiting: 0 });
    expect(report.checkpoint).toMatchObject({ owlmq: { [topic]: [20, 20] }, kafka: { [topic]: [20, 20] } });
    const figures = report.checkpoint.figures[topic];
    expect(figures).toMatchObject({ copied: 40, missing: 0, repaired: 0, forwarded: 0, duplicates: 0, fromKafka: 0 });
    expect(figures?.owlmq).toEqual(figures?.kafka);
  });

  it('writes to Kafka what is missing there, once, and nothing on a second pass', async () => {
    const topic = await legs.topic();
    const all = messages(50);
    const offsets = await legs.toOwlmq(topic, all);
    const kept = all.map((_, index) => index).filter((index) => index % 4 !== 1);
    await legs.toKafka(
      topic,
      kept.flatMap((index) => all[index] ?? []),
      kept.flatMap((index) => offsets[index] ?? []),
    );
    const under = audit(topic, { graceMs: 0 });
    const report = await under.step();
    expect(report.complete).toBe(true);
    expect(report.checkpoint.figures[topic]).toMatchObject({ copied: 50, missing: 13, repaired: 13, forwarded: 0 });
    const records = await legs.kafkaRecords(topic);
    expect(records).toHaveLength(50);
    for (const record of records.slice(kept.length)) {
      const { id, source, via } = readProvenance(record.headers);
      const index = all.findIndex((message) => message.id === id);
      expect(index % 4).toBe(1);
      expect(via).toBe('audit');
      expect(source).toEqual({ leg: 'owlmq', partition: 0, offset: offsets[index] });
      expect(record.key?.toString()).toBe(all[index]?.key);
      expect(record.value?.toString()).toBe(`value of ${id ?? ''}`);
      expect(record.headers['custom']?.toString()).toBe(`of ${id ?? ''}`);
    }
    // No echo: neither by the same audit, nor by one that begins anew.
    expect((await under.step()).checkpoint.figures[topic]).toMatchObject({ repaired: 13, forwarded: 0 });
    const anew = await audit(topic).step();
    expect(anew).toMatchObject({ complete: true });
    expect(anew.checkpoint.figures[topic]).toMatchObject({ copied: 50, repaired: 0, forwarded: 0 });
    expect(await kafkaIds(topic)).toHaveLength(50);
    expect(await legs.owlmqRecords(topic)).toHaveLength(50);
  });

  it('forwards what a late publisher wrote to Kafka alone, and what has no id, without an echo', async () => {
    const topic = await legs.topic();
    const [both, zombie, foreign] = [messages(5), messages(4, { copied: false }), messages(2, { foreign: true })];
    await legs.toKafka(topic, both, await legs.toOwlmq(topic, both));
    const zombieOffsets = await legs.toKafka(topic, zombie);
    const foreignOffsets = await legs.toKafka(topic, foreign);
    const under = audit(topic);
    await under.step();
    const report = await under.step();
    expect(report.complete).toBe(true);
    expect(report.checkpoint.figures[topic]).toMatchObject({
      missing: 4,
      repaired: 4,
      late: 4,
      foreign: 2,
      forwarded: 2,
      fromKafka: 6,
    });
    const forwarded = (await legs.owlmqRecords(topic)).slice(5);
    expect(forwarded.map(({ id }) => id)).toEqual([
      ...zombie.map(({ id }) => id),
      ...foreignOffsets.map((offset) => foreignMessageId(topic, 0, offset)),
    ]);
    expect(readProvenance(Object.fromEntries(forwarded[0]?.headers ?? []))).toMatchObject({
      id: zombie[0]?.id,
      via: 'audit',
      source: { leg: 'kafka', partition: 0, offset: zombieOffsets[0] },
    });
    expect(readProvenance(Object.fromEntries(forwarded[4]?.headers ?? []))).toMatchObject({
      id: undefined,
      via: 'forward',
      source: { leg: 'kafka', partition: 0, offset: foreignOffsets[0] },
    });
    const anew = await audit(topic).step();
    expect(anew).toMatchObject({ complete: true });
    expect(anew.checkpoint.figures[topic]).toMatchObject({ forwarded: 2, repaired: 0, copied: 5, fromKafka: 6 });
    expect(await legs.owlmqRecords(topic)).toHaveLength(11);
    expect(await legs.kafkaRecords(topic)).toHaveLength(11);
  });

  it('waits for young counterparts on both legs', async () => {
    const topic = await legs.topic();
    const [first, second, stray] = [messages(1), messages(1, { ageMs: 0 }), messages(1, { ageMs: 0 })];
    const offsets = await legs.toOwlmq(topic, [...first, ...second]);
    await legs.toKafka(topic, first, offsets);
    await legs.toKafka(topic, stray);
    const under = audit(topic, { graceMs: 600_000 });
    const waiting = await under.step();
    expect(waiting).toMatchObject({ complete: false, unchecked: 1, waiting: 2 });
    expect(waiting.checkpoint.owlmq).toEqual({ [topic]: [1] });
    await legs.toKafka(topic, second, offsets.slice(1));
    await legs.toOwlmq(topic, stray);
    const next = await under.step();
    expect(next.checkpoint.figures[topic]).toMatchObject({ copied: 2, missing: 0, repaired: 0, forwarded: 0 });
    expect(await legs.kafkaRecords(topic)).toHaveLength(3);
  });

  it('leaves the publisher of an old message, which was held, the time to write its own copy', async () => {
    const topic = await legs.topic();
    const held = messages(3, { ageMs: 3_600_000 });
    const offsets = await legs.toOwlmq(topic, held);
    const under = audit(topic, { graceMs: 600_000 });
    const waiting = await under.step();
    expect(waiting).toMatchObject({ complete: false, waiting: 3 });
    expect(waiting.oldestUnprovenMs).toBeLessThan(600_000);
    await legs.toKafka(topic, held, offsets);
    const next = await under.step();
    expect(next.checkpoint.figures[topic]).toMatchObject({ copied: 3, repaired: 0, duplicates: 0 });
    expect(await kafkaIds(topic)).toEqual(held.map(({ id }) => id));
  });

  it('proves Kafka up to the fence without waiting for the grace', async () => {
    const topic = await legs.topic();
    const all = messages(12, { ageMs: 0 });
    const offsets = await legs.toOwlmq(topic, all);
    await legs.toKafka(topic, all.slice(0, 5), offsets);
    const report = await audit(topic, { graceMs: 600_000 }).step({ until: { [topic]: [12] }, maxMs: 20_000 });
    expect(report).toMatchObject({ complete: true, unchecked: 0, waiting: 0 });
    expect(report.checkpoint.figures[topic]).toMatchObject({ copied: 12, repaired: 7 });
    expect((await kafkaIds(topic)).toSorted()).toEqual(all.map(({ id }) => id).toSorted());
  });

  it('goes on from any checkpoint without writing twice', async () => {
    const topic = await legs.topic();
    const all = messages(30);
    const offsets = await legs.toOwlmq(topic, all.slice(0, 20));
    await legs.toKafka(topic, all.slice(0, 7), offsets);
    const begin = audit(topic, { graceMs: 0 });
    const saved = begin.checkpoint;
    // A step whose checkpoint is lost, as with SIGKILL directly behind its writes.
    await begin.step();
    const resumed = audit(topic, { checkpoint: JSON.parse(JSON.stringify(saved)) as typeof saved });
    const middle = await resumed.step();
    expect(middle.checkpoint.figures[topic]).toMatchObject({ copied: 20, repaired: 0 });
    expect(await legs.kafkaRecords(topic)).toHaveLength(20);
    // And one that is kept: it counts on.
    await legs.toOwlmq(topic, all.slice(20));
    const checkpoint = JSON.parse(JSON.stringify(middle.checkpoint)) as typeof saved;
    expect(checkpoint).toEqual(middle.checkpoint);
    const last = await audit(topic, { checkpoint, graceMs: 0 }).step();
    expect(last.checkpoint.figures[topic]).toMatchObject({ copied: 30, repaired: 10 });
    expect((await kafkaIds(topic)).toSorted()).toEqual(all.map(({ id }) => id).toSorted());
  });

  it('resumes from a checkpoint taken while records were waited for', async () => {
    const topic = await legs.topic();
    const all = messages(6, { ageMs: 0 });
    const offsets = await legs.toOwlmq(topic, all);
    const copied = [0, 1, 3, 5];
    await legs.toKafka(
      topic,
      copied.flatMap((index) => all[index] ?? []),
      copied.flatMap((index) => offsets[index] ?? []),
    );
    const { checkpoint } = await audit(topic, { graceMs: 600_000 }).step();
    expect(checkpoint.owlmq).toEqual({ [topic]: [2] });
    // The copies of 3 and 5 are needed again: Kafka's position stays before them.
    expect(checkpoint.kafka[topic]?.[0]).toBeLessThanOrEqual(2);
    const report = await audit(topic, { checkpoint }).step({ until: { [topic]: [6] } });
    expect(report.complete).toBe(true);
    expect(report.checkpoint.figures[topic]).toMatchObject({ copied: 6, repaired: 2 });
    expect(await legs.kafkaRecords(topic)).toHaveLength(6);
  });

  it('finds a copy that arrived between its last read of Kafka and the repair', async () => {
    const topic = await legs.topic();
    const all = messages(2);
    const offsets = await legs.toOwlmq(topic, all);
    let late: Promise<number[]> | undefined;
    // The audit re-reads from OwlMQ what it is about to write to Kafka: the publisher is just faster.
    const owlmq = new Proxy(legs.owlmq, {
      get(target, name) {
        if (name !== 'read') {
          const value: unknown = Reflect.get(target, name);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        }
        return async (...call: Parameters<typeof target.read>) => {
          const answer = await target.read(...call);
          if (call[3]?.maxRecords === 200) await (late ??= legs.toKafka(topic, all, offsets));
          return answer;
        };
      },
    });
    const report = await audit(topic, { owlmq, graceMs: 0 }).step();
    expect(late).toBeDefined();
    expect(report.checkpoint.figures[topic]).toMatchObject({ copied: 2, missing: 0, repaired: 0 });
    expect(await legs.kafkaRecords(topic)).toHaveLength(2);
  });

  it('repairs more than it can hold, in many short steps that each resume from the last checkpoint', async () => {
    const topic = await legs.topic();
    const all = messages(11_000);
    await legs.toOwlmq(topic, all);
    let report = await audit(topic, { graceMs: 0 }).step({ maxMs: 1 });
    let steps = 1;
    for (; !report.complete && steps < 200; steps++) {
      report = await audit(topic, { checkpoint: report.checkpoint, graceMs: 0 }).step({ maxMs: 300 });
    }
    expect(steps).toBeGreaterThan(2);
    expect(report.checkpoint.figures[topic]).toMatchObject({ copied: 11_000, repaired: 11_000, fromKafka: 0 });
    const ids = await kafkaIds(topic);
    // In OwlMQ's order, each once.
    expect(ids).toEqual(all.map(({ id }) => id));
    const { checkpoint } = await audit(topic, { checkpoint: report.checkpoint }).step();
    expect(checkpoint.kafka).toEqual({ [topic]: [11_000] });
    expect(checkpoint.figures[topic]?.kafka).toEqual(checkpoint.figures[topic]?.owlmq);
  });

  it('fails closed when retention passed a position, or OwlMQ ends before it', async () => {
    const topic = await legs.topic();
    const all = messages(6);
    await legs.toKafka(topic, all, await legs.toOwlmq(topic, all));
    await legs.retain(topic, 4);
    await expect(audit(topic).step()).rejects.toMatchObject({
      name: 'AuditPositionLostError',
      leg: 'kafka',
      position: 0,
      beginOffset: 4,
    });
    const shorter = await legs.topic();
    const beyond = audit(shorter, { owlmqPositions: { [shorter]: [3] } });
    await expect(beyond.step()).rejects.toMatchObject({ name: 'AuditPositionLostError', leg: 'owlmq', position: 3 });
  });

  it('gives OwlMQ back what it lost and Kafka has copies of', async () => {
    const topic = await legs.topic();
    const all = messages(6);
    await legs.toKafka(topic, all, [0, 1, 2, 3, 4, 5]);
    const report = await audit(topic).step();
    expect(report).toMatchObject({ complete: true });
    expect(report.checkpoint.figures[topic]).toMatchObject({ missing: 6, repaired: 6, late: 6, foreign: 0 });
    expect((await legs.owlmqRecords(topic)).map(({ id }) => id)).toEqual(all.map(({ id }) => id));
    expect(await legs.kafkaRecords(topic)).toHaveLength(6);
  });
});
