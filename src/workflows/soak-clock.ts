import type { GroupComparison, SoakReport, VerdictCounts } from '../activities/migration-activities.js';

/** How much clean comparison there has been without a break. JSON-safe. */
export interface SoakClock {
  /** Clean time since the last discrepancy, ms. */
  cleanMs: number;
  /** Times the clock was set back by a discrepancy. */
  restarts: number;
  groups: Record<string, GroupClock>;
  /** What stands in the way of clean time, in words; empty while it counts. */
  missing: string[];
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
 * The clock after a report. Time counts only as far as every group was compared on both sides in it, never beyond the
 * time that passed since the last report, and only if every group had comparisons: silence is not clean. Any
 * discrepancy sets it to zero. A report that was counted already changes nothing, since its figures are cumulative.
 *
 * @param elapsedMs time between the last report and this one, on the workflow's clock, pauses left out.
 */
export function advanceSoakClock(
  clock: SoakClock,
  report: SoakReport['comparison'],
  elapsedMs: number,
  target: SoakTarget,
): SoakClock {
  const missing: string[] = [];
  const groups: Record<string, GroupClock> = {};
  let gainMs = elapsedMs;
  let discrepant = false;
  for (const name of target.groups) {
    const before = clock.groups[name] ?? { comparedUpTo: null, matched: 0, discrepancies: 0, comparisons: 0 };
    const now: GroupComparison | undefined = report.groups[name];
    if (now === undefined) {
      missing.push(`group ${name}: nothing was reported`);
      groups[name] = before;
      gainMs = 0;
      continue;
    }
    const discrepancies = discrepancyCount(now.counts);
    const matched = now.counts.matched + now.counts.ignored;
    const compared = matched - before.matched;
    if (discrepancies > before.discrepancies) discrepant = true;
    missing.push(...now.stalled.map((reason) => `group ${name}: ${reason}`));
    const progress = progressMs(before.comparedUpTo, now.comparedUpTo, elapsedMs);
    if (compared <= 0) missing.push(`group ${name}: no comparison in the last ${Math.round(elapsedMs / 1000)} s`);
    else if (progress === 0) missing.push(`group ${name}: the compared time does not advance`);
    gainMs = Math.min(gainMs, compared > 0 && now.stalled.length === 0 ? progress : 0);
    groups[name] = {
      comparedUpTo: now.comparedUpTo ?? before.comparedUpTo,
      matched,
      discrepancies,
      comparisons: before.comparisons + Math.max(0, compared),
    };
  }
  if (discrepant) return restarted(clock, groups, report);
  return { ...clock, cleanMs: clock.cleanMs + Math.max(0, gainMs), groups, missing };
}

/** How far the compared time came, at most the elapsed time. The first report of a group says only where it begins. */
function progressMs(before: number | null, now: number | null, elapsedMs: number): number {
  if (now === null || before === null) return 0;
  return Math.min(elapsedMs, Math.max(0, now - before));
}

function restarted(clock: SoakClock, groups: Record<string, GroupClock>, report: SoakReport['comparison']): SoakClock {
  const sample = report.samples.at(-1);
  return {
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
