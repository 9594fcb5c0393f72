import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMigrationInput, rampRatios, ratioBefore } from '@owlmq/kafka-bridge/playbook';
import { FleetWatch } from '../../src/activities/fleet-watch.js';
import type { WatchFleetRequest } from '../../src/activities/migration-activities.js';
import { Sustained, SustainedNames } from '../../src/activities/sustained.js';
import { noAuditFigures } from '../../src/workflows/audit-figures.js';
import { partitionShards } from '../../src/workflows/audit-shards.js';
import {
  decideRamp,
  freshCounters,
  type RampCounters,
  type RampPolicy,
  type Verdict,
} from '../../src/workflows/ramp.js';
import {
  joinFleetFigures,
  judgeStep,
  noFleetFigures,
  type Gates,
  type StepFigures,
} from '../../src/workflows/ramp-gates.js';

const verdicts = fc.constantFrom<Verdict>('success', 'failure', 'inconclusive', 'error');
const policies = fc.record<RampPolicy>({
  step: fc.double({ min: 0.01, max: 1, noNaN: true }),
  holds: fc.integer({ min: 0, max: 4 }),
  stepBacks: fc.integer({ min: 0, max: 4 }),
  then: fc.constantFrom('block', 'rollback'),
  errorLimit: fc.integer({ min: 1, max: 4 }),
});
const ratios = fc.double({ min: 0, max: 1, noNaN: true });

describe('the ratios of a ramp', () => {
  it('have ten steps of a tenth', () => {
    expect(rampRatios(0.1)).toEqual([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]);
    expect(rampRatios(0.1, 0.75)).toEqual([0.85, 0.95, 1]);
    expect(rampRatios(1)).toEqual([1]);
    expect([0, 0.1, 0.25, 0.3, 1].map((ratio) => ratioBefore(0.1, ratio))).toEqual([0, 0, 0.2, 0.2, 0.9]);
    expect(ratioBefore(0.3, 1)).toBe(0.9);
  });

  it('always rise and end with everything; the one before is lower and never below 0', () => {
    const share = fc.double({ min: 0.01, max: 1, noNaN: true });
    fc.assert(
      fc.property(share, fc.double({ min: 0, max: 0.999, noNaN: true }), (step, reached) => {
        const ratios = rampRatios(step, reached);
        expect(ratios.at(-1)).toBe(1);
        for (const [index, ratio] of ratios.entries()) expect(ratio).toBeGreaterThan(ratios[index - 1] ?? 0);
        for (const ratio of ratios) {
          const before = ratioBefore(step, ratio);
          expect(before).toBeGreaterThanOrEqual(0);
          expect(before).toBeLessThan(ratio);
          // What is stepped back to is a ratio of the ramp, from which it goes up again.
          expect(before === 0 || rampRatios(step).includes(before)).toBe(true);
        }
      }),
    );
  });
});

