import { words } from '@owlmq/kafka-bridge/playbook';
import type { Fences, WarmReport } from '../../activities/migration-activities.js';
import { watchWarm } from '../activity-proxies.js';
import { mergePositions } from '../audit-shards.js';
import { AUDIT_TODO, mirrorRequest, mirrorShards, partOf, partsFactor, takeMirrorOutcome } from '../audit-steps.js';
import { now, type Migration } from '../migration.js';
import { does } from '../patches.js';
import { together } from '../together.js';
import { rehearseWayBack } from '../way-back.js';

const HOUR = 3_600_000;
/** How long a rollback has not been possible, or has been again, before the watch tells it. */
const ALERT_AFTER_MS = 30_000;

/** After the cutover: Kafka stays a complete mirror, so that a rollback loses nothing. */
export async function keepWarm(migration: Migration): Promise<void> {
  if (migration.isPast('warm')) return;
  const { plan, state } = migration;
  migration.enter('warm');
  // The audit beside the phases has ended for good.
  delete state.auditFailure;
  state.warm ??= { remainingMs: plan.warm.duration, positions: null, positionsAt: null, rollbackBlockers: [] };
  const { warm } = state;
  while (warm.remainingMs > 0) {
    await rehearseWhenDue(migration);
    // A pause stops the clock, not the mirror: the audit goes on, and a rollback stays quick.
    const { paused } = state;
    const { remainingMs } = warm;
    const left = `${words(remainingMs)} to go`;
    const watchedMs = await warmSlice(
      migration,
      paused === undefined ? `warm: ${left}` : `warm, paused: ${left}`,
      // Also when somebody makes the time longer or ends it.
      () => state.paused !== paused || warm.remainingMs !== remainingMs,
    );
    if (paused === undefined) warm.remainingMs = Math.max(0, warm.remainingMs - watchedMs);
    await migration.continueAsNewWhenLong();
  }
}

/** Tries the way back on a schedule, and soon again after a try that failed. */
async function rehearseWhenDue(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  const { fences } = state.cutover;
  const last = state.warm?.rehearsals?.at(-1);
  if (fences === undefined || !does('way-back-rehearsed')) return;
  const everyMs = last?.checks.every(({ ok }) => ok) === false ? sliceMs(migration) : plan.warm.rehearsal;
  if (last !== undefined && Date.now() - Date.parse(last.at) < Math.min(everyMs, plan.warm.rehearsal)) return;
  await rehearseWayBack(migration, fences);
  tellWhetherRollbackIsPossible(migration);
}

/**
 * Audits both ways and checkpoints positions for a slice of time, ended early by `until`, and once a rollback is not
 * possible any more, or again.
 *
 * @returns how long it watched, ms: time in which the run was blocked is not part of it.
 */
export async function warmSlice(migration: Migration, summary: string, until: () => boolean): Promise<number> {
  const { plan, state } = migration;
  const { warm } = state;
  const { fences } = state.cutover;
  if (warm === undefined || fences === undefined) throw new TypeError('a warm slice needs a cutover before it');
  const longestMs = sliceMs(migration);
  const ownMs = warm.remainingMs > 0 ? Math.min(longestMs, Math.max(500, warm.remainingMs)) : longestMs;
  let started = Date.now();
  let changed = false;
  let reports: WarmReport[] = [];
  const shards = mirrorShards(migration);
  const watchShard = async (index: number): Promise<void> => {
    const blocked = (shards[index]?.rollbackBlockers ?? []).length > 0;
    const report = await watchWarm.executeWithOptions({ summary: `${summary}${partOf(index, shards)}` }, [
      {
        ...mirrorRequest(migration, index, fences),
        ...{ groups: plan.groups, sliceMs: ownMs, blocked, alertAfterMs: ALERT_AFTER_MS },
        ...(warm.mirror === undefined ? {} : { mirror: warm.mirror }),
      },
    ]);
    takeMirrorOutcome(migration, index, report.audit, Date.now() - started);
    const { rollbackBlockers } = report;
    const shard = shards[index];
    if (shard !== undefined) shards[index] = { ...shard, rollbackBlockers };
    changed ||= rollbackBlockers.length > 0 !== blocked;
    reports.push(report);
    takePositions(migration, fences, index, report);
  };
  const watched = await migration.step('the warm period', AUDIT_TODO, () => {
    // What an attempt before saw may be mended by now.
    [started, reports, changed] = [Date.now(), [], false];
    const watch = () => together(shards.map((_, index) => () => watchShard(index)));
    return migration.watchUntil(watch, () => until() || (changed && shards.length > 1));
  });
  // Ended between two attempts: what is known stays, and the time does not count.
  if (watched === undefined) return 0;
  takeMirrorGap(migration, reports);
  tellWhetherRollbackIsPossible(migration);
  return Math.min(ownMs, Date.now() - started);
}

