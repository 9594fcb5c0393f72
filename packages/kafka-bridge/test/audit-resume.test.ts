import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  mergeForwardCheckpoints,
  mergeMirrorCheckpoints,
  splitForwardCheckpoint,
  splitMirrorCheckpoint,
  type ForwardCheckpoint,
} from '../src/audit/checkpoints.js';
import { ForwardAudit, type ForwardAuditOptions } from '../src/audit/forward-audit.js';
import { MirrorAudit, type MirrorAuditOptions } from '../src/audit/mirror-audit.js';
import { MissedSince } from '../src/audit/missed-since.js';
import { parityRates } from '../src/audit/parity.js';
import { Legs, messages } from './audit-legs.js';
import { runAudit } from './audit-process.js';
import { seeded } from './consumer-harness.js';

describe('an audit that goes on elsewhere', () => {
  let legs: Legs;
  const opened: { close: () => Promise<void> }[] = [];
  beforeAll(async () => {
    legs = await Legs.start();
  });
  afterAll(async () => {
    await Promise.all(opened.map((audit) => audit.close()));
    await legs.stop();
  });

  function options(topic: string, partitions: number): Omit<ForwardAuditOptions, 'owlmq'> {
    const positions = { [topic]: new Array<number>(partitions).fill(0) };
    return { connection: legs.connection, topics: [topic], positions, graceMs: 5_000 };
  }

  function forward(topic: string, partitions: number, change: Partial<ForwardAuditOptions> = {}): ForwardAudit {
    const audit = new ForwardAudit({ ...options(topic, partitions), owlmq: legs.owlmq, ...change });
    opened.push(audit);
    return audit;
  }

  function mirror(topic: string, partitions: number, change: Partial<MirrorAuditOptions> = {}): MirrorAudit {
    const zeros = { [topic]: new Array<number>(partitions).fill(0) };
    const audit = new MirrorAudit({
      ...{ connection: legs.connection, owlmq: legs.owlmq, topics: [topic], graceMs: 5_000 },
      ...{ owlmqPositions: zeros, kafkaPositions: zeros },
      ...change,
    });
    opened.push(audit);
    return audit;
  }

  it('writes each copy once, and counts right, killed again and again in the middle of its repairs', async () => {
    const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));
    const random = seeded(seed);
    const topic = await legs.topic(3);
    const all = messages(24_000).map((message, index) => ({
      ...{ ...message, partition: index % 3 },
      ...(index % 10 === 0 ? { foreign: true } : {}),
    }));
    await legs.toKafka(topic, all);
    await legs.toOwlmq(
      topic,
      all.filter((_, index) => index % 4 === 1),
    );
    const child = {
      ...options(topic, 3),
      ...{ owlmq: { url: legs.server.url, apiKey: 'test-key' }, stepMs: 20 },
      forward: { topics: [topic], ratio: 1 },
    };
    let checkpoint: ForwardCheckpoint | undefined;
    let kills = 0;
    for (; kills < 6; kills++) {
      // A process needs about half a second to its first repair.
      const told = await runAudit({ ...child, checkpoint }, 500 + random() * 600);
      if (told?.complete === true) break;
      checkpoint = told?.checkpoint ?? checkpoint;
    }
    const last = await runAudit({ ...child, checkpoint });
    expect(last?.complete, `SEED=${seed}`).toBe(true);
    expect(kills).toBeGreaterThan(1);
    const figures = last?.checkpoint.figures[topic];
    expect(figures, `SEED=${seed}`).toMatchObject({ copied: 21_600, foreign: 2_400, forwarded: 2_400, duplicates: 0 });
    expect(figures?.kafka.messages).toBe(24_000);
    expect(figures?.owlmq).toEqual(figures?.kafka);
    // Copies that were written and not noted before a kill are not missing any more.
    expect(figures?.repaired).toBeLessThanOrEqual(16_800);
    const copies = await Promise.all([0, 1, 2].map((partition) => legs.owlmqRecords(topic, partition)));
    const ids = copies.flat().map(({ id }) => id);
    expect(ids).toHaveLength(24_000);
    expect(new Set(ids).size).toBe(24_000);
  });

  it('holds few bytes at a time, however many partitions and however large the records', async () => {
    const partitions = 24;
    const topic = await legs.topic(partitions);
    const value = Buffer.alloc(900_000, 'x');
    for (let partition = 0; partition < partitions; partition++) {
      for (let index = 0; index < 8; index++) {
        await legs.producer.send({ topic, messages: [{ partition, value, timestamp: String(Date.now() - 60_000) }] });
      }
    }
    const owlmq = { url: legs.server.url, apiKey: 'test-key' };
    const forwarding = { forward: { topics: [topic], ratio: 1 }, stepMs: 60_000 };
    const told = await runAudit({ ...options(topic, partitions), owlmq, ...forwarding });
    expect(told).toMatchObject({ complete: true });
    expect(told?.checkpoint.figures[topic]).toMatchObject({ forwarded: 8 * partitions });
    // 173 MB pass. Four partitions at once hold two reads of Kafka of a megabyte and a batch to write each.
    expect(told?.peakBytes).toBeLessThan(100 * 1024 * 1024);
  });

  it('is shared by partitions, and made one again', async () => {
    const topic = await legs.topic(4);
    const all = messages(400).map((message, index) => ({ ...message, partition: index % 4 }));
    await legs.toKafka(topic, all.slice(0, 200));
    const before = (await forward(topic, 4).step()).checkpoint;
    await legs.toKafka(topic, all.slice(200));
    const shards = splitForwardCheckpoint(before, 3);
    const owned = [[0, 3], [1], [2]];
    const parts = await Promise.all(
      shards.map(async (checkpoint, index) => {
        const share = { checkpoint, partitions: { [topic]: owned[index] ?? [] } };
        const report = await forward(topic, 4, share).step();
        expect(report.complete).toBe(true);
        return report.checkpoint;
      }),
    );
    expect(parts[1]?.positions).toEqual({ [topic]: [50, 100, 50, 50] });
    const merged = mergeForwardCheckpoints(parts);
    expect(merged.positions).toEqual({ [topic]: [100, 100, 100, 100] });
    expect(merged.figures[topic]).toMatchObject({ copied: 400, missing: 400, repaired: 400 });
    expect(merged.figures[topic]?.kafka.messages).toBe(400);
    expect(merged).toEqual((await forward(topic, 4, { checkpoint: merged }).step()).checkpoint);

    const whole = mirror(topic, 4).checkpoint;
    const mirrored = await Promise.all(
      splitMirrorCheckpoint(whole, 2).map(async (checkpoint, index) => {
        const share = { checkpoint, partitions: { [topic]: [2 * index, 2 * index + 1] } };
        return (await mirror(topic, 4, share).step()).checkpoint;
      }),
    );
    const one = mergeMirrorCheckpoints(mirrored);
    expect(one).toMatchObject({ owlmq: { [topic]: [100, 100, 100, 100] }, kafka: { [topic]: [100, 100, 100, 100] } });
    expect(one.figures[topic]).toMatchObject({ fromKafka: 400, missing: 0 });
    expect(() => forward(topic, 4, { partitions: { [topic]: [4] } })).toThrow(/there is no 4/);
  });

  it('counts the grace on in slices that are shorter, for all that was missed by then', async () => {
    const topic = await legs.topic();
    const all = messages(30);
    await legs.toOwlmq(topic, all);
    // Slices are shorter than the eighth of the grace, too, by which the checkpoint counts.
    const graceMs = 2_400;
    let checkpoint = mirror(topic, 1, { graceMs }).checkpoint;
    let slices = 0;
    let repaired = 0;
    for (; slices < 60 && repaired < 30; slices++) {
      const slice = mirror(topic, 1, {
        graceMs,
        checkpoint: JSON.parse(JSON.stringify(checkpoint)) as typeof checkpoint,
      });
      const ends = performance.now() + 150;
      do {
        await slice.step();
      } while (performance.now() < ends);
      ({ checkpoint } = slice);
      repaired = checkpoint.figures[topic]?.repaired ?? 0;
      // All of them in one slice: none begins anew.
      expect([0, 30]).toContain(repaired);
    }
    expect(repaired).toBe(30);
    expect(slices).toBeGreaterThan(2);
    expect(checkpoint.missed).toBeUndefined();
    expect(await legs.kafkaRecords(topic)).toHaveLength(30);
  });

  it('goes on from checkpoints of before there were versions, and refuses those of later ones', async () => {
    const topic = await legs.topic();
    await legs.toKafka(topic, messages(2));
    const { version, ...old } = (await forward(topic, 1).step()).checkpoint;
    expect(version).toBe(1);
    const { forwarded: _, ...figures } = old.figures[topic] ?? { forwarded: 0 };
    const checkpoint = { ...old, figures: { [topic]: figures } } as ForwardCheckpoint;
    expect((await forward(topic, 1, { checkpoint }).step()).checkpoint.figures[topic]).toMatchObject({
      copied: 2,
      forwarded: 0,
    });
    expect(() => forward(topic, 1, { checkpoint: { ...old, version: 2 } })).toThrow(/version 2/);
    const later = { ...mirror(topic, 1).checkpoint, version: 2 };
    expect(() => mirror(topic, 1, { checkpoint: later })).toThrow(/version 2/);
  });

  it('tells rates and counts between two looks, by topic and in total', async () => {
    const [topic, other] = [await legs.topic(), await legs.topic()];
    const both = new ForwardAudit({
      ...{ connection: legs.connection, owlmq: legs.owlmq, topics: [topic, other], graceMs: 5_000 },
      positions: { [topic]: [0], [other]: [0] },
    });
    opened.push(both);
    const before = both.checkpoint.figures;
    await legs.toKafka(topic, messages(10));
    await legs.toKafka(other, messages(5, { copied: false }));
    await both.step();
    const after = both.checkpoint.figures;
    const { total, topics } = parityRates(before, after, 500);
    expect(topics[topic]).toMatchObject({
      kafka: { messagesPerSecond: 20 },
      owlmq: { messagesPerSecond: 20 },
      missing: 10,
    });
    expect(topics[other]).toMatchObject({
      kafka: { messagesPerSecond: 10 },
      owlmq: { messagesPerSecond: 0 },
      missing: 0,
    });
    expect(total).toMatchObject({ kafka: { messagesPerSecond: 30 }, repaired: 10, forwarded: 0, inversions: 0 });
    expect(total.kafka.bytesPerSecond).toBeCloseTo(
      2 * ((after[topic]?.kafka.bytes ?? 0) + (after[other]?.kafka.bytes ?? 0)),
    );
    expect(parityRates(after, after, 500).total).toMatchObject({ kafka: { messagesPerSecond: 0 }, missing: 0 });
    expect(parityRates(undefined, after, 0).total.kafka.messagesPerSecond).toBe(0);
  });
});