describe('the policy of a ramp', () => {
  const policy: RampPolicy = { step: 0.1, holds: 1, stepBacks: 1, then: 'block', errorLimit: 3 };

  /** Judges in a row, at the ratio that each action leads to. */
  function judge(policyOf: RampPolicy, start: number, row: readonly Verdict[]) {
    let ratio = start;
    let counters: RampCounters = freshCounters;
    return row.map((verdict) => {
      const before = ratio;
      const decided = decideRamp(policyOf, ratio, verdict, counters);
      counters = decided.counters;
      if ('ratio' in decided.action) ratio = decided.action.ratio;
      return { ...decided, verdict, before };
    });
  }

  it('holds a failure, then steps back, then blocks or rolls back', () => {
    const row: Verdict[] = ['failure', 'failure', 'failure', 'failure'];
    expect(judge(policy, 0.3, row).map(({ action }) => action)).toEqual([
      { do: 'hold' },
      { do: 'step back', ratio: 0.2 },
      { do: 'hold' },
      { do: 'block' },
    ]);
    expect(judge({ ...policy, then: 'rollback' }, 0.3, row).at(-1)?.action).toEqual({ do: 'roll back' });
    expect(judge({ ...policy, holds: 0, stepBacks: 0 }, 0.3, row)[0]?.action).toEqual({ do: 'block' });
    // There is nothing below 0.
    expect(judge({ ...policy, holds: 0 }, 0, row)[0]?.action).toEqual({ do: 'block' });
  });

  it('blocks at errors in a row, and never at what is inconclusive', () => {
    const errors: Verdict[] = ['error', 'error', 'inconclusive', 'error', 'error', 'error'];
    expect(judge(policy, 0.3, errors).map(({ action }) => action.do)).toEqual([
      'hold',
      'hold',
      'hold',
      'hold',
      'hold',
      'block',
    ]);
    const silence = judge(policy, 0.3, new Array<Verdict>(500).fill('inconclusive'));
    expect(silence.every(({ action }) => action.do === 'hold')).toBe(true);
    expect(silence.at(-1)?.counters.inconclusive).toBe(500);
  });

  it('never raises the ratio but for a success, and lowers it but for failures', () => {
    fc.assert(
      fc.property(policies, ratios, fc.array(verdicts, { maxLength: 60 }), (policyOf, start, row) => {
        for (const { action, verdict, before } of judge(policyOf, start, row)) {
          if (action.do === 'promote' || action.do === 'finish') expect(verdict).toBe('success');
          if (action.do === 'promote') expect(action.ratio).toBeGreaterThan(before);
          if (action.do === 'step back') {
            expect(verdict).toBe('failure');
            expect(action.ratio).toBeGreaterThanOrEqual(0);
            expect(action.ratio).toBeLessThan(before);
          }
          if (verdict === 'inconclusive') expect(action.do).toBe('hold');
        }
      }),
    );
  });

  it('comes to an end without a person after a bounded number of failures and errors', () => {
    fc.assert(
      fc.property(
        policies,
        ratios,
        fc.array(fc.constantFrom<Verdict>('failure', 'error'), { minLength: 200, maxLength: 200 }),
        (policyOf, start, row) => {
          const decided = judge(policyOf, start, row);
          const ended = decided.findIndex(({ action }) => action.do === 'block' || action.do === 'roll back');
          // Each failure uses up a hold or a step back; between two of them errors are fewer than their limit.
          const failures = (policyOf.holds + 1) * (policyOf.stepBacks + 1);
          expect(ended).toBeGreaterThanOrEqual(0);
          expect(ended).toBeLessThan(failures * policyOf.errorLimit);
          const back = decided.filter(({ action }) => action.do === 'step back');
          expect(back.length).toBeLessThanOrEqual(policyOf.stepBacks);
        },
      ),
    );
  });
});

