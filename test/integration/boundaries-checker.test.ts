import type { MemberReport, RoutingState } from '@owlmq/kafka-bridge/operations';
import { describe, expect, it } from 'vitest';
import {
  commitProblems,
  effectProblems,
  routingProblems,
  storedProblems,
  strayMembers,
  type Evidence,
} from '../../boundaries/evidence.js';
import type { Lane } from '../../boundaries/lane.js';
import type { StoredRecord } from '../../chaos/publishers/checker/stored-record.js';
import { check } from '../../demo/checker.js';
import type { Applied, Produced } from '../../demo/event-log.js';
import type { MigrationStatus } from '../../src/workflows/status.js';

// A made-up run for each thing that must not be: its checker must find that, and nothing in the run as it should be.

const topic = 'orders';
const group = 'payments';
const migration = 'boundary';

const completed = {
  ...{ phase: 'completed', epoch: 9, rollback: null },
  cutover: { attempts: 1, journaledAt: '2026-01-01T00:00:00Z', moves: [] },
} as unknown as MigrationStatus;
const rolledBack = { ...completed, phase: 'rolled-back', rollback: { redeliveries: 1 } } as unknown as MigrationStatus;

const sent = (number: number): Produced[] => [
  { event: 'sent', topic, key: 'a', number, digest: `d${number}`, at: number },
  { event: 'settled', topic, key: 'a', number, outcome: 'acknowledged', tookMs: 1, at: number },
];
const applied = (number: number, leg: Applied['leg'], at: number): Applied => {
  return { topic, key: 'a', number, id: `a${number}`, digest: `d${number}`, leg, member: 'one', at };
};

function evidence(applies: Applied[], change: Partial<Evidence> = {}): Evidence {
  const produced = [1, 2, 3].flatMap(sent);
  const byGroup = new Map([[group, applies]]);
  return {
    ...{ migration, topics: [topic], groups: [group], status: completed, victims: [] },
    ...{ produced, applied: byGroup, check: check(produced, byGroup) },
    ...change,
  };
}

describe('what groups applied', () => {
  const good = [applied(1, 'kafka', 1), applied(2, 'kafka', 2), applied(3, 'owlmq', 3)];

  it('is well when each message was applied once, by one side after the other', () => {
    expect(effectProblems(evidence(good))).toEqual([]);
  });

  it.each([
    ['lost', good.slice(0, 2), /1 lost/],
    ['reordered', [applied(2, 'kafka', 1), applied(1, 'kafka', 2), applied(3, 'owlmq', 3)], /1 reordered/],
    ['invented', [...good, applied(4, 'owlmq', 4)], /1 invented/],
    ['altered', [...good.slice(0, 2), { ...applied(3, 'owlmq', 3), digest: 'other' }], /1 altered/],
    ['applied by both sides', [...good, applied(2, 'owlmq', 4)], /1 applied by both sides, 0 were reported/],
    ['applied twice, and nobody died', [...good, applied(3, 'owlmq', 4)], /1 applied twice by one side/],
    [
      'applied by both sides in turn',
      [good[0], good[2], good[1]].map((one, at) => ({ ...one, at }) as Applied),
      /2 changes of side, 1 expected/,
    ],
  ])('tells of one that is %s', (_, applies, problem) => {
    expect(effectProblems(evidence(applies)).join('\n')).toMatch(problem);
  });

  it('takes what was reported, and what a death brings again', () => {
    const back = [...good, applied(2, 'owlmq', 4), applied(3, 'kafka', 5)];
    expect(effectProblems(evidence(back, { status: rolledBack })).join()).toMatch(/2 applied by both sides, 1 were/);
    const once = [...good, applied(3, 'kafka', 5)];
    expect(effectProblems(evidence(once, { status: rolledBack }))).toEqual([]);
    const again = [...good, applied(3, 'owlmq', 4)];
    expect(effectProblems(evidence(again, { victims: ['consumer'] }))).toEqual([]);
    expect(effectProblems(evidence(again, { victims: ['worker', 'producer'] }))).toHaveLength(1);
  });
});

