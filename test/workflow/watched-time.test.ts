import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  forgetBefore,
  interruptWatch,
  noWatchedTime,
  watch,
  watchedSpans,
  watchedTimeSchema,
  type GroupLook,
  type Look,
  type WatchedTime,
} from '../../packages/kafka-bridge/src/comparator/watched-time.js';
import { joinReports, watchedTogether } from '../../src/workflows/comparison-parts.js';

const limits = { standstillMs: 15_000, quietMs: 20_000 };
const SECOND = 1_000;
const GROUPS = ['a', 'b'] as const;

/** What happens in each second, to a group in a part: which side moves on, whether something is compared. */
interface Second {
  live: boolean;
  shadow: boolean;
  traffic: boolean;
}

type Fault = 'looks' | 'is away' | 'is killed' | 'looks twice' | 'is behind' | 'pauses';

/** Runs of seconds that are alike, so that long ones are likely. */
const life = fc
  .array(
    fc.record({
      length: fc.integer({ min: 1, max: 40 }),
      live: fc.integer({ min: 0, max: 5 }).map((chance) => chance > 0),
      shadow: fc.integer({ min: 0, max: 5 }).map((chance) => chance > 0),
      traffic: fc.integer({ min: 0, max: 4 }).map((chance) => chance > 0),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((runs): Second[] => runs.flatMap(({ length, ...second }) => new Array<Second>(length).fill(second)));

/** What whoever looks does at the end of a second. */
const fault: fc.Arbitrary<Fault> = fc.oneof(
  { weight: 20, arbitrary: fc.constant('looks' as const) },
  { weight: 2, arbitrary: fc.constant('is away' as const) },
  { weight: 1, arbitrary: fc.constant('is killed' as const) },
  { weight: 1, arbitrary: fc.constant('looks twice' as const) },
  { weight: 1, arbitrary: fc.constant('is behind' as const) },
  { weight: 1, arbitrary: fc.constant('pauses' as const) },
);

/** Seconds within a row of more than `limit` in which something does not happen. */
function inLongRow(happens: readonly boolean[], limitMs: number): boolean[] {
  const found = happens.map(() => false);
  let since = 0;
  for (let second = 0; second <= happens.length; second += 1) {
    if (second < happens.length && happens[second] !== true) continue;
    if ((second - since) * SECOND > limitMs) found.fill(true, since, second);
    since = second + 1;
  }
  return found;
}

interface PartOfWatch {
  watched: WatchedTime;
  saved: WatchedTime;
  readonly upTo: Record<string, { live: number; shadow: number }>;
  readonly compared: Record<string, number>;
}

function newPart(): PartOfWatch {
  const upTo = { a: { live: 0, shadow: 0 }, b: { live: 0, shadow: 0 } };
  return { watched: noWatchedTime(), saved: noWatchedTime(), upTo, compared: { a: 0, b: 0 } };
}

function lookOf({ upTo, compared }: PartOfWatch, at: number, behind: boolean): Look {
  const groups = GROUPS.map((name) => {
    const { live = 0, shadow = 0 } = upTo[name] ?? {};
    const reportedUpTo = { live: live > 0 ? live : undefined, shadow: shadow > 0 ? shadow : undefined };
    const comparedUpTo = behind || live === 0 || shadow === 0 ? undefined : Math.min(live, shadow);
    return [name, { reportedUpTo, comparedUpTo, comparisons: compared[name] ?? 0 }] as const;
  });
  return { from: at, at, groups: Object.fromEntries(groups) };
}

function apply(part: PartOfWatch, fault: Fault, at: number): void {
  if (fault === 'is killed') part.watched = part.saved;
  if (fault === 'pauses') part.watched = interruptWatch(part.watched);
  const looks = fault === 'looks twice' ? 2 : fault === 'looks' || fault === 'is behind' ? 1 : 0;
  for (let look = 0; look < looks; look += 1) {
    part.watched = watch(part.watched, lookOf(part, at, fault === 'is behind'), limits);
  }
  part.watched = watchedTimeSchema.parse(JSON.parse(JSON.stringify(part.watched)));
}

describe('watched time', () => {
  const partLives = fc.array(fc.record({ a: life, b: life }), { minLength: 1, maxLength: 3 });
  it('counts no moment in which a side was dead in any part, or a group silent in all, whoever looks and when', () => {
    fc.assert(
      fc.property(partLives, fc.infiniteStream(fault), fc.infiniteStream(fc.nat(9)), (lives, faults, ends) => {
        const length = Math.min(...lives.flatMap(({ a, b }) => [a.length, b.length]));
        const parts = lives.map(newPart);
        let counted = { watchedMs: 0, watchedFrom: 0 };
        for (let second = 0; second < length; second += 1) {
          const at = (second + 1) * SECOND;
          for (const [index, part] of parts.entries()) {
            for (const name of GROUPS) {
              const now = lives[index]?.[name][second];
              const side = part.upTo[name];
              if (now?.live === true && side !== undefined) side.live = at;
              if (now?.shadow === true && side !== undefined) side.shadow = at;
              if (now?.traffic === true && now.live && now.shadow) part.compared[name] = (part.compared[name] ?? 0) + 1;
            }
            apply(part, (faults.next() as IteratorYieldResult<Fault>).value, at);
            if (second % 3 === 0) part.saved = part.watched;
          }
          if (second < length - 1 && ends.next().value !== 0) continue;
          // A slice ends: all parts report.
          const reports = parts.map(({ watched }) => ({
            ...{ checkpoint: undefined, groups: {}, samples: [] },
            watched: watchedSpans(watched),
          }));
          const joined = joinReports(reports, { ...counted, groups: GROUPS, quietMs: limits.quietMs, now: at });
          expect(joined.watchedMs).toBeGreaterThanOrEqual(counted.watchedMs);
          counted = { watchedMs: joined.watchedMs ?? 0, watchedFrom: joined.watchedUpTo };
          for (const part of parts) part.watched = forgetBefore(part.watched, joined.watchedUpTo - limits.quietMs);
        }
        const rows = (happens: (of: Second) => boolean, limitMs: number): boolean[][] =>
          lives.flatMap(({ a, b }) =>
            [a, b].map((seconds) => inLongRow(seconds.slice(0, length).map(happens), limitMs)),
          );
        const traffic = GROUPS.map((name) =>
          Array.from({ length }, (_, second) =>
            lives.some(
              (life) => life[name][second]?.traffic === true && life[name][second].live && life[name][second].shadow,
            ),
          ),
        );
        const bad = [
          ...rows(({ live }) => live, limits.standstillMs),
          ...rows(({ shadow }) => shadow, limits.standstillMs),
          ...traffic.map((seconds) => inLongRow(seconds, limits.quietMs)),
        ];
        const good = Array.from({ length }, (_, second) => bad.every((row) => row[second] !== true));
        expect(counted.watchedMs).toBeLessThanOrEqual(good.filter(Boolean).length * SECOND);
      }),
      { numRuns: 1_000 },
    );
  });

  it('is lost by no part in which nothing of a group is, nor by one with little of it', () => {
    const spans = (compared: Record<string, [number, number][]>, alive: [number, number][] = [[0, 100_000]]) => ({
      ...{ lookedAt: 100_000, alive, compared },
    });
    const together = (...parts: Parameters<typeof watchedTogether>[0]) =>
      watchedTogether(parts, { groups: ['a'], quietMs: limits.quietMs });
    const busy: [number, number][] = [
      [0, 40_000],
      [70_000, 99_000],
    ];
    expect(together(spans({ a: busy }))).toEqual(busy);
    expect(together(spans({ a: busy }), spans({ a: [[55_000, 54_000]] }))).toEqual([[0, 99_000]]);
    expect(together(spans({ a: busy }), spans({}, []))).toEqual(busy);
    expect(together(spans({ a: busy }), spans({ a: [] }, [[10_000, 80_000]]))).toEqual([
      [10_000, 40_000],
      [70_000, 80_000],
    ]);
    expect(together(spans({ b: busy }))).toEqual([]);
    expect(together(spans({ a: busy }), watchedSpans(noWatchedTime()))).toEqual([]);
  });

  const both = (time: number): GroupLook['reportedUpTo'] => ({ live: time, shadow: time });
  const look = (at: number, change: Partial<Look['groups'][string]> = {}): Look => ({
    ...{ from: at, at },
    groups: { a: { reportedUpTo: both(at - 300), comparedUpTo: at - 300, comparisons: at, ...change } },
  });
  const watchedMs = (watched: WatchedTime): number =>
    watchedTogether([watchedSpans(watched)], { groups: ['a'], quietMs: limits.quietMs }).reduce(
      (sum, [since, until]) => sum + until - since,
      0,
    );
  const through = (looks: readonly Look[], from = noWatchedTime()): WatchedTime =>
    looks.reduce((watched, one) => watch(watched, one, limits), from);
  const seconds = (from: number, to: number, change?: Partial<Look['groups'][string]>): Look[] =>
    Array.from({ length: to - from + 1 }, (_, index) => look((from + index) * SECOND, change));

  it('does not forget a group that a look says nothing of', () => {
    const watched = watch(through(seconds(1, 20)), { from: 21 * SECOND, at: 21 * SECOND, groups: {} }, limits);
    expect(Object.keys(watchedSpans(watched).compared)).toEqual(['a']);
    const later = through(
      seconds(22, 81).map((one) => ({ ...one, groups: {} })),
      watched,
    );
    expect(watchedMs(later)).toBe(17_000);
  });

  it('counts nothing beyond the present, as a worker whose clock is ahead would', () => {
    const report = {
      ...{ checkpoint: undefined, groups: {}, samples: [] },
      watched: {
        lookedAt: 90_000,
        alive: [[10_000, 90_000] as [number, number]],
        compared: { a: [[10_000, 90_000] as [number, number]] },
      },
    };
    const options = { groups: ['a'], quietMs: limits.quietMs, watchedFrom: 0, watchedMs: 0, now: 40_000 };
    expect(joinReports([report], options)).toMatchObject({ watchedMs: 30_000, watchedUpTo: 40_000 });
  });

  it('goes back by what is not judged yet, over stretches that have ended too', () => {
    const standing = { reportedUpTo: both(20_000), comparedUpTo: 20_000, comparisons: 20_000 };
    const watched = through([...seconds(1, 20), ...seconds(21, 60, standing), ...seconds(61, 100)]);
    const alive = (unjudgedMs: number): [number, number][] => watchedSpans(watched, unjudgedMs).alive;
    const [first, second] = alive(0);
    expect(second?.[1]).toBe(99_000);
    expect(alive(10_000)).toEqual([first, [second?.[0], 89_000]]);
    expect(alive((second?.[1] ?? 0) - (second?.[0] ?? 0) + 2_000)).toEqual([[first?.[0], (first?.[1] ?? 0) - 2_000]]);
    expect(alive(90_000)).toEqual([]);
  });

  it('counts all but the ends while both sides move on', () => {
    // Begun at the second look, and each second is counted once the next one is seen.
    expect(watchedMs(through(seconds(1, 100)))).toBe(97_000);
  });

  it('loses nothing to a standstill that is shorter than the limit, as a rebalance is', () => {
    const standing = { reportedUpTo: both(20_000), comparedUpTo: 20_000, comparisons: 20_000 };
    expect(watchedMs(through([...seconds(1, 20), ...seconds(21, 30, standing), ...seconds(31, 100)]))).toBe(97_000);
  });

  it('counts nothing from the last sign of life on, once a side is dead', () => {
    const standing = { reportedUpTo: both(20_000), comparedUpTo: 20_000, comparisons: 20_000 };
    const dead = through([...seconds(1, 20), ...seconds(21, 60, standing)]);
    expect(watchedMs(dead)).toBe(17_000);
    expect(watchedMs(through(seconds(61, 100), dead))).toBe(17_000 + 38_000);
  });

  it('takes the sides for alive while the comparison is behind, and counts no further than it came', () => {
    const behind = through([...seconds(1, 20), ...seconds(21, 60, { comparedUpTo: undefined })]);
    expect(watchedMs(behind)).toBe(18_000);
    expect(watchedMs(through(seconds(61, 100), behind))).toBe(97_000);
  });

  it('takes a side for dead from its last report on, also while the comparison is behind', () => {
    const behind = { reportedUpTo: both(20_700), comparedUpTo: undefined, comparisons: 20_000 };
    const dead = through([
      ...seconds(1, 20),
      ...seconds(21, 40, behind),
      ...seconds(41, 60, { ...behind, comparedUpTo: 20_700 }),
    ]);
    expect(watchedSpans(dead).alive).toEqual([[2_000, 20_000]]);
  });

  it('takes one side for dead while the other catches up', () => {
    const looks = [...seconds(1, 20), ...seconds(21, 60)].map(({ at, groups: { a } }): Look => {
      const reportedUpTo = { live: Math.min(at, 20_000), shadow: at / 4 };
      return { from: at, at, groups: { a: { ...(a as GroupLook), reportedUpTo, comparedUpTo: at / 4 } } };
    });
    expect(watchedMs(through(looks))).toBe(8_000);
  });

  it('begins with no look at which the comparison was behind', () => {
    const first = through([...seconds(1, 30, { comparedUpTo: undefined }), ...seconds(31, 60)]);
    expect(watchedSpans(first).alive).toEqual([[31_000, 59_000]]);
    // It has judged, as of long ago.
    const late = through([...seconds(1, 30, { comparedUpTo: 500 }), ...seconds(31, 60)]);
    expect(watchedSpans(late).alive[0]?.[0]).toBe(2_000);
    expect(watchedMs(through([...seconds(20, 40, { comparedUpTo: 500 }), ...seconds(41, 60)]))).toBe(18_000);
  });

  it('counts no silence as shorter since a look took long', () => {
    const slow = (from: number, at: number, time: number): Look => {
      const { groups } = look(time);
      return { from, at, groups };
    };
    // Silent from 20 s on; a look that began at 34.5 s sees it back at 44 s, and another one right after.
    const silent = { reportedUpTo: both(20_000), comparedUpTo: 20_000, comparisons: 20_000 };
    const dead = through([...seconds(1, 20), ...seconds(21, 34, silent)]);
    const back = through([slow(34_500, 44_500, 44_000), slow(44_600, 44_700, 44_600)], dead);
    expect(watchedSpans(through(seconds(46, 60), back)).alive[0]).toEqual([2_000, 20_000]);
  });

  it('counts compared time, where that comes slower than the clock', () => {
    const slow = Array.from({ length: 100 }, (_, index) =>
      look((index + 1) * SECOND, { comparedUpTo: (index + 1) * 500 }),
    );
    expect(watchedMs(through(slow))).toBeLessThanOrEqual(50_000);
  });

  it('does not count a pause, or a clock that goes back', () => {
    const paused = interruptWatch(through(seconds(1, 20)));
    expect(watchedMs(through(seconds(24, 40), paused))).toBe(17_000 + 15_000);
    const back = through([...seconds(101, 120), ...seconds(1, 20)]);
    expect(watchedMs(back)).toBeLessThanOrEqual(17_000 + 17_000);
  });
});