describe('MissedSince', () => {
  it('never says longer than it was, nor shorter by more than an eighth of the grace, in few marks', () => {
    const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));
    const random = seeded(seed);
    const graceMs = 1_000;
    let missed = new MissedSince(graceMs, [], 0);
    let now = 0;
    let seenTo = 0;
    let low = 0;
    const seen = new Map<number, number>();
    for (let turn = 0; turn < 5_000; turn++) {
      now += random() * 40;
      const to = seenTo + Math.floor(random() * 5);
      for (let offset = seenTo; offset < to; offset++) seen.set(offset, now);
      seenTo = to;
      missed.note(to, now);
      if (random() < 0.1) {
        low = Math.min(seenTo, low + Math.floor(random() * 40));
        missed.pass(low);
      }
      if (random() < 0.02) missed = new MissedSince(graceMs, missed.marks(now), now);
      expect(missed.marks(now).length, `SEED=${seed}`).toBeLessThan(12);
      const offset = low + Math.floor(random() * Math.max(1, seenTo - low));
      const since = seen.get(offset);
      if (since === undefined || offset >= seenTo) continue;
      const told = missed.ms(offset, now);
      expect(told, `SEED=${seed}`).toBeLessThanOrEqual(now - since + 1e-6);
      const least = Math.min(graceMs, now - since - graceMs / 8) - 40;
      expect(told, `SEED=${seed}`).toBeGreaterThanOrEqual(least);
    }
  });
});