describe('the routing topic', () => {
  const state = (epoch: number, change: object = {}) =>
    ({
      migration,
      epoch,
      primary: 'kafka',
      live: 'kafka',
      writtenAt: String(Math.random()),
      ...change,
    }) as RoutingState;
  const last = state(9, { primary: 'owlmq', live: 'owlmq' });

  async function problems(states: RoutingState[]): Promise<string> {
    async function* readToEnd() {
      for (const one of states)
        yield await Promise.resolve({ key: Buffer.from(one.migration), value: Buffer.from(JSON.stringify(one)) });
    }
    return (await routingProblems({ reader: { readToEnd } } as unknown as Lane, evidence([]))).join('\n');
  }

  it('is well when epochs rise, one is written again, and another migration has its own', async () => {
    expect(await problems([state(7), state(8), state(8), { ...state(1), migration: 'other' }, last])).toBe('');
  });

  it.each([
    ['falls', [state(8), state(7), last], /epoch 7 was written behind 8/],
    ['says two things', [state(8), state(8, { live: 'owlmq' }), last], /epoch 8 was written with two meanings/],
    ['is missing', [state(7), state(8)], /the last epoch is 8, the workflow's 9/],
    ['has the other side', [state(9)], /the last routing state is not that of owlmq/],
    ['still holds', [{ ...last, fence: { reason: 'cutover' } }], /not that of owlmq/],
  ])('tells of an epoch that %s', async (_, states, problem) => {
    expect(await problems(states)).toMatch(problem);
  });
});

describe('members', () => {
  const report = (change: object) => {
    const base = { migration, leaseMs: 4_000, epoch: 9 };
    return { report: { ...base, ...change } as unknown as MemberReport, silentMs: 10 };
  };
  const publisher = report({ role: 'publisher', instance: 'p', state: 'publishing' });
  const consumer = report({ role: 'consumer', instance: 'c', group, state: 'live-owlmq' });

  async function stray(members: ReturnType<typeof report>[]): Promise<string> {
    const roster = { readMembers: () => Promise.resolve(members) };
    return (await strayMembers({ roster } as unknown as Lane, evidence([]))).join('\n');
  }

  it('are where they must be, and one that is dead is not asked', async () => {
    expect(await stray([publisher, consumer, { ...report({ state: 'fenced' }), silentMs: 5_000 }])).toBe('');
  });

  it.each([
    ['a publisher holds', [report({ role: 'publisher', instance: 'p', state: 'fenced' }), consumer], /p is fenced/],
    [
      'one is behind',
      [report({ role: 'publisher', instance: 'p', state: 'publishing', epoch: 8 }), consumer],
      /epoch 8/,
    ],
    [
      'a consumer is on the other side',
      [publisher, report({ role: 'consumer', instance: 'c', group, state: 'live-kafka' })],
      /c is live-kafka/,
    ],
    ['a group is gone', [publisher], /no consumer of payments/],
    ['publishers are gone', [consumer], /no publisher/],
  ])('are told of when %s', async (_, members, problem) => {
    expect(await stray(members)).toMatch(problem);
  });
});

describe('commits', () => {
  const lane = (committed: number | undefined) => {
    const partitions = [{ endOffset: 5 }, { endOffset: 0 }];
    const offsets = committed === undefined ? [] : [{ topic, partition: 0, offset: committed }];
    const bounds = () => Promise.resolve(partitions);
    return {
      owlmqClient: {
        describeGroup: () => Promise.resolve({ offsets }),
        describeTopic: () => Promise.resolve({ partitions }),
      },
      ...{ reader: { bounds }, admin: { groupOffsets: () => Promise.resolve({ [topic]: [committed, undefined] }) } },
    } as unknown as Lane;
  };

  it.each([completed, rolledBack])('are at the end of the side that is live', async (status) => {
    expect(await commitProblems(lane(5), evidence([], { status }))).toEqual([]);
    expect(await commitProblems(lane(4), evidence([], { status }))).toHaveLength(1);
    expect(await commitProblems(lane(undefined), evidence([], { status }))).toHaveLength(1);
  });
});

describe('both legs', () => {
  const record = (leg: 'kafka' | 'owlmq', number: number, change: Partial<StoredRecord> = {}): StoredRecord => ({
    ...{
      leg,
      topic,
      partition: 0,
      offset: number,
      id: `a${number}`,
      epoch: 1,
      instance: 'p',
      copied: true,
      byAudit: false,
    },
    value: JSON.stringify({ customer: 'a', number }),
    ...change,
  });
  const problems = (kafka: StoredRecord[], owlmq: StoredRecord[], status = completed): string =>
    storedProblems({ kafka, owlmq }, evidence([], { status })).join('\n');
  const kafka = [record('kafka', 1), record('kafka', 2)];
  const owlmq = [record('owlmq', 1), record('owlmq', 2)];

  it('have each copy that was intended', () => {
    expect(problems(kafka, owlmq)).toBe('');
    expect(problems([...kafka, record('kafka', 3, { copied: false })], owlmq)).toBe('');
    expect(problems(kafka, owlmq.slice(1))).toMatch(/1 copies are not on OwlMQ, one of kafka orders\/0\/1/);
    expect(problems(kafka.slice(1), owlmq)).toMatch(/1 copies are not on Kafka/);
  });

  it('have no copies proven where no cutover was', () => {
    const cutover = { attempts: 0 };
    expect(problems(kafka, [], { ...rolledBack, cutover })).toBe('');
  });

  it("have a publisher's epochs in order", () => {
    const fallen = [record('owlmq', 1, { epoch: 2 }), record('owlmq', 2, { epoch: 1 })];
    expect(problems(kafka, fallen)).toMatch(/\(epoch 1\) is behind .*\(epoch 2\) of the same publisher/);
    expect(problems(kafka, [fallen[0], { ...fallen[1], byAudit: true }] as StoredRecord[])).toBe('');
    expect(problems(kafka, [fallen[0], { ...fallen[1], instance: 'q' }] as StoredRecord[])).toBe('');
  });
});
