import { v7 as uuidv7 } from 'uuid';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { comparisonCheckpointSchema } from '../src/comparator/comparator.js';
import { diagnoseFindings } from '../src/comparator/evidence.js';
import type { Diagnosis } from '../src/comparator/diagnosis.js';
import { ObservationComparison, observationEnds, type ComparisonReport } from '../src/comparator/observation-log.js';
import type { DiscrepancySample } from '../src/comparator/samples.js';
import { readVerdicts, VerdictWriter } from '../src/comparator/verdict-log.js';
import { comparisonId, standingVerdicts, type GroupVerdicts } from '../src/comparator/verdict-record.js';
import { noCounts } from '../src/comparator/verdicts.js';
import { DualConsumer, type DualConsumerOptions } from '../src/consumer/dual-consumer.js';
import { formatPosition, HEADER } from '../src/message/headers.js';
import { OwlmqClient } from '../src/owlmq/owlmq-client.js';
import { partitionOfKey } from '../src/publisher/partitioner.js';
import { runBuilt, runHere } from './cli-harness.js';
import { Bench, until } from './consumer-harness.js';

interface Found {
  groups: (GroupVerdicts & { samples: DiscrepancySample[] })[];
  diagnoses: Diagnosis[];
  notLooked: string[];
}

describe('discrepancies that a person reads', () => {
  let bench: Bench;
  let start: number[];
  const ending: (() => Promise<void>)[] = [];

  beforeEach(async () => {
    bench = await Bench.open();
    start = await observationEnds(bench.connection);
  });

  afterEach(async () => {
    for (const end of ending.splice(0).reverse()) await end();
    await bench.close();
  });

  async function comparedMember(process: DualConsumerOptions<unknown>['process']): Promise<void> {
    await bench.route({});
    const consumer = new DualConsumer<unknown>({
      ...bench.options(),
      ...{ process, apply: () => undefined, handlerVersion: 'v1', capture: true },
      // Of an OwlMQ that a test has stopped.
      onError: (error) => {
        if (error.name !== 'OwlmqUnreachableError') throw error;
      },
    });
    ending.push(() => consumer.stop());
    await consumer.start();
    const ends = await bench.reader.ends(bench.topic);
    const state = await bench.route({ shadow: 'compare', shadowFrom: { [bench.topic]: ends } });
    await bench.untilReports(1, ({ epoch, shadow }) => epoch === state.epoch && shadow);
  }

  /** As the worker compares and stores, until it holds; `checkpoint` is what a worker before it has left. */
  async function compared(
    holds: (group: GroupVerdicts) => boolean,
    checkpoint?: ComparisonReport['checkpoint'],
  ): Promise<ComparisonReport> {
    const { connection, migration, group, roster } = bench;
    const from = bench.state?.shadowFrom ?? {};
    const comparison = new ObservationComparison({
      ...{ connection, migration, groups: [group], latenessMs: 300, roster, from, start },
      ...(checkpoint === undefined ? {} : { checkpoint: comparisonCheckpointSchema.parse(checkpoint) }),
    });
    const writer = new VerdictWriter({
      ...{ connection, clientId: 'test', migration, comparison: comparisonId(start, from), part: 'all', parts: 1 },
      onError: (error) => {
        throw error;
      },
    });
    try {
      return await until(async () => {
        const report = await comparison.step();
        await writer.take(report, { last: true });
        const stored = await storedGroup();
        return stored !== undefined && holds(stored) ? report : undefined;
      });
    } finally {
      await Promise.all([comparison.close(), writer.close()]);
    }
  }

  async function storedGroup(): Promise<GroupVerdicts | undefined> {
    const { records, unreadable } = await readVerdicts(bench.reader, bench.migration);
    expect(unreadable).toBe(0);
    return standingVerdicts(records)?.groups.find(({ group }) => group === bench.group);
  }

  async function listed(...flags: string[]): Promise<Found> {
    const { url, apiKey } = bench.options().owlmq;
    const connections = ['--owlmq-url', url, '--owlmq-api-key', apiKey];
    const args = ['discrepancies', 'list', '--migration', bench.migration, '--output', 'json'];
    const { code, out } = await runHere([...args, ...connections, ...flags]);
    expect(code).toBe(3);
    return JSON.parse(out) as Found;
  }

  it('stores a planted difference once over a restart, lists and shows it, and says what is wrong with a command', async () => {
    await comparedMember((message) => {
      const amount = Number(message.value?.toString());
      // On the shadow alone, for one message.
      return message.position.leg === 'owlmq' && amount === 7
        ? { amount: 8, note: 'secret' }
        : { amount, note: 'secret' };
    });
    const values = (from: number, count: number) =>
      Array.from({ length: count }, (_, index) => ({ key: `k${index}`, value: String(from + index) }));
    const written = await bench.publish(values(0, 20));
    const planted = written.find(({ key }) => key === 'k7');
    const report = await compared(({ counts }) => counts.matched + counts.different === 20);
    // A worker that was killed goes on from an earlier checkpoint, and writes the same again.
    await bench.publish(values(100, 10));
    await compared(({ counts }) => counts.matched === 29, report.checkpoint);
    expect(await storedGroup()).toMatchObject({
      counts: { matched: 29, different: 1, missing: 0 },
      samples: [{ id: planted?.id }],
    });

    const { KAFKA_BROKERS } = process.env;
    const { url, apiKey } = bench.options().owlmq;
    const env = { KAFKA_BROKERS, OWLMQ_URL: url, OWLMQ_API_KEY: apiKey, KAFKA_BRIDGE_MIGRATION: bench.migration };
    const list = await runBuilt(['discrepancies', 'list'], env);
    expect(list).toMatchObject({ code: 3, err: '' });
    expect(list.out).toMatch(
      new RegExp(`${bench.group} +different +${planted?.id} +${bench.topic}/1 .* v1 and v1 +/amount`),
    );
    expect(list.out).toMatch(/differ in \/amount[^]*one sample only[^]*\$ kafka-bridge discrepancies show --migration/);
    expect(list.out).not.toContain('Could not look');

    // The next command, as it was printed.
    const next = /\$ kafka-bridge (discrepancies show .*)/.exec(list.out)?.[1]?.split(' ') ?? [];
    const shown = await runBuilt(next, env);
    expect(shown).toMatchObject({ code: 0, err: '' });
    expect(shown.out).toMatch(/\/amount +\S{10} +\S{10}/);
    expect(shown.out).toContain(
      `'{"group":"${bench.group}","verdict":"different","topic":"${bench.topic}","fields":["/amount"],"handlerVersion":"v1","reason":`,
    );
    expect(shown.out).toContain('--values shows them');
    expect(`${list.out}${shown.out}`).not.toContain('secret');
    const json = await runHere([...next, '--output', 'json']);
    expect(json.out).not.toContain('secret');
    expect(json.out).toMatch(/"fields": {\s+"\/amount": "/);
    expect((await runHere([...next, '--values'])).out).toContain('{"amount":8,"note":"secret"}');

    const wrong = await runHere(['discrepancies', 'list', '--verdict', 'odd', '--output', 'odd']);
    expect(wrong.code).toBe(2);
    for (const part of ['--migration is needed', '--verdict must be one of', '--output must be']) {
      expect(wrong.err).toContain(part);
    }
    const refused = async (...args: string[]) => {
      const { code, err } = await runHere(['discrepancies', ...args]);
      expect(code).toBe(4);
      return err;
    };
    const of = ['--migration', bench.migration];
    expect(await refused('list', '--migration', 'nobody')).toContain('No routing state was ever written for');
    expect(await refused('list', ...of, '--group', 'g')).toContain(`Compared are: ${bench.group}`);
    expect(await refused('show', ...of, 'no-id')).toMatch(/"no-id"[^]*newest five[^]*discrepancies list --migration/);
    // Another migration, in which nothing was compared.
    const early = `${bench.migration}-early`;
    await bench.writer.write({ ...(bench.state ?? fail()), migration: early, shadow: 'off' });
    expect(await refused('list', '--migration', early)).toMatch(/Nothing was compared yet[^]*shadow off[^]*temporal/);
  });

  it('says that keys are hashed otherwise where copies lie in another partition, and that a copy never came', async () => {
    await comparedMember((message) => Number(message.value?.toString()));
    // A producer in Kafka that does not hash as Kafka does; the copy is where the hash puts it.
    const key = ['a', 'b', 'c', 'd', 'e'].find((one) => partitionOfKey(Buffer.from(one), 3) === 2) ?? fail();
    const id = uuidv7();
    const headers = { [HEADER.id]: id, [HEADER.copied]: '1', [HEADER.epoch]: '1' };
    const timestamp = Date.now();
    const [sent] = await bench.producer.send({
      topic: bench.topic,
      acks: -1,
      messages: [{ partition: 1, key, value: '1', timestamp: String(timestamp), headers }],
    });
    const source = formatPosition({ leg: 'kafka', partition: 1, offset: Number(sent?.baseOffset) });
    await bench.owlmq.publish(bench.topic, [
      {
        ...{ partition: 2, id, key: Buffer.from(key), value: Buffer.from('1'), timestamp },
        headers: Object.entries({ ...headers, [HEADER.source]: source }).map(([name, text]) => [
          name,
          Buffer.from(text),
        ]),
      },
    ]);
    const report = await compared(({ counts }) => counts.missing === 1 && counts.unexpected === 1);
    const found = await listed();
    expect(found.notLooked).toEqual([]);
    expect(found.diagnoses).toMatchObject([
      {
        verdicts: ['missing', 'unexpected'],
        what: `Keys of topic ${bench.topic} are not hashed alike: copies are in another partition than their records.`,
        next: `kafka-bridge audit --migration ${bench.migration} --topics ${bench.topic} --from ${new Date(Math.floor(timestamp / 1_000) * 1_000).toISOString()}`,
      },
    ]);
    expect(found.diagnoses[0]?.evidence.join(' ')).toMatch(
      /is in \S+\/1 of Kafka and in \S+\/2 of OwlMQ.*partition 2\./,
    );
    expect(found.diagnoses[0]?.todo).toContain('the producer in Kafka uses another partitioner');
    // The next command counts it.
    const { url, apiKey } = bench.options().owlmq;
    const next = (found.diagnoses[0]?.next ?? '').split(' ').slice(1);
    const audit = await runHere([...next, '--grace', '0', '--owlmq-url', url, '--owlmq-api-key', apiKey]);
    expect(audit).toMatchObject({ code: 3 });
    expect(audit.out).toContain('MISPLACED');

    await bench.producer.send({
      topic: bench.topic,
      messages: [{ partition: 1, key, value: '55', headers: { ...headers, [HEADER.id]: 'lost' } }],
    });
    await compared(({ counts }) => counts.missing === 2, report.checkpoint);
    const lost = await listed('--verdict', 'missing');
    expect(lost.diagnoses).toMatchObject([{ id: 'lost', what: `Copies of ${bench.topic}/1 never came to OwlMQ.` }]);

    // With OwlMQ gone it says what it could not look at, and tells by the rest.
    await bench.stopOwlmq();
    const alone = await listed('--verdict', 'unexpected');
    expect(alone.notLooked.join()).toMatch(/^Could not look at OwlMQ \(topic .*/);
    expect(alone.diagnoses).toMatchObject([{ verdicts: ['unexpected'] }]);
    expect(alone.diagnoses[0]?.evidence.join(' ')).toContain('judged unexpected in partition 2 and missing in 1');
  });

  it('says which group, and what of a topic, is not as it is on the other leg', async () => {
    await bench.route({ shadow: 'compare' });
    const uneven = `${bench.topic}-uneven`;
    await Promise.all([
      bench.admin.createTopic(uneven, { partitions: 2 }),
      bench.owlmq.createTopic(uneven, 3),
      bench.publish([{ key: 'k1', value: '1' }]),
    ]);
    await until(async () => (await bench.reader.partitionCount(uneven).catch(() => 0)) === 2 || undefined);
    const sample: DiscrepancySample = {
      ...{ verdict: 'missing', topic: bench.topic, partition: 1, id: 'm', kafka: 0, time: 0 },
    };
    const samples = [sample, { ...sample, verdict: 'unexpected' as const, topic: uneven }];
    const { connection, migration, owlmq, writer } = bench;
    const options = {
      connection,
      clientId: 'test',
      migration,
      owlmq,
      members: [],
      routing: () => writer.read(migration),
    };
    const looked = await diagnoseFindings([{ group: 'nobody', samples, counts: { late: 0 } }], options);
    expect(looked.notLooked).toEqual([]);
    const causes = looked.diagnoses.map(({ what, evidence }) => `${what} ${evidence.join(' ')}`).join('\n');
    for (const cause of [
      `Group nobody is not in the routing state of the migration. It names ${bench.group}.`,
      'No living DualConsumer of group nobody',
      'OwlMQ has no group nobody.shadow.',
      'OwlMQ has no record of message m',
      `Topic ${uneven} has 2 partitions in Kafka and 3 in OwlMQ.`,
    ]) {
      expect(causes).toContain(cause);
    }

    // Nothing answers: it is told once a leg, and in time.
    const began = performance.now();
    const url = 'http://127.0.0.1:1';
    const nobody = new OwlmqClient({ url, apiKey: 'k' });
    onTestFinished(() => nobody.close());
    const blind = await diagnoseFindings([{ group: 'nobody', samples, counts: { late: 0 } }], {
      ...{ ...options, connection: { brokers: ['127.0.0.1:1'] }, owlmq: nobody, members: undefined, withinMs: 1_000 },
      routing: () => new Promise(() => undefined),
    });
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(blind.notLooked.map((what) => what.slice(0, 24)).sort()).toEqual([
      'Could not look at Kafka ',
      'Could not look at OwlMQ ',
    ]);
    expect(blind.diagnoses).toHaveLength(2);
  });

  it('stores more than one request takes', async () => {
    const { connection, migration } = bench;
    const fields = Array.from({ length: 60 }, (_, index) => `/${'x'.repeat(120)}${index}`);
    const sample: DiscrepancySample = { verdict: 'different', topic: 't', partition: 0, id: 'm', kafka: 0, fields };
    const of = { counts: noCounts(), samples: new Array<DiscrepancySample>(5).fill(sample), unmatched: 0, stalled: [] };
    const groups = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`g${index}`, of]));
    const writer = new VerdictWriter({
      ...{ connection, clientId: 'test', migration, comparison: 'c', part: 'all', parts: 1 },
      onError: (error) => {
        throw error;
      },
    });
    onTestFinished(() => writer.close());
    await writer.take(reportOf(groups));
    expect(standingVerdicts((await readVerdicts(bench.reader, migration)).records)?.groups).toHaveLength(40);
  });

  it('a topic that cannot be written stops nothing: it is told, and tried again', async () => {
    const errors: Error[] = [];
    const writer = new VerdictWriter({
      ...{ connection: { brokers: ['127.0.0.1:1'] }, clientId: 'test', migration: 'm', comparison: 'c' },
      ...{ part: 'all', parts: 1, onError: (error) => errors.push(error) },
    });
    onTestFinished(() => writer.close());
    const report = reportOf({ g: { counts: noCounts(), samples: [], unmatched: 0, stalled: [] } });
    await writer.take(report);
    expect(writer.problem).toMatch(/cannot be written to owlmq-bridge\.verdicts.*Check the topic/);
    // Not at every step.
    await writer.take(report);
    expect(errors).toHaveLength(1);
    await writer.take(report, { last: true });
    expect(errors).toHaveLength(3);
  });
});

function reportOf(groups: ComparisonReport['groups']): ComparisonReport {
  const lost = { overflow: false, expired: 0 };
  const checkpoint = { ...lost, version: 2 as const, logs: {}, groups: {} };
  return { ...lost, groups, caughtUp: true, watched: { lookedAt: 0, alive: [], compared: {} }, checkpoint };
}

function fail(): never {
  throw new Error('The test lacks what it needs.');
}