describe('the gates of a ramp', () => {
  const gates: Gates = parseMigrationInput({ topics: ['orders'], groups: ['payments'] }).ramp.gates;
  const good: StepFigures = {
    heldMs: 3_600_000,
    checked: 12_345,
    audit: { ...noAuditFigures, kafkaMessages: 12_345, owlmqMessages: 3_700 },
    fleet: { ...noFleetFigures, looks: 3_600, living: 3, latencyMs: 12, oldestCopyMs: 40, copies: 3_700 },
  };
  const fleet = (change: Partial<StepFigures['fleet']>): StepFigures => ({
    ...good,
    fleet: { ...good.fleet, ...change },
  });
  const audit = (change: Partial<StepFigures['audit']>): StepFigures => ({
    ...good,
    audit: { ...good.audit, ...change },
  });

  it('pass what is well, in words', () => {
    expect(judgeStep(gates, 0.3, good)).toMatchObject({
      verdict: 'success',
      reason: '12,345 messages checked, 0 copies missing',
    });
  });

  it('fail on each figure that is above its limit, by name', () => {
    const failing: [string, StepFigures, Gates?][] = [
      ['publishers', fleet({ behind: ['p1'] })],
      ['publishers cut off', fleet({ cutOff: ['p1'] })],
      ['copy failures', fleet({ dropped: 200 })],
      ['copy failures', fleet({ failedRequests: 200 })],
      ['OwlMQ latency', fleet({ latencyMs: 2_001 })],
      ['lane backlog', fleet({ backlog: 10_001 })],
      ['oldest copy', fleet({ oldestCopyMs: 30_001 })],
      ['parity', audit({ missing: 50 })],
      ['inversions', audit({ inversions: 50 }), { ...gates, inversions: 0.01 }],
    ];
    for (const [name, step, of = gates] of failing) {
      const { verdict, metrics } = judgeStep(of, 0.3, step);
      expect(verdict, name).toBe('failure');
      const failed = metrics.filter((metric) => metric.verdict === 'failure').map((metric) => metric.name);
      expect(failed).toEqual([name]);
    }
    expect(judgeStep(gates, 0.3, audit({ inversions: 50 })).verdict).toBe('success');
  });

  it('judge parity by what publishers copy, however much the bridge forwards', () => {
    const forwarded = { orders: 3_000, refunds: 300 };
    const foreign = { orders: 9_000, refunds: 300 };
    // None of the forwarded is missing, nor repaired: 4 of 400 are a hundredth, 5 are more.
    expect(judgeStep(gates, 0.3, audit({ foreign, forwarded, missing: 4, repaired: 4 })).verdict).toBe('success');
    const failed = judgeStep(gates, 0.3, audit({ foreign, forwarded, missing: 5, repaired: 5 }));
    expect(failed).toMatchObject({
      verdict: 'failure',
      reason: '5 of 400 intended copies were missing after the grace',
    });
    // With forwarded records alone there is nothing that a publisher could have missed.
    const all = { foreign: { orders: 3_700 }, forwarded: { orders: 3_700 } };
    expect(judgeStep({ ...gates, minPublishers: 0 }, 0.3, { ...audit(all) }).verdict).toBe('success');
  });

  it('are inconclusive without traffic, copies, or the publishers that are demanded', () => {
    const silent: StepFigures[] = [
      { ...good, checked: 0, audit: noAuditFigures },
      audit({ owlmqMessages: 0 }),
      fleet({ living: 0 }),
    ];
    for (const step of silent) expect(judgeStep(gates, 0.3, step).verdict).toBe('inconclusive');
    expect(judgeStep({ ...gates, minPublishers: 4 }, 0.3, good).verdict).toBe('inconclusive');
    // Where every producer is forwarded nobody has to report; at 0% nothing is copied.
    expect(judgeStep({ ...gates, minPublishers: 0 }, 0.3, fleet({ living: 0, latencyMs: null })).verdict).toBe(
      'success',
    );
    expect(judgeStep(gates, 0, audit({ owlmqMessages: 0 })).verdict).toBe('success');
    expect(judgeStep({ ...gates, minCopies: 0 }, 0.3, audit({ owlmqMessages: 0 })).verdict).toBe('success');
  });

  it('are an error without figures, but for a failure that is known all the same', () => {
    const unknown: StepFigures = { ...good, fleetError: 'Kafka does not answer' };
    expect(judgeStep(gates, 0.3, unknown)).toMatchObject({ verdict: 'error' });
    expect(judgeStep(gates, 0.3, unknown).reason).toContain('Kafka does not answer');
    expect(judgeStep(gates, 0.3, { ...good, fleet: noFleetFigures }).verdict).toBe('error');
    expect(judgeStep(gates, 0.3, { ...good, auditError: 'OwlMQ is gone' }).verdict).toBe('error');
    expect(judgeStep(gates, 0.3, { ...audit({ missing: 50 }), fleetError: 'x' }).verdict).toBe('failure');
    expect(judgeStep(gates, 0.3, { ...audit({ owlmqMessages: 0 }), auditError: 'x' }).verdict).toBe('error');
  });

  it('never pass a step in which nothing was checked, whatever else was seen', () => {
    const figures = fc.record({
      looks: fc.integer({ min: 0, max: 9 }),
      living: fc.integer({ min: 0, max: 9 }),
      behind: fc.constantFrom<string[]>([], ['p1']),
      cutOff: fc.constantFrom<string[]>([], ['p1']),
      latencyMs: fc.option(fc.integer({ min: 0, max: 9_999 }), { nil: null }),
      backlog: fc.integer({ min: 0, max: 99_999 }),
      oldestCopyMs: fc.option(fc.integer({ min: 0, max: 99_999 }), { nil: null }),
      copies: fc.integer({ min: 0, max: 99 }),
      dropped: fc.integer({ min: 0, max: 9 }),
      failedRequests: fc.integer({ min: 0, max: 9 }),
    });
    fc.assert(
      fc.property(figures, figures, ratios, (one, other, ratio) => {
        const step = { ...good, checked: 0, audit: noAuditFigures, fleet: joinFleetFigures(one, other) };
        expect(judgeStep(gates, ratio, step).verdict).not.toBe('success');
        // Joining never makes a figure better.
        const worst = Math.max(...[one, other].map(({ looks, backlog }) => (looks > 0 ? backlog : 0)));
        expect(joinFleetFigures(one, other).backlog).toBeGreaterThanOrEqual(worst);
      }),
    );
  });

  it('take their limits from the input, and tell all that is wrong with them', () => {
    const input = {
      topics: ['orders'],
      groups: ['payments'],
      forward: ['invoices'],
      audit: { parallelism: 17 },
      ramp: {
        gates: { latency: 'soon', missing: 2, minPublishers: -1 },
        onFailure: { holds: -1, then: 'panic' },
      },
    };
    for (const field of [
      'forward',
      'audit.parallelism',
      'ramp.gates.latency',
      'ramp.gates.missing',
      'ramp.gates.minPublishers',
      'ramp.onFailure.holds',
      'ramp.onFailure.then',
    ]) {
      expect(() => parseMigrationInput(input), field).toThrow(new RegExp(`^- ${field}`, 'm'));
    }
    const plan = parseMigrationInput({ topics: ['orders'], groups: ['payments'], forward: ['orders'] });
    expect(plan.forward).toEqual(['orders']);
    // A run that continues another takes the plan of that one as its input.
    expect(parseMigrationInput(plan)).toEqual(plan);
  });
});

