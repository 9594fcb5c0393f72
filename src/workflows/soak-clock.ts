import type { ComparedSoFar, GroupComparison, VerdictCounts } from '../activities/migration-activities.js';

/** How much clean comparison there has been without a break. JSON-safe. */
export interface SoakClock {
  /** Clean time since the last discrepancy, ms. */
  cleanMs: number;
  /** Times the clock was set back by a discrepancy. */
  restarts: number;
  groups: Record<string, GroupClock>;
  /** What stands in the way of clean time, in words; empty while it counts. */
  missing: string[];
  /** Watched time as far as it was counted, and time that passed without being counted that may still be. */
  watched?: { ms: number; unspentMs: number };
  lastDiscrepancy?: { group: string; verdict: string; topic: string; id: string; fields: string[] };
}

interface GroupClock {
  comparedUpTo: number | null;
  /** Cumulative, as last reported. */
  matched: number;
  discrepancies: number;
  /** Comparisons since the clock last stood at zero. */
  comparisons: number;
}

export interface SoakTarget {
  groups: string[];
  durationMs: number;
  minComparisons: number;
}

/** Watched time may reach the workflow this much after it passed: in the report of the next slice. */
const MAX_UNSPENT_MS = 15_000;
const SHORTEST_QUIET_MS = 15_000;
const LONGEST_QUIET_MS = 3_600_000;

export function newSoakClock(): SoakClock {
  return { cleanMs: 0, restarts: 0, groups: {}, missing: ['no comparison has been reported yet'] };
}

/** Verdicts that say that live and shadow did not do the same. */
export function discrepancyCount(counts: VerdictCounts): number {
  return (
    counts.missing + counts.unexpected + counts.different + counts.reordered + counts.failedLive + counts.failedShadow
  );
}

/**
 * How long a group may go without a comparison, ms: as long as the comparisons that are wanted are apart on average,
 * within limits.
 */
export function quietMs({ durationMs, minComparisons }: SoakTarget): number {
  return Math.min(LONGEST_QUIET_MS, Math.max(SHORTEST_QUIET_MS, Math.round(durationMs / Math.max(1, minComparisons))));
}

/**
 * The clock after a report. It gains what the report says was watched since the last one: time in which every group was
 * compared on both sides, silence left out; never more than the time that passed. Any discrepancy sets it to zero.
 * Figures are cumulative, so a report that was counted already, or that is out of date, changes nothing.
 *
 * @param elapsedMs time between the last report and this one, on the workflow's clock, pauses left out.
 */
export function advanceSoakClock(
  clock: SoakClock,
  report: ComparedSoFar,
  elapsedMs: number,
  target: SoakTarget,
): SoakClock {
  const missing: string[] = [];
  const groups: Record<string, GroupClock> = {};
  let progress = elapsedMs;
  const discrepant: string[] = [];
  for (const name of target.groups) {
    const before = clock.groups[name] ?? { comparedUpTo: null, matched: 0, discrepancies: 0, comparisons: 0 };
    const now: GroupComparison | undefined = report.groups[name];
    if (now === undefined) {
      missing.push(`group ${name}: nothing was reported`);
      groups[name] = before;
      progress = 0;
      continue;
    }
    const discrepancies = discrepancyCount(now.counts);
    const matched = now.counts.matched + now.counts.ignored + (now.counts.acknowledged ?? 0);
    const compared = matched - before.matched;
    if (discrepancies > before.discrepancies) discrepant.push(name);
    missing.push(...now.stalled);
    if (report.watchedMs === undefined) {
      const moved = progressMs(before.comparedUpTo, now.comparedUpTo, elapsedMs);
      if (compared <= 0) missing.push(`group ${name}: no comparison in the last ${Math.round(elapsedMs / 1000)} s`);
      else if (moved === 0) missing.push(`group ${name}: the compared time does not advance`);
      progress = Math.min(progress, compared > 0 && now.stalled.length === 0 ? moved : 0);
    }
    groups[name] = {
      comparedUpTo:
        report.watchedMs === undefined
          ? (now.comparedUpTo ?? before.comparedUpTo)
          : latest(before.comparedUpTo, now.comparedUpTo),
      matched: Math.max(matched, before.matched),
      discrepancies: Math.max(discrepancies, before.discrepancies),
      comparisons: before.comparisons + Math.max(0, compared),
    };
  }
  const { watchedMs } = report;
  const spent = watchedMs === undefined ? undefined : spend(clock.watched, watchedMs, elapsedMs);
  const gainMs = spent?.gainMs ?? Math.max(0, progress);
  const watched = spent?.watched ?? clock.watched;
  const next = watched === undefined ? clock : { ...clock, watched };
  if (discrepant.length > 0) return restarted(next, groups, report, discrepant);
  if (spent?.gainMs === 0 && missing.length === 0)
    missing.push('no time since the last report in which every group was compared and moved on');
  return { ...next, cleanMs: clock.cleanMs + gainMs, groups, missing };
}

/** Of the watched time what is new, as far as that much time has passed. */
function spend(
  before: SoakClock['watched'],
  watchedMs: number,
  elapsedMs: number,
): { gainMs: number; watched: NonNullable<SoakClock['watched']> } {
  const { ms, unspentMs } = before ?? { ms: 0, unspentMs: 0 };
  const passedMs = unspentMs + Math.max(0, elapsedMs);
  const gainMs = Math.min(passedMs, Math.max(0, watchedMs - ms));
  return {
    gainMs,
    watched: { ms: Math.max(ms, watchedMs), unspentMs: Math.min(MAX_UNSPENT_MS, passedMs - gainMs) },
  };
}

function latest(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.max(one, other);
}

/** How far the compared time came, at most the elapsed time. The first report of a group says only where it begins. */
function progressMs(before: number | null, now: number | null, elapsedMs: number): number {
  if (now === null || before === null) return 0;
  return Math.min(elapsedMs, Math.max(0, now - before));
}

function restarted(
  clock: SoakClock,
  groups: Record<string, GroupClock>,
  report: ComparedSoFar,
  discrepant: readonly string[],
): SoakClock {
  const sample = report.samples.findLast(({ group }) => discrepant.includes(group));
  return {
    ...(clock.watched === undefined ? {} : { watched: { ...clock.watched, unspentMs: 0 } }),
    cleanMs: 0,
    restarts: clock.restarts + 1,
    groups: Object.fromEntries(Object.entries(groups).map(([name, group]) => [name, { ...group, comparisons: 0 }])),
    missing: ['a discrepancy set the clock back to zero'],
    ...(sample === undefined ? {} : { lastDiscrepancy: sample }),
  };
}

/** What is still to come; an empty list when the soak is done. */
export function soakShortfalls(clock: SoakClock, target: SoakTarget): string[] {
  const shortfalls: string[] = [];
  if (clock.cleanMs < target.durationMs) {
    shortfalls.push(`${Math.ceil((target.durationMs - clock.cleanMs) / 1000)} s of clean time`);
  }
  for (const name of target.groups) {
    const comparisons = clock.groups[name]?.comparisons ?? 0;
    if (comparisons < target.minComparisons) {
      shortfalls.push(`${target.minComparisons - comparisons} comparisons of group ${name}`);
    }
  }
  return shortfalls;
}
