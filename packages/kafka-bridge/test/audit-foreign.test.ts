import { randomUUID } from 'node:crypto';
import { Kafka, logLevel, type IHeaders, type Producer } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ForwardAudit, type ForwardAuditOptions } from '../src/audit/forward-audit.js';
import { MirrorAudit } from '../src/audit/mirror-audit.js';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { foreignMessageId, formatPosition, HEADER, readProvenance } from '../src/message/headers.js';
import { translateToKafka } from '../src/offsets/translate-to-kafka.js';
import { translateToOwlmq } from '../src/offsets/translate-to-owlmq.js';
import { isCopied } from '../src/publisher/copy-decision.js';
import { Legs, messages } from './audit-legs.js';

/** What a producer that does not use the library writes. */
interface Plain {
  key?: string | null;
  value: string;
  headers?: IHeaders;
  timestamp?: string;
}

describe('records of producers without the library', () => {
  let legs: Legs;
  let plain: Producer;
  let admin: ClusterAdmin;
  const opened: { close: () => Promise<void> }[] = [];
  beforeAll(async () => {
    legs = await Legs.start();
    plain = new Kafka({ ...legs.connection, clientId: 'other', logLevel: logLevel.NOTHING }).producer();
    admin = new ClusterAdmin(legs.connection, { clientId: 'foreign-test' });
    await plain.connect();
  });
  afterAll(async () => {
    await Promise.all(opened.map((audit) => audit.close()));
    await Promise.all([plain.disconnect(), admin.close()]);
    await legs.stop();
  });

  function forward(topic: string, options: Partial<ForwardAuditOptions> = {}): ForwardAudit {
    const audit = new ForwardAudit({
      connection: legs.connection,
      owlmq: legs.owlmq,
      topics: [topic],
      positions: { [topic]: [0] },
      // Foreign records must not wait for it.
      graceMs: 600_000,
      forward: { topics: [topic], ratio: 1 },
      ...options,
    });
    opened.push(audit);
    return audit;
  }

  function mirror(topic: string, from: { kafka: number; owlmq: number } = { kafka: 0, owlmq: 0 }): MirrorAudit {
    const audit = new MirrorAudit({
      connection: legs.connection,
      owlmq: legs.owlmq,
      topics: [topic],
      owlmqPositions: { [topic]: [from.owlmq] },
      kafkaPositions: { [topic]: [from.kafka] },
      graceMs: 0,
    });
    opened.push(audit);
    return audit;
  }

  /** Writes to partition 0; returns the offsets. */
  async function write(topic: string, records: readonly Plain[]): Promise<number[]> {
    const [sent] = await plain.send({ topic, messages: records.map((record) => ({ partition: 0, ...record })) });
    return records.map((_, index) => Number(sent?.baseOffset) + index);
  }

  async function onOwlmq(topic: string) {
    return (await legs.owlmqRecords(topic)).map(({ id, key, value, headers, timestamp }) => {
      const named = Object.fromEntries(headers);
      return { id, key, value: value?.toString(), timestamp, provenance: readProvenance(named), headers: named };
    });
  }

  it('are copied at once, in order, under the id of their place, once', async () => {
    const topic = await legs.topic();
    const records = Array.from({ length: 40 }, (_, index) => ({
      key: index % 9 === 0 ? null : `k${index % 4}`,
      value: `v${index}`,
      headers: { trace: `t${index}` },
      timestamp: String(Date.now() - 1_000 + index),
    }));
    await write(topic, records);
    const report = await forward(topic).step();
    expect(report).toMatchObject({ complete: true, waiting: 0 });
    expect(report.oldestUnprovenMs).toBeUndefined();
    expect(report.checkpoint.coverage).toEqual({ [topic]: [0] });
    const figures = { foreign: 40, forwarded: 40, copied: 0, notCopied: 0, missing: 0, repaired: 0, inversions: 0 };
    expect(report.checkpoint.figures[topic]).toMatchObject(figures);
    expect(report.checkpoint.figures[topic]?.owlmq).toEqual(report.checkpoint.figures[topic]?.kafka);

    const copies = await onOwlmq(topic);
    expect(copies.map(({ value }) => value)).toEqual(records.map(({ value }) => value));
    for (const [offset, copy] of copies.entries()) {
      expect(copy).toMatchObject({
        id: foreignMessageId(topic, 0, offset),
        timestamp: Number(records[offset]?.timestamp),
      });
      expect(copy.key?.toString() ?? null).toBe(records[offset]?.key);
      expect(copy.headers['trace']?.toString()).toBe(`t${offset}`);
      expect(copy.provenance).toMatchObject({
        id: undefined,
        copied: false,
        via: 'forward',
        source: { leg: 'kafka', partition: 0, offset },
      });
    }
    // As after a crash before the first checkpoint.
    const again = await forward(topic).step();
    expect(again.checkpoint.figures[topic]).toMatchObject(figures);
    expect(await legs.owlmqRecords(topic)).toHaveLength(40);
  });

  it('are copied by the rule of the publisher at a ratio below 1; coverage begins behind the others', async () => {
    const topic = await legs.topic();
    const records = Array.from({ length: 200 }, (_, index) => ({
      key: index % 5 === 0 ? null : `key-${index}`,
      value: `v${index}`,
    }));
    await write(topic, records);
    const ratio = 0.4;
    const expected = records.flatMap(({ key }, offset) => {
      const id = foreignMessageId(topic, 0, offset);
      return isCopied(Buffer.from(key ?? id), ratio) ? [id] : [];
    });
    expect(expected.length).toBeGreaterThan(40);
    expect(expected.length).toBeLessThan(160);
    const report = await forward(topic, { forward: { topics: [topic], ratio } }).step();
    expect((await onOwlmq(topic)).map(({ id }) => id)).toEqual(expected);
    expect(report.checkpoint.figures[topic]).toMatchObject({ foreign: 200, forwarded: expected.length });
    const last = records.findLastIndex((_, offset) => !expected.includes(foreignMessageId(topic, 0, offset)));
    expect(report.checkpoint.coverage).toEqual({ [topic]: [last + 1] });
    // Raising the ratio adds; it takes nothing away.
    const all = await forward(topic).step();
    expect(all.checkpoint.figures[topic]).toMatchObject({ forwarded: 200 });
    expect(await legs.owlmqRecords(topic)).toHaveLength(200);
  });

  it('are only counted where the migration does not say to forward them', async () => {
    const [topic, other] = [await legs.topic(), await legs.topic()];
    await write(topic, [{ value: 'x' }]);
    const report = await forward(topic, { forward: { topics: [other], ratio: 1 } }).step();
    expect(report.checkpoint.figures[topic]).toMatchObject({ foreign: 1, forwarded: 0 });
    expect(report.checkpoint.coverage).toEqual({ [topic]: [1] });
    expect(await legs.owlmqRecords(topic)).toHaveLength(0);
  });

  it('have the same id, headers and figures from the mirror audit, and are copied back by neither', async () => {
    const [before, after] = [await legs.topic(), await legs.topic()];
    const records = [
      { value: 'a', headers: { trace: 't' } },
      { key: 'k', value: 'b' },
    ];
    const ours = messages(3);
    for (const topic of [before, after]) {
      await write(topic, records);
      await legs.toKafka(topic, ours);
      await legs.toOwlmq(topic, ours);
    }
    const forwarded = await forward(before).step();
    const mirrored = await mirror(after).step();
    expect([forwarded.complete, mirrored.complete]).toEqual([true, true]);
    const place = { foreign: 2, forwarded: 2, missing: 0, repaired: 0 };
    expect(forwarded.checkpoint.figures[before]).toMatchObject(place);
    expect(mirrored.checkpoint.figures[after]).toMatchObject(place);
    const [one, other] = [await onOwlmq(before), await onOwlmq(after)];
    const shape = (topic: string, copies: typeof one) =>
      copies
        .filter(({ provenance }) => provenance.via === 'forward')
        .map(({ id, provenance, headers }) => [id.replace(topic, 'TOPIC'), provenance, Object.keys(headers)]);
    expect(shape(before, one)).toHaveLength(2);
    expect(shape(before, one)).toEqual(shape(after, other));
    // The other audit over what each has written.
    for (const topic of [before, after]) {
      expect((await mirror(topic).step()).checkpoint.figures[topic]).toMatchObject({ ...place, fromKafka: 5 });
      expect((await forward(topic).step()).checkpoint.figures[topic]).toMatchObject({ ...place, copied: 3 });
      expect(await legs.kafkaRecords(topic)).toHaveLength(5);
      expect(await legs.owlmqRecords(topic)).toHaveLength(5);
    }
  });

  it('have nothing to say by headers without an id', async () => {
    const topic = await legs.topic();
    await write(topic, [
      { value: 'a', headers: { [HEADER.copied]: '1', [HEADER.source]: 'owlmq/0/0', [HEADER.via]: 'audit' } },
      { value: 'b', headers: { [HEADER.id]: '', [HEADER.sequence]: 'x:1' } },
    ]);
    const { checkpoint } = await forward(topic).step();
    expect(checkpoint.figures[topic]).toMatchObject({ foreign: 2, forwarded: 2 });
    const copies = await onOwlmq(topic);
    expect(copies.map(({ value }) => value)).toEqual(['a', 'b']);
    expect(copies[0]?.provenance).toMatchObject({ copied: false, via: 'forward', sequence: undefined });
    // And after the cutover: the source is not believed.
    const after = await legs.topic();
    await write(after, [{ value: 'c', headers: { [HEADER.source]: 'owlmq/0/0' } }]);
    expect((await mirror(after).step()).checkpoint.figures[after]).toMatchObject({ foreign: 1, forwarded: 1 });
    expect((await onOwlmq(after)).map(({ value }) => value)).toEqual(['c']);
  });

  /** Headers as the publisher writes them. */
  function headersOf(id: string, sequence: string, source?: string): IHeaders {
    return {
      ...{ [HEADER.id]: id, [HEADER.epoch]: '1', [HEADER.sequence]: sequence, [HEADER.copied]: '1' },
      ...(source === undefined ? {} : { [HEADER.source]: source }),
    };
  }

  it('are not lost when they have the headers of an old message, before the cutover', async () => {
    const topic = await legs.topic();
    const [id, other] = [randomUUID(), randomUUID()];
    const time = String(Date.now() - 700_000);
    const original = { key: 'k', value: 'original', headers: headersOf(id, 'p:1'), timestamp: time };
    await write(topic, [
      original,
      // The publisher repeated itself after an unknown outcome: the same message.
      original,
      // An application took the message apart and published it anew, as it was and changed.
      { ...original, timestamp: String(Date.now()) },
      { ...original, value: 'changed' },
      // A caller chose the id, and its publisher numbered it anew: the same message, as the caller says.
      { ...original, headers: headersOf(id, 'p:2'), timestamp: String(Date.now()) },
      { ...original, value: 'of another message', headers: headersOf(other, 'p:3') },
      { ...original, value: 'with its headers', headers: headersOf(other, 'p:3') },
    ]);
    const expected = ['original', 'original', 'changed', 'of another message', 'with its headers'];
    const figures = { copied: 4, missing: 2, repaired: 2, foreign: 3, forwarded: 3, duplicates: 2 };
    const first = await forward(topic).step();
    expect(first.complete).toBe(true);
    expect(first.checkpoint.figures[topic]).toMatchObject(figures);
    expect((await onOwlmq(topic)).map(({ value }) => value).toSorted()).toEqual(expected.toSorted());
    // Again, where everything is there: nothing is written, and the mirror audit has nothing to add.
    const again = await forward(topic).step();
    expect(again.checkpoint.figures[topic]).toMatchObject({ ...figures, missing: 0, repaired: 0 });
    const mirrored = await mirror(topic).step();
    expect(mirrored.checkpoint.figures[topic]).toMatchObject({ foreign: 3, forwarded: 3, missing: 0, fromKafka: 5 });
    expect(await legs.owlmqRecords(topic)).toHaveLength(5);
    expect(await legs.kafkaRecords(topic)).toHaveLength(7);
    // Without leave to forward they are counted, and the cutover waits for their groups.
    const counted = await forward(topic, { forward: undefined }).step();
    expect(counted.checkpoint.figures[topic]).toMatchObject({ foreign: 3, forwarded: 0 });
    expect(counted.checkpoint.coverage).toEqual({ [topic]: [7] });
  });

  it('are not lost when they have the headers of an old message, after the cutover', async () => {
    const topic = await legs.topic();
    const ours = messages(4);
    const offsets = await legs.toOwlmq(topic, ours);
    await legs.toKafka(topic, ours, offsets);
    const passed = mirror(topic);
    await passed.step();
    const [first] = await legs.kafkaRecords(topic);
    if (first === undefined) throw new Error('There is no record.');
    const again = { key: first.key, value: 'again', headers: first.headers, timestamp: String(Date.now()) };
    await legs.producer.send({
      topic,
      messages: [
        again,
        // Of another partition, of a place that is not there, of the place of another message.
        { value: 'p', headers: headersOf(randomUUID(), 'p:1', 'owlmq/7/0') },
        { value: 'q', headers: headersOf(randomUUID(), 'p:2', 'owlmq/0/999') },
        { value: 'r', headers: headersOf(randomUUID(), 'p:3', 'owlmq/0/2') },
      ],
    });
    const expected = ['again', 'p', 'q', 'r'];
    const report = await passed.step();
    expect(report.complete).toBe(true);
    expect(report.checkpoint.figures[topic]).toMatchObject({
      copied: 4,
      foreign: 1,
      forwarded: 1,
      late: 3,
      repaired: 3,
    });
    expect((await onOwlmq(topic)).slice(4).map(({ value }) => value)).toEqual(expected);
    // By an audit that begins anew the first is told from its copy too, in whichever order it reads.
    const anew = await mirror(topic).step();
    expect(anew.checkpoint.figures[topic]).toMatchObject({
      copied: 4,
      foreign: 1,
      forwarded: 1,
      late: 0,
      fromKafka: 4,
    });
    expect(await legs.owlmqRecords(topic)).toHaveLength(8);
    expect(await legs.kafkaRecords(topic)).toHaveLength(8);
  });

  it('reach Kafka from OwlMQ when their headers say that they came from there, and it is not so', async () => {
    const topic = await legs.topic();
    const ours = messages(2);
    await legs.toKafka(topic, ours);
    await legs.toOwlmq(topic, ours);
    const headers = (source: string): [string, Buffer][] => [
      [HEADER.id, Buffer.from(ours[0]?.id ?? '')],
      [HEADER.source, Buffer.from(source)],
    ];
    const sources = ['kafka/0/0', 'kafka/0/999', formatPosition({ leg: 'kafka', partition: 3, offset: 0 })];
    await legs.owlmq.publish(
      topic,
      sources.map((source, index) => ({
        ...{ partition: 0, id: `own-${index}`, key: null, value: Buffer.from(`own ${index}`) },
        ...{ headers: headers(source), timestamp: Date.now() },
      })),
    );
    const report = await mirror(topic).step();
    expect(report.complete).toBe(true);
    expect(report.checkpoint.figures[topic]).toMatchObject({ fromKafka: 2, copied: 3, repaired: 3, foreign: 0 });
    const copies = (await legs.kafkaRecords(topic)).slice(2);
    expect(copies.map((record) => readProvenance(record.headers))).toMatchObject(
      sources.map((_, index) => ({ id: `own-${index}`, source: { leg: 'owlmq', partition: 0, offset: 2 + index } })),
    );
    const anew = await mirror(topic).step();
    expect(anew.checkpoint.figures[topic]).toMatchObject({ fromKafka: 2, copied: 3, repaired: 0, forwarded: 0 });
    expect(await legs.kafkaRecords(topic)).toHaveLength(5);
    expect(await legs.owlmqRecords(topic)).toHaveLength(5);
  });

  it('have exact offsets on the other leg, both ways', async () => {
    const topic = await legs.topic();
    const group = `foreign-${randomUUID()}`;
    const ours = messages(3);
    await write(topic, [{ value: 'a' }, { value: 'b' }]);
    await legs.toKafka(topic, ours);
    await legs.toOwlmq(topic, ours);
    await write(topic, [{ value: 'c' }, { value: 'd' }]);
    const audit = forward(topic);
    await audit.step();
    // OwlMQ has them in another order: the three of the library first.
    expect((await onOwlmq(topic)).map(({ value }) => value?.slice(0, 5))).toEqual([
      ...ours.map(() => 'value'),
      ...['a', 'b', 'c', 'd'],
    ]);
    const both = { connection: legs.connection, owlmq: legs.owlmq, groups: [group], topics: [topic] };
    await admin.setGroupOffsets(group, { [topic]: [6] });
    expect(await translateToOwlmq(both)).toMatchObject([
      { partitions: [{ source: 6, target: 6, verdict: 'exact', redeliveries: 0 }] },
    ]);
    await admin.setGroupOffsets(group, { [topic]: [4] });
    // From the last of the library's on: the two foreign ones between were consumed.
    expect(await translateToOwlmq(both)).toMatchObject([
      {
        partitions: [
          { target: 2, verdict: 'bounded', redeliveredIds: [0, 1].map((offset) => foreignMessageId(topic, 0, offset)) },
        ],
      },
    ]);
    // After the cutover a foreign record comes to Kafka, and a message of the library to OwlMQ.
    const fence = { kafka: 7, owlmq: 7 };
    await write(topic, [{ value: 'e' }]);
    const late = messages(1);
    await legs.toKafka(topic, late, await legs.toOwlmq(topic, late));
    const warm = mirror(topic, fence);
    expect(await warm.step()).toMatchObject({ complete: true });
    const { owlmq, kafka } = warm.checkpoint;
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 8 }]);
    const back = { ...both, kafkaFrom: { [topic]: [fence.kafka] }, proven: { owlmq, kafka } };
    // OwlMQ: late, e. Kafka: e, late. Not consumed is e alone.
    expect(await translateToKafka(back)).toMatchObject([
      { partitions: [{ source: 8, target: 7, verdict: 'bounded', redeliveredIds: [late[0]?.id] }] },
    ]);
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 9 }]);
    expect(await translateToKafka(back)).toMatchObject([{ partitions: [{ target: 9, verdict: 'exact' }] }]);
  });
});