describe('what lasted', () => {
  it('does not count a spike that is over before its time', () => {
    const latency = new Sustained(30);
    for (const [at, value] of [
      [0, 5],
      [10, 900],
      [20, 5],
      [30, 5],
      [40, 700],
      [50, 800],
      [60, 750],
      [70, 600],
    ] as const)
      latency.add(value, at);
    expect(latency.worst).toBe(600);
  });

  it('is at least what every look of some stretch of the time has shown', () => {
    const looks = fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 100 })), {
      minLength: 1,
    });
    fc.assert(
      fc.property(looks, fc.integer({ min: 0, max: 60 }), (row, forMs) => {
        const sustained = new Sustained(forMs);
        let at = 0;
        const seen = row.map(([gap, value]) => {
          at += gap;
          sustained.add(value, at);
          return { at, value };
        });
        let worst: number | null = null;
        for (const [last, { at: end }] of seen.entries()) {
          // The shortest run of looks up to this one that is as long as the time.
          const first = seen.findLastIndex(({ at: begin }, index) => index <= last && end - begin >= forMs);
          if (first === -1) continue;
          const lasting = Math.min(...seen.slice(first, last + 1).map(({ value }) => value));
          worst = Math.max(worst ?? lasting, lasting);
        }
        expect(sustained.worst).toBe(worst);
      }),
    );
  });

  it('are names that were there without a break', () => {
    const behind = new SustainedNames(30);
    for (const [at, names] of [
      [0, ['a', 'b']],
      [10, ['a']],
      [20, ['a', 'b']],
      [30, ['a', 'b']],
      [45, ['b']],
    ] as const)
      behind.add(names, at);
    expect([...behind.names]).toEqual(['a']);
  });
});

