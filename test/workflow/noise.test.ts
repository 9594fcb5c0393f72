import { describe, expect, it } from 'vitest';
import type { GroupComparison } from '../../src/activities/migration-activities.js';
import { joinReports } from '../../src/workflows/comparison-parts.js';
import {
  newNoise,
  noiseFinding,
  noiseShortfalls,
  noisyFields,
  proposedIgnore,
  takeNoise,
} from '../../src/workflows/noise.js';
import type { GroupNoise } from '../../src/workflows/noise.js';

const clean: GroupNoise = {
  ...{ comparisons: 1_000, ignored: 0, different: 0, failed: 0, alone: 0 },
  ...{ fields: {}, unnamed: 0, more: 0 },
};

function comparison(
  change: Partial<GroupComparison>,
  counts: Partial<GroupComparison['counts']> = {},
): GroupComparison {
  const none = { missing: 0, unexpected: 0, different: 0, reordered: 0, failedLive: 0, failedShadow: 0, ignored: 0 };
  return { counts: { matched: 0, ...none, ...counts }, comparedUpTo: 0, stalled: [], ...change };
}

describe('fields that differ by themselves', () => {
  it.each<[string, Record<string, number>, [string, number][]]>([
    [
      'stand with how often they differ',
      { '/id': 1_000, '/at': 31, '/b': 31 },
      [
        ['/id', 1_000],
        ['/at', 31],
        ['/b', 31],
      ],
    ],
    ['keep the index of one item', { '/lines/0/at': 5 }, [['/lines/0/at', 5]]],
    [
      'have "*" for several items of a list',
      { '/lines/0/at': 5, '/lines/12/at': 7, '/lines/3/id': 1 },
      [
        ['/lines/*/at', 7],
        ['/lines/*/id', 1],
      ],
    ],
    ['in lists of lists', { '/a/0/b/0': 1, '/a/1/b/1': 2, '/a/1/b/0': 3 }, [['/a/*/b/*', 3]]],
    [
      'do not widen to what is left of a long list',
      { '/lines/0/at': 5, '/lines/1/at': 5, '/lines/*': 9 },
      [['/lines/*/at', 5]],
    ],
    ['unless nothing finer is known', { '/tags/0': 1, '/tags/*': 2 }, [['/tags/*', 2]]],
    [
      'may be the whole, or a part that is named by its parts too',
      { '': 1, '/a': 2, '/a/b': 3 },
      [
        ['/a/b', 3],
        ['/a', 2],
        ['', 1],
      ],
    ],
    ['keep their escapes', { '/a~1b/0/~0': 1, '/a~1b/1/~0': 1 }, [['/a~1b/*/~0', 1]]],
  ])('%s', (_, fields, wanted) => {
    expect(noisyFields(fields)).toEqual(wanted);
  });

  it('are proposed for ignore, but for the whole', () => {
    expect(proposedIgnore({ ...clean, fields: { '': 3, '/at': 1, '/lines/0/id': 2, '/lines/1/id': 2 } })).toEqual([
      ...['/lines/*/id', '/at'],
    ]);
  });
});

describe('what is found of a group', () => {
  it('is nothing where it is equal to itself, whatever it ignores', () => {
    expect(noiseFinding('payments', { ...clean, ignored: 1_000 })).toBeUndefined();
  });

  it('names fields, and what to ignore', () => {
    const found = noiseFinding('payments', { ...clean, different: 1_000, fields: { '/at': 31, "/o'id": 1_000 } });
    expect(found?.cause).toBe("group payments differs from itself in /o'id (1,000 of 1,000), /at (31 of 1,000)");
    expect(found?.todo).toContain('sources that `process` is given (clock, random, id)');
    expect(found?.todo).toContain(`add \`ignore: ["/o'id", '/at']\` to its DualConsumer`);
  });

  it('tells what has no field, what is left out, and no more than can be read', () => {
    const fields = Object.fromEntries(Array.from({ length: 25 }, (_, index) => [`/f${index}`, 1]));
    const found = noiseFinding('payments', { ...clean, different: 30, fields, unnamed: 4, more: 7 });
    expect(found?.cause).toMatch(
      /5 more fields, see the status, fields too many .* \(7 times\), outputs .* \(4 of 1,000\)/,
    );
    expect(noiseFinding('payments', { ...clean, different: 1, unnamed: 1 })?.todo).toContain('give it `comparable`');
  });

  it('tells a handler that fails by chance from what is not the handler', () => {
    const found = noiseFinding('payments', { ...clean, failed: 2, alone: 3 });
    expect(found?.cause).toMatch(
      /failed on one side alone \(2 of 1,000\).*; of group payments one side alone handled 3 messages/,
    );
    expect(found?.cause).toContain('that is not its handler');
    expect(found?.todo).toContain('payments.shadow');
  });
});

describe('a measurement', () => {
  const target = { groups: ['a', 'b'], durationMs: 10_000, minComparisons: 50 };

  it('lasts until every group was compared for long and often enough', () => {
    const before = newNoise(1, [7]);
    expect(noiseShortfalls(before, target)).toEqual([
      ...['10 s of measured time', '50 comparisons of group a', '50 comparisons of group b'],
    ]);
    const differing = { fields: { '/at': 2 }, unnamed: 0, more: 0 };
    const counts = { matched: 40, ignored: 5, different: 2, failedLive: 2, failedShadow: 1, missing: 1, unexpected: 1 };
    const groups = { a: comparison({ differing }, counts), b: comparison({}, { matched: 49 }) };
    const noise = takeNoise(before, { groups, watchedMs: 11_000, watchedUpTo: 99, samples: [] }, target.groups);
    expect(noise).toMatchObject({ start: [7], measuredMs: 11_000, measuredUpTo: 99, missing: [] });
    expect(noise.groups['a']).toEqual({
      ...{ comparisons: 50, ignored: 5, different: 2, failed: 3, alone: 2 },
      ...differing,
    });
    expect(noiseShortfalls(noise, target)).toEqual(['1 comparisons of group b']);
  });

  it('adds up what the parts of a comparison found', () => {
    const part = (fields: Record<string, number>, matched: number) => ({
      ...{ checkpoint: null, samples: [], watched: { lookedAt: 0, alive: [], compared: { a: [] } } },
      groups: { a: comparison({ differing: { fields, unnamed: 1, more: 2 } }, { matched }) },
    });
    const parts = [part({ '/at': 2, '/id': 1 }, 5), part({ '/at': 3 }, 6)];
    const joined = joinReports(parts, { groups: ['a'], quietMs: 1, watchedFrom: 0, watchedMs: 0, now: 1e15 });
    expect(takeNoise(newNoise(1, []), joined, ['a']).groups['a']).toMatchObject({
      ...{ comparisons: 11, fields: { '/at': 5, '/id': 1 }, unnamed: 2, more: 4 },
    });
  });

  it('says why time does not count', () => {
    const before = { ...newNoise(1, []), measuredMs: 5_000 };
    const report = (groups: Record<string, GroupComparison>, watchedMs: number) =>
      takeNoise(before, { groups, watchedMs, watchedUpTo: 0, samples: [] }, ['a']);
    expect(report({ a: comparison({ stalled: ['Group a: silent.'] }) }, 5_000).missing).toEqual(['Group a: silent.']);
    expect(report({ a: comparison({}) }, 5_000).missing).toEqual([expect.stringContaining('No time since')]);
    expect(report({ a: comparison({}) }, 5_001).missing).toEqual([]);
    expect(report({}, 9_000).missing).toEqual(['Group a: nothing was reported.']);
  });
});
