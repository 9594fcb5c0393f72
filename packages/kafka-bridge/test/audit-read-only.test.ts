import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ForwardAudit } from '../src/audit/forward-audit.js';
import { MirrorAudit } from '../src/audit/mirror-audit.js';
import { Legs, messages } from './audit-legs.js';

describe('an audit that does not repair', () => {
  let legs: Legs;
  const opened: { close: () => Promise<void> }[] = [];
  beforeAll(async () => {
    legs = await Legs.start();
  });
  afterAll(async () => {
    await Promise.all(opened.map((audit) => audit.close()));
    await legs.stop();
  });

  function open<T extends { close: () => Promise<void> }>(audit: T): T {
    opened.push(audit);
    return audit;
  }

  function forward(topic: string, graceMs: number): ForwardAudit {
    const { connection, owlmq } = legs;
    const positions = { [topic]: [0] };
    return open(new ForwardAudit({ connection, owlmq, topics: [topic], positions, graceMs, repair: false }));
  }

  function mirror(topic: string, graceMs: number): MirrorAudit {
    const { connection, owlmq } = legs;
    const from = { owlmqPositions: { [topic]: [0] }, kafkaPositions: { [topic]: [0] } };
    return open(new MirrorAudit({ connection, owlmq, topics: [topic], ...from, graceMs, repair: false }));
  }

  it('counts copies that OwlMQ lacks, passes them, and writes none', async () => {
    const topic = await legs.topic();
    const all = messages(30);
    await legs.toKafka(topic, all);
    await legs.toOwlmq(
      topic,
      all.filter((_, index) => index % 10 !== 4),
    );
    await legs.toKafka(topic, messages(2, { copied: false }));
    const report = await forward(topic, 5_000).step();
    expect(report).toMatchObject({ complete: true, unchecked: 0 });
    expect(report.checkpoint.figures[topic]).toMatchObject({
      ...{ kafka: { messages: 32 }, owlmq: { messages: 27 } },
      ...{ copied: 27, notCopied: 2, missing: 3, repaired: 0 },
    });
    // What lacks a copy is not covered.
    expect(report.checkpoint.coverage[topic]).toEqual([32]);
    expect(await legs.owlmqRecords(topic)).toHaveLength(27);
  });

  it('waits for a copy that is younger than the grace', async () => {
    const topic = await legs.topic();
    const young = messages(3, { ageMs: 0 });
    await legs.toKafka(topic, young);
    const audit = forward(topic, 60_000);
    expect(await audit.step()).toMatchObject({ complete: false, unchecked: 3, waiting: 3 });
    await legs.toOwlmq(topic, young);
    const { checkpoint } = await audit.step();
    expect(checkpoint.figures[topic]).toMatchObject({ copied: 3, missing: 0 });
  });

  it('counts what either leg lacks, both ways, and writes to neither', async () => {
    const topic = await legs.topic();
    const [both, owlmqAlone, kafkaAlone] = [messages(20), messages(4), messages(3)];
    await legs.toKafka(topic, both, await legs.toOwlmq(topic, both));
    await legs.toOwlmq(topic, owlmqAlone);
    await legs.toKafka(topic, kafkaAlone);
    await legs.toKafka(topic, messages(2, { foreign: true }));
    const audit = mirror(topic, 0);
    const report = await audit.step();
    expect(report).toMatchObject({ complete: true, unchecked: 0 });
    const counted = {
      ...{ owlmq: { messages: 24 }, kafka: { messages: 25 }, copied: 20, foreign: 2 },
      ...{ missing: 7, late: 3, repaired: 0, forwarded: 0 },
    };
    expect(report.checkpoint.figures[topic]).toMatchObject(counted);
    expect((await audit.step()).checkpoint.figures[topic]).toMatchObject(counted);
    expect(await legs.owlmqRecords(topic)).toHaveLength(24);
    expect(await legs.kafkaRecords(topic)).toHaveLength(25);
  });

  it('calls no record missing early, however many lack their counterpart', async () => {
    const topic = await legs.topic();
    const many = messages(2_500, { ageMs: 0 });
    await legs.toKafka(topic, many);
    const audit = mirror(topic, 60_000);
    const early = await audit.step({ maxMs: 2_000 });
    expect(early.complete).toBe(false);
    expect(early.checkpoint.figures[topic]).toMatchObject({ kafka: { messages: 0 }, late: 0 });
    const late = await mirror(topic, 0).step();
    expect(late.checkpoint.figures[topic]).toMatchObject({ kafka: { messages: 2_500 }, late: 2_500 });
  });
});
