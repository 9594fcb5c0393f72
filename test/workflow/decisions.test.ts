import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvalidInputError, parseMigrationInput, planSteps, words } from '@owlmq/kafka-bridge/playbook';
import type { GroupComparison, SoakReport } from '../../src/activities/migration-activities.js';
import { advanceSoakClock, newSoakClock, soakShortfalls, type SoakTarget } from '../../src/workflows/soak-clock.js';

const noVerdicts: GroupComparison['counts'] = {
  matched: 0,
  missing: 0,
  unexpected: 0,
  different: 0,
  reordered: 0,
  failedLive: 0,
  failedShadow: 0,
  ignored: 0,
};

function group(matched: number, comparedUpTo: number | null, more: Partial<GroupComparison['counts']> = {}) {
  return { counts: { ...noVerdicts, matched, ...more }, comparedUpTo, stalled: [] as string[] };
}

function report(groups: Record<string, GroupComparison>): SoakReport['comparison'] {
  return { checkpoint: null, groups, samples: [] };
}

const target: SoakTarget = { groups: ['a', 'b'], durationMs: 10_000, minComparisons: 5 };

describe('the soak clock', () => {
  it('counts the time in which every group was compared', () => {
    let clock = advanceSoakClock(newSoakClock(), report({ a: group(3, 1_000), b: group(3, 1_000) }), 1_000, target);
    clock = advanceSoakClock(clock, report({ a: group(9, 6_000), b: group(9, 3_000) }), 5_000, target);
    expect(clock.cleanMs).toBe(2_000);
    expect(clock.missing).toEqual([]);
    expect(soakShortfalls(clock, target)).toEqual(['8 s of clean time']);
  });

  it('stands while a group has no traffic, a side is missing, or the comparison says it is stalled', () => {
    const start = advanceSoakClock(newSoakClock(), report({ a: group(3, 1_000), b: group(3, 1_000) }), 1_000, target);
    const silent = [
      { a: group(9, 9_000), b: group(3, 9_000) },
      { a: group(9, 9_000), b: group(9, null) },
      { a: group(9, 9_000), b: { ...group(9, 9_000), stalled: ['Group b: no shadow.'] } },
      { a: group(9, 9_000) },
    ];
    for (const groups of silent) {
      const clock = advanceSoakClock(start, report(groups), 5_000, target);
      expect(clock.cleanMs).toBe(start.cleanMs);
      expect(clock.missing.join()).toMatch(/[Gg]roup b/);
    }
  });

  it('goes back to zero, comparisons too, at any kind of discrepancy', () => {
    for (const kind of ['missing', 'unexpected', 'different', 'reordered', 'failedLive', 'failedShadow'] as const) {
      const start = advanceSoakClock(newSoakClock(), report({ a: group(9, 1_000), b: group(9, 1_000) }), 1_000, target);
      const groups = { a: group(20, 2_000), b: group(20, 2_000, { [kind]: 1 }) };
      const clock = advanceSoakClock(start, report(groups), 1_000, target);
      expect(clock).toMatchObject({ cleanMs: 0, restarts: 1 });
      expect(soakShortfalls(clock, target)).toHaveLength(3);
      // The same report again is no new discrepancy, and no new time.
      expect(advanceSoakClock(clock, report(groups), 1_000, target)).toMatchObject({ cleanMs: 0, restarts: 1 });
    }
  });

  it('counts watched time once, whatever is reported again, out of date, or late', () => {
    const step = fc.record({
      watched: fc.integer({ min: 0, max: 60_000 }),
      lost: fc.integer({ min: 0, max: 60_000 }),
      differ: fc.integer({ min: 0, max: 9 }).map((chance) => chance === 0),
      again: fc.option(fc.nat({ max: 39 }), { nil: null }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let clock = newSoakClock();
        let watchedMs = 0;
        let differences = 0;
        let sinceDiscrepancy = 0;
        const reports: SoakReport['comparison'][] = [];
        for (const { watched, lost, differ, again } of steps) {
          watchedMs += watched;
          if (differ) differences += 1;
          const counts = { ...noVerdicts, matched: watchedMs, different: differences };
          const of = { counts, comparedUpTo: watchedMs, stalled: [] };
          const said = { ...report({ a: of, b: of }), watchedMs };
          reports.push(said);
          clock = advanceSoakClock(clock, said, watched + lost, target);
          sinceDiscrepancy = differ ? 0 : sinceDiscrepancy + watched;
          expect(clock.cleanMs).toBe(sinceDiscrepancy);
          const old = again === null ? undefined : reports[again];
          // Redelivered or out of date: nothing new, and no discrepancy that was not seen before.
          if (old !== undefined) clock = { ...advanceSoakClock(clock, old, 1_000, target), missing: [] };
          expect(clock).toMatchObject({ cleanMs: sinceDiscrepancy, restarts: differences });
          expect(clock.groups['a']).toMatchObject({ matched: watchedMs, discrepancies: differences });
        }
      }),
      { numRuns: 500 },
    );
  });

  it('counts no more than has passed, and what the report before had not told yet', () => {
    const at = (watchedMs: number) => ({
      ...report({ a: group(watchedMs, watchedMs), b: group(watchedMs, watchedMs) }),
      watchedMs,
    });
    let clock = advanceSoakClock(newSoakClock(), at(3_000), 5_000, target);
    expect(clock.cleanMs).toBe(3_000);
    clock = advanceSoakClock(clock, at(10_000), 5_000, target);
    expect(clock.cleanMs).toBe(10_000);
    clock = advanceSoakClock(clock, at(20_000), 1_000, target);
    expect(clock.cleanMs).toBe(11_000);
    clock = advanceSoakClock(clock, at(20_000), 1_000, target);
    expect(clock.missing.join()).toContain('no time since the last report');
  });

  it('does not go back for acknowledged discrepancies, which are comparisons', () => {
    const start = advanceSoakClock(newSoakClock(), report({ a: group(3, 1_000), b: group(3, 1_000) }), 1_000, target);
    const known = { ...report({ a: group(9, 2_000, { acknowledged: 4 }), b: group(9, 2_000) }), watchedMs: 900 };
    const clock = advanceSoakClock(start, known, 1_000, target);
    expect(clock).toMatchObject({ cleanMs: 900, restarts: 0 });
    expect(clock.groups['a']?.comparisons).toBe(13);
  });

  it('never counts more than the time that passed, nor time of a dead side, whatever is reported', () => {
    const step = fc.record({
      elapsedMs: fc.integer({ min: 0, max: 3_600_000 }),
      compared: fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 50 })),
      progress: fc.tuple(fc.integer({ min: 0, max: 7_200_000 }), fc.integer({ min: 0, max: 7_200_000 })),
      dead: fc.option(fc.constantFrom('a', 'b'), { nil: null }),
      differ: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let clock = newSoakClock();
        const total = { a: 0, b: 0 };
        const upTo = { a: 0, b: 0 };
        let differences = 0;
        for (const { elapsedMs, compared, progress, dead, differ } of steps) {
          const before = clock.cleanMs;
          total.a += compared[0];
          total.b += compared[1];
          upTo.a += progress[0];
          upTo.b += progress[1];
          if (differ) differences += 1;
          clock = advanceSoakClock(
            clock,
            report({
              a: group(total.a, dead === 'a' ? null : upTo.a, { different: differences }),
              b: group(total.b, dead === 'b' ? null : upTo.b),
            }),
            elapsedMs,
            target,
          );
          expect(clock.cleanMs).toBeLessThanOrEqual(before + elapsedMs);
          if (dead !== null || compared[0] === 0 || compared[1] === 0)
            expect(clock.cleanMs).toBeLessThanOrEqual(before);
          if (differ) expect(clock.cleanMs).toBe(0);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('the input', () => {
  it('fills in the playbook', () => {
    const plan = parseMigrationInput({ topics: ['orders'], groups: ['payments'] });
    expect(plan.ramp).toMatchObject({ step: 0.1, interval: 3_600_000, onFailure: { holds: 1, then: 'block' } });
    expect(plan.soak).toMatchObject({ duration: 172_800_000, minComparisons: 1_000, lateness: 60_000 });
    expect(plan.cutover).toMatchObject({ window: 30_000, trigger: 'automatic' });
    expect(plan.warm.duration).toBe(14 * 86_400_000);
    expect(plan.decommission).toBe('approval');
    expect(planSteps(plan).map(({ phase }) => phase)).toEqual([
      'preflight',
      ...new Array<string>(10).fill('dual-write'),
      'shadow-soak',
      'ready',
      'cutover',
      'warm',
      'decommission',
      'decommission',
    ]);
  });

  it('measures noise before the ramp, where a time is given for it', () => {
    const noise = { duration: '30 minutes' };
    const plan = parseMigrationInput({ topics: ['orders'], groups: ['payments'], noise });
    expect(plan.noise).toEqual({ duration: 1_800_000, minComparisons: 1_000, lateness: 60_000 });
    expect(planSteps(plan)[1]).toMatchObject({ phase: 'noise', atLeastMs: 1_800_000 });
  });

  it('names every problem with its field', () => {
    const bad = { topics: ['a b'], groups: [], ramp: { step: 2, interval: '-1h' }, warm: { duration: 'x' }, extra: 1 };
    expect(() => parseMigrationInput(bad)).toThrow(InvalidInputError);
    try {
      parseMigrationInput(bad);
    } catch (error) {
      const { problems } = error as InvalidInputError;
      for (const field of ['topics.0', 'groups', 'ramp.step', 'ramp.interval', 'warm.duration', 'extra']) {
        expect(
          problems.some((problem) => problem.includes(field)),
          field,
        ).toBe(true);
      }
    }
    expect(() => parseMigrationInput(undefined)).toThrow(/topics/);
    expect(() => parseMigrationInput('orders')).toThrow(InvalidInputError);
  });

  it('writes durations as people say them', () => {
    expect([3_600_000, 172_800_000, 90_000, 500, 1_000].map(words)).toEqual([
      '1 hour',
      '2 days',
      '90 seconds',
      '500 ms',
      '1 second',
    ]);
  });
});