/** Longest slice of the warm watch. */
function sliceMs({ plan }: Migration): number {
  return Math.max(500, Math.min(6 * HOUR * partsFactor(plan), Math.round(plan.warm.duration / 10)));
}

/** Each part saw all publishers, and of the logs its own partitions. */
function takeMirrorGap({ state }: Migration, reports: readonly WarmReport[]): void {
  const gaps = reports.flatMap(({ mirror }) => (mirror === undefined ? [] : [mirror]));
  if (state.warm === undefined || gaps.length === 0) return;
  state.warm.mirror = {
    incomplete: gaps.some(({ incomplete }) => incomplete),
    unproven: gaps.reduce((sum, { unproven }) => sum + unproven, 0),
    acknowledged: Math.min(...gaps.map(({ acknowledged }) => acknowledged)),
  };
}

/** What the watch and the last rehearsal found in the way of a rollback, and since when. */
function tellWhetherRollbackIsPossible(migration: Migration): void {
  const { warm } = migration.state;
  if (warm === undefined) return;
  const watched = mirrorShards(migration).flatMap(({ rollbackBlockers = [] }) => rollbackBlockers);
  const rehearsed = (warm.rehearsals?.at(-1)?.checks ?? []).flatMap(({ ok, takes, name, detail }) =>
    ok || takes === 'attention' ? [] : [`${name}: ${detail}`],
  );
  warm.rollbackBlockers = [...new Set([...watched, ...rehearsed])];
  const alarm = 'a rollback would not be possible: ';
  if (warm.rollbackBlockers.length === 0) {
    if (warm.unavailableSince !== undefined) migration.note('a rollback is possible again');
    delete warm.unavailableSince;
    if (migration.state.attention?.what.startsWith(alarm) === true) migration.endAttention();
  } else {
    warm.unavailableSince ??= now();
    const what = `${alarm}${warm.rollbackBlockers.join('; ')}`;
    if (does('way-back-rehearsed')) migration.callAttention(what);
    else migration.note(what);
  }
  migration.refreshDetails();
}

/** Every group had consumed Kafka up to the drain: where nothing was translated yet, they begin there. */
function takePositions(
  { plan, state }: Migration,
  fences: Fences,
  index: number,
  { positions, positionsAt }: WarmReport,
): void {
  const { warm } = state;
  if (warm === undefined || positions === null) return;
  const atDrain = Object.fromEntries(plan.groups.map((group) => [group, state.cutover.drained ?? fences.kafka]));
  warm.positions = mergePositions(warm.positions ?? atDrain, positions);
  const shard = warm.audits?.[index];
  if (shard !== undefined && positionsAt !== null) shard.positionsAt = positionsAt;
  // The oldest: all partitions are at least as far.
  const times = (warm.audits ?? []).map((one) => one.positionsAt);
  warm.positionsAt = times.includes(undefined) ? null : (times.sort()[0] ?? null);
}