describe('the watch of publishers', () => {
  const request: WatchFleetRequest = {
    migration: 'm',
    epoch: 5,
    sliceMs: 3_600_000,
    sustainedMs: 30_000,
    limits: { copyFailures: 0.01, latencyMs: 2_000, backlog: 1_000, oldestCopyMs: 30_000 },
  };

  function publisher(instance: string, change: Record<string, unknown> = {}, silentMs = 0) {
    const owlmq = { messages: 1_000, bytes: 0 };
    const figures = {
      backlog: 0,
      dropped: 0,
      copyErrors: 0,
      owlmqLatencyMs: 9,
      oldestCopyMs: 0,
      mirrorDegraded: false,
    };
    const report = { role: 'publisher', instance, epoch: 5, leaseMs: 10_000, state: 'publishing', owlmq };
    return { report: { ...report, ...figures, ...change }, silentMs };
  }

  it('counts since the begin of the slice, of those who left too, and of those who came from their start', () => {
    const watch = new FleetWatch(request, undefined);
    watch.look([publisher('a', { dropped: 7 }), publisher('b')], 0);
    const copied = { messages: 1_500, bytes: 0 };
    watch.look(
      [
        publisher('a', { dropped: 9, owlmq: copied, state: 'left' }),
        publisher('b', { copyErrors: 2 }, 60_000),
        publisher('c', { owlmq: { messages: 20, bytes: 0 } }),
      ],
      1_000,
    );
    expect(watch.details.figures).toMatchObject({ living: 1, copies: 520, dropped: 2, failedRequests: 2 });
    // An attempt that takes over goes on from there.
    const next = new FleetWatch(request, watch.details);
    next.look([publisher('a', { dropped: 9, owlmq: copied, state: 'left' })], 0);
    expect(next.details.figures).toMatchObject({ copies: 500, dropped: 2 });
  });

  it('has failed once a limit was broken for long enough, not before', () => {
    const broken = [
      { owlmqLatencyMs: 2_500 },
      { backlog: 1_001 },
      { oldestCopyMs: 31_000 },
      { mirrorDegraded: true },
      { epoch: 4 },
    ];
    for (const change of broken) {
      const watch = new FleetWatch(request, undefined);
      for (let at = 0; at < 30_000; at += 1_000) {
        watch.look([publisher('a', change), publisher('b')], at);
        expect(watch.hasFailed(at)).toBe(false);
      }
      watch.look([publisher('a', change), publisher('b')], 30_000);
      expect(watch.hasFailed(30_000), JSON.stringify(change)).toBe(true);
    }
  });

  it('takes failed copies for a failure only when they are too many for all that is to come', () => {
    const watch = new FleetWatch(request, undefined);
    watch.look([publisher('a')], 0);
    watch.look([publisher('a', { dropped: 50, owlmq: { messages: 1_950, bytes: 0 } })], 60_000);
    // 5% of the first minute, and less than 1% of the hour at this rate.
    expect(watch.hasFailed(60_000)).toBe(false);
    expect(watch.hasFailed(3_000_000)).toBe(true);
  });
});

describe('the parts of an audit', () => {
  it('have every partition once, always the same way', () => {
    const topics = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.integer({ min: 0, max: 40 }));
    fc.assert(
      fc.property(topics, fc.integer({ min: 1, max: 16 }), (counts, parallelism) => {
        const shards = partitionShards(counts, parallelism);
        expect(partitionShards({ ...counts }, parallelism)).toEqual(shards);
        expect(shards.length).toBeLessThanOrEqual(parallelism);
        const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
        if (shards.length === 1) {
          expect(shards).toEqual([undefined]);
          expect(Math.min(total, parallelism)).toBeLessThanOrEqual(1);
          return;
        }
        for (const [topic, count] of Object.entries(counts)) {
          const all = shards.flatMap((shard) => shard?.[topic] ?? []).sort((a, b) => a - b);
          expect(all).toEqual(Array.from({ length: count }, (_, partition) => partition));
        }
        const sizes = shards.map((shard) => Object.values(shard ?? {}).flat().length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      }),
    );
  });
});
