import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AuditPositionLostError } from '../src/audit/audit-errors.js';
import { ForwardAudit, type ForwardAuditOptions } from '../src/audit/forward-audit.js';
import { HEADER, readProvenance } from '../src/message/headers.js';
import { Legs, messages } from './audit-legs.js';

describe('ForwardAudit', () => {
  let legs: Legs;
  const opened: ForwardAudit[] = [];
  beforeAll(async () => {
    legs = await Legs.start();
  });
  afterAll(async () => {
    await Promise.all(opened.map((audit) => audit.close()));
    await legs.stop();
  });

  function audit(topic: string, options: Partial<ForwardAuditOptions> = {}, partitions = 1): ForwardAudit {
    const made = new ForwardAudit({
      connection: legs.connection,
      owlmq: legs.owlmq,
      topics: [topic],
      positions: { [topic]: new Array<number>(partitions).fill(0) },
      graceMs: 5_000,
      ...options,
    });
    opened.push(made);
    return made;
  }

  it('proves copies that are there, and writes none', async () => {
    const topic = await legs.topic(3);
    const all = messages(90).map((message, index) => ({ ...message, partition: index % 3 }));
    await legs.toKafka(topic, all);
    await legs.toOwlmq(topic, all);
    const report = await audit(topic, {}, 3).step();
    expect(report).toMatchObject({ complete: true, unchecked: 0, waiting: 0 });
    expect(report.checkpoint.positions).toEqual({ [topic]: [30, 30, 30] });
    expect(report.checkpoint.coverage).toEqual({ [topic]: [0, 0, 0] });
    const figures = report.checkpoint.figures[topic];
    expect(figures).toMatchObject({ copied: 90, missing: 0, repaired: 0, inversions: 0, foreign: 0, misplaced: 0 });
    expect(figures?.kafka.messages).toBe(90);
    expect(figures?.owlmq).toEqual(figures?.kafka);
  });

  it('keeps all headers of a name that came several times', async () => {
    const topic = await legs.topic();
    const [message] = messages(1);
    if (message === undefined) throw new Error('There is no message.');
    await legs.producer.send({
      topic,
      messages: [
        {
          value: 'x',
          timestamp: String(Date.now() - 60_000),
          headers: { [HEADER.id]: message.id, [HEADER.copied]: '1', trace: ['a', 'b', 'a'], ['__proto__']: 'c' },
        },
      ],
    });
    const { checkpoint } = await audit(topic).step();
    expect(checkpoint.figures[topic]).toMatchObject({ repaired: 1 });
    const [copy] = await legs.owlmqRecords(topic);
    const own = copy?.headers
      .filter(([name]) => !name.startsWith('owlmq-'))
      .map(([name, value]) => [name, value.toString()]);
    expect(own).toEqual([...['a', 'b', 'a'].map((value) => ['trace', value]), ['__proto__', 'c']]);
  });

  it('repairs planted gaps exactly once, with the same content and the Kafka position', async () => {
    const topic = await legs.topic();
    const all = messages(60);
    await legs.toKafka(topic, all);
    const gaps = all.filter((_, index) => index % 5 === 3);
    await legs.toOwlmq(
      topic,
      all.filter((message) => !gaps.includes(message)),
    );
    const first = await audit(topic).step();
    expect(first.complete).toBe(true);
    expect(first.checkpoint.figures[topic]).toMatchObject({ copied: 60, missing: 12, repaired: 12 });

    const records = await legs.owlmqRecords(topic);
    expect(records.map(({ id }) => id).toSorted()).toEqual(all.map(({ id }) => id).toSorted());
    for (const gap of gaps) {
      const record = records.find(({ id }) => id === gap.id);
      expect(record?.key?.toString()).toBe(gap.key);
      expect(record?.value?.toString()).toBe(`value of ${gap.id}`);
      const headers = Object.fromEntries(record?.headers ?? []);
      expect(headers['custom']?.toString()).toBe(`of ${gap.id}`);
      expect(readProvenance(headers)).toMatchObject({
        id: gap.id,
        via: 'audit',
        source: { leg: 'kafka', partition: 0, offset: all.indexOf(gap) },
      });
    }
    // Again from the begin, as after a crash before the first checkpoint.
    const second = await audit(topic).step();
    expect(second.checkpoint.figures[topic]).toMatchObject({ copied: 60, missing: 0, repaired: 0 });
    expect(await legs.owlmqRecords(topic)).toHaveLength(60);
  });

  it('waits for a young copy, and counts it as copied when it comes', async () => {
    const topic = await legs.topic();
    const [old, young] = [messages(3), messages(3, { ageMs: 0 })];
    await legs.toKafka(topic, [...old, ...young]);
    await legs.toOwlmq(topic, old);
    const under = audit(topic, { graceMs: 600_000 });
    const waiting = await under.step();
    expect(waiting).toMatchObject({ complete: false, unchecked: 3, waiting: 3 });
    expect(waiting.oldestUnprovenMs).toBeGreaterThanOrEqual(0);
    expect(waiting.checkpoint.positions).toEqual({ [topic]: [3] });
    expect(waiting.checkpoint.figures[topic]?.copied).toBe(3);
    await legs.toOwlmq(topic, young);
    const proven = await under.step();
    expect(proven.complete).toBe(true);
    expect(proven.checkpoint.figures[topic]).toMatchObject({ copied: 6, missing: 0, repaired: 0 });
  });

  it('repairs a record from a clock that runs ahead, once it was missed for the grace', async () => {
    const topic = await legs.topic();
    await legs.toKafka(topic, messages(1, { ageMs: -600_000 }));
    const under = audit(topic, { graceMs: 300 });
    expect((await under.step()).complete).toBe(false);
    await expect.poll(async () => (await under.step()).complete, { timeout: 10_000 }).toBe(true);
    expect(under.checkpoint.figures[topic]?.repaired).toBe(1);
  });

  it('goes exactly to the fence, without waiting for the grace', async () => {
    const topic = await legs.topic();
    const all = messages(10, { ageMs: 0 });
    await legs.toKafka(topic, all);
    await legs.toOwlmq(topic, all.slice(0, 4));
    const report = await audit(topic, { graceMs: 600_000 }).step({ until: { [topic]: [7] }, maxMs: 20_000 });
    expect(report).toMatchObject({ complete: true, unchecked: 0, waiting: 0 });
    expect(report.checkpoint.positions).toEqual({ [topic]: [7] });
    expect(report.checkpoint.figures[topic]).toMatchObject({ copied: 7, repaired: 3 });
    expect(await legs.owlmqRecords(topic)).toHaveLength(7);
  });

  it('does not report the fence as reached while the log ends before it', async () => {
    const topic = await legs.topic();
    await legs.toKafka(topic, messages(2));
    const report = await audit(topic).step({ until: { [topic]: [5] }, maxMs: 300 });
    expect(report).toMatchObject({ complete: false, unchecked: 3 });
  });

  it('goes on from a checkpoint that went through JSON, and counts on', async () => {
    const topic = await legs.topic();
    const all = messages(20);
    await legs.toKafka(topic, all.slice(0, 10));
    await legs.toOwlmq(topic, all.slice(0, 9));
    const { checkpoint } = await audit(topic).step();
    const saved: unknown = JSON.parse(JSON.stringify(checkpoint));
    expect(saved).toEqual(checkpoint);
    await legs.toKafka(topic, all.slice(10));
    await legs.toOwlmq(topic, all.slice(10, 19));
    const resumed = await audit(topic, { checkpoint: saved as typeof checkpoint }).step();
    expect(resumed.checkpoint.figures[topic]).toMatchObject({ copied: 20, missing: 2, repaired: 2 });
    expect(resumed.checkpoint.figures[topic]?.kafka.messages).toBe(20);
  });

  it('fails closed when retention passed the position', async () => {
    const topic = await legs.topic();
    await legs.toKafka(topic, messages(10));
    await legs.retain(topic, 6);
    const under = audit(topic, { positions: { [topic]: [2] } });
    const failure: unknown = await under.step().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(AuditPositionLostError);
    expect(failure).toMatchObject({ leg: 'kafka', topic, partition: 0, position: 2, beginOffset: 6, endOffset: 10 });
    expect(under.checkpoint.positions).toEqual({ [topic]: [2] });
    expect(await legs.owlmqRecords(topic)).toHaveLength(0);
  });

  it('counts foreign and uncopied records, and says from where coverage holds', async () => {
    const topic = await legs.topic();
    const all = messages(8).map((message, index) => ({
      ...message,
      copied: index !== 1,
      foreign: index === 4,
    }));
    await legs.toKafka(topic, all);
    const report = await audit(topic).step();
    expect(report.complete).toBe(true);
    expect(report.checkpoint.figures[topic]).toMatchObject({ copied: 6, notCopied: 1, foreign: 1, repaired: 6 });
    expect(report.checkpoint.coverage).toEqual({ [topic]: [5] });
    expect(await legs.owlmqRecords(topic)).toHaveLength(6);
  });

  it('counts inversions within a key, not between keys, and duplicates on Kafka apart', async () => {
    const topic = await legs.topic();
    const [a1, a2, b1, a3] = ['a', 'a', 'b', 'a'].flatMap((key) => messages(1, { key }));
    if (a1 === undefined || a2 === undefined || b1 === undefined || a3 === undefined) throw new Error('unreachable');
    await legs.toKafka(topic, [a1, a2, b1, a3, a1]);
    await legs.toOwlmq(topic, [b1, a2, a1, a3]);
    const report = await audit(topic).step();
    expect(report.checkpoint.figures[topic]).toMatchObject({ copied: 5, inversions: 1, duplicates: 1 });
  });

  it('repairs many pages in short steps that each resume from the last checkpoint', async () => {
    const topic = await legs.topic(2);
    const all = messages(16_000).map((message, index) => ({ ...message, partition: index % 2 }));
    await legs.toKafka(topic, all);
    await legs.toOwlmq(
      topic,
      all.filter((_, index) => index % 3 === 0),
    );
    let report = await audit(topic, {}, 2).step({ maxMs: 1 });
    let steps = 1;
    for (; !report.complete && steps < 200; steps++) {
      report = await audit(topic, { checkpoint: report.checkpoint }, 2).step({ maxMs: 1 });
    }
    expect(steps).toBeGreaterThan(1);
    const missing = all.length - Math.ceil(all.length / 3);
    expect(report.checkpoint.figures[topic]).toMatchObject({ copied: 16_000, missing, repaired: missing });
    const [first, second] = [await legs.owlmqRecords(topic, 0), await legs.owlmqRecords(topic, 1)];
    expect([...first, ...second].map(({ id }) => id).toSorted()).toEqual(all.map(({ id }) => id).toSorted());
  });

  it('stops when it is told to', async () => {
    const topic = await legs.topic();
    await legs.toKafka(topic, messages(3));
    const stopping = new AbortController();
    stopping.abort(new Error('told to stop'));
    const under = audit(topic);
    await expect(under.step({ signal: stopping.signal })).rejects.toThrow('told to stop');
    expect(under.checkpoint.positions).toEqual({ [topic]: [0] });
    expect(await legs.owlmqRecords(topic)).toHaveLength(0);
  });
});
