import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  interruptWatch,
  noWatchedTime,
  watch,
  watchedMs,
  watchedTimeSchema,
  type Look,
  type WatchedTime,
} from '../src/comparator/watched-time.js';

const limits = { standstillMs: 15_000, quietMs: 20_000 };
const SECOND = 1_000;

/** What happens in each second, to each of two groups: which side moves on, whether something is compared. */
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

describe('watched time', () => {
  it('counts no moment in which a side of any group was dead, or a group silent, whoever looks and when', () => {
    fc.assert(
      fc.property(fc.tuple(life, life), fc.infiniteStream(fault), ([a, b], faults) => {
        const groups = { a, b };
        const length = Math.min(a.length, b.length);
        let watched: WatchedTime = noWatchedTime();
        let saved = watched;
        const upTo = { a: { live: 0, shadow: 0 }, b: { live: 0, shadow: 0 } };
        const compared = { a: 0, b: 0 };
        const countedAt: number[] = [];
        for (let second = 0; second < length; second += 1) {
          const at = (second + 1) * SECOND;
          for (const name of ['a', 'b'] as const) {
            const now = groups[name][second];
            if (now?.live === true) upTo[name].live = at;
            if (now?.shadow === true) upTo[name].shadow = at;
            if (now?.traffic === true && now.live && now.shadow) compared[name] += 1;
          }
          const { value: said } = faults.next() as IteratorYieldResult<Fault>;
          const look = (behind: boolean): Look => ({
            at,
            groups: Object.fromEntries(
              (['a', 'b'] as const).map((name) => [
                name,
                {
                  alive: upTo[name].live > 0 && upTo[name].shadow > 0,
                  comparedUpTo: behind ? undefined : Math.min(upTo[name].live, upTo[name].shadow),
                  comparisons: compared[name],
                },
              ]),
            ),
          });
          if (said === 'is killed') watched = saved;
          if (said === 'pauses') watched = interruptWatch(watched);
          if (said === 'looks' || said === 'looks twice') watched = watch(watched, look(false), limits);
          if (said === 'looks twice') watched = watch(watched, look(false), limits);
          if (said === 'is behind') watched = watch(watched, look(true), limits);
          watched = watchedTimeSchema.parse(JSON.parse(JSON.stringify(watched)));
          if (second % 3 === 0) saved = watched;
          countedAt.push(watchedMs(watched));
        }
        const bad = (['a', 'b'] as const).flatMap((name) => {
          const seconds = groups[name].slice(0, length);
          return [
            inLongRow(
              seconds.map(({ live }) => live),
              limits.standstillMs,
            ),
            inLongRow(
              seconds.map(({ shadow }) => shadow),
              limits.standstillMs,
            ),
            inLongRow(
              seconds.map(({ live, shadow, traffic }) => live && shadow && traffic),
              limits.quietMs,
            ),
          ];
        });
        const good = Array.from({ length }, (_, second) => bad.every((row) => row[second] !== true));
        expect(countedAt.at(-1) ?? 0).toBeLessThanOrEqual(good.filter(Boolean).length * SECOND);
      }),
      { numRuns: 3_000 },
    );
  });

  const look = (at: number, change: Partial<Look['groups'][string]> = {}): Look => ({
    at,
    groups: { a: { alive: true, comparedUpTo: at - 300, comparisons: at, ...change } },
  });
  const through = (looks: readonly Look[], from = noWatchedTime()): WatchedTime =>
    looks.reduce((watched, one) => watch(watched, one, limits), from);
  const seconds = (from: number, to: number, change?: Partial<Look['groups'][string]>): Look[] =>
    Array.from({ length: to - from + 1 }, (_, index) => look((from + index) * SECOND, change));

  it('counts all but the ends while both sides move on', () => {
    // Begun at the second look, and each second is counted once the next one is seen.
    expect(watchedMs(through(seconds(1, 100)))).toBe(97_000);
  });

  it('loses nothing to a standstill that is shorter than the limit, as a rebalance is', () => {
    const standing = { comparedUpTo: 20_000, comparisons: 20_000 };
    expect(watchedMs(through([...seconds(1, 20), ...seconds(21, 30, standing), ...seconds(31, 100)]))).toBe(97_000);
  });

  it('counts nothing from the last sign of life on, once a side is dead', () => {
    const standing = { comparedUpTo: 20_000, comparisons: 20_000 };
    const dead = through([...seconds(1, 20), ...seconds(21, 60, standing)]);
    expect(watchedMs(dead)).toBe(17_000);
    expect(watchedMs(through(seconds(61, 100), dead))).toBe(17_000 + 38_000);
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
