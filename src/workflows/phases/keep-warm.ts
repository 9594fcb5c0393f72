import type { Fences, WarmReport } from '../../activities/migration-activities.js';
import { watchWarm } from '../activity-proxies.js';
import { mergePositions } from '../audit-shards.js';
import { AUDIT_TODO, mirrorRequest, mirrorShards, partOf, partsFactor, takeMirrorOutcome } from '../audit-steps.js';
import { now, type Migration } from '../migration.js';
import { words } from '../status.js';
import { together } from '../together.js';

const HOUR = 3_600_000;

/** After the cutover: Kafka stays a complete mirror, so that a rollback loses nothing. */
export async function keepWarm(migration: Migration): Promise<void> {
  if (migration.isPast('warm')) return;
  const { plan, state } = migration;
  migration.enter('warm');
  // The audit beside the phases has ended for good.
  delete state.auditFailure;
  state.warm ??= { remainingMs: plan.warm.duration, positions: null, positionsAt: null, rollbackBlockers: [] };
  while (state.warm.remainingMs > 0) {
    // A pause stops the clock, not the mirror: the audit goes on, and a rollback stays quick.
    const { paused } = state;
    const left = `${words(state.warm.remainingMs)} to go`;
    const watchedMs = await warmSlice(
      migration,
      paused === undefined ? `warm: ${left}` : `warm, paused: ${left}`,
      () => state.paused !== paused,
    );
    if (paused === undefined) state.warm.remainingMs -= watchedMs;
    await migration.continueAsNewWhenLong();
  }
}

/**
 * Audits both ways and checkpoints positions for a slice of time, ended early by `until`.
 *
 * @returns how long it watched, ms: time in which the run was blocked is not part of it.
 */
export async function warmSlice(migration: Migration, summary: string, until: () => boolean): Promise<number> {
  const { plan, state } = migration;
  const { warm } = state;
  const { fences } = state.cutover;
  if (warm === undefined || fences === undefined) throw new TypeError('a warm slice needs a cutover before it');
  const longest = Math.max(500, Math.min(6 * HOUR * partsFactor(plan), Math.round(plan.warm.duration / 10)));
  const sliceMs = warm.remainingMs > 0 ? Math.min(longest, Math.max(500, warm.remainingMs)) : longest;
  let started = Date.now();
  let blockers: string[] = [];
  const shards = mirrorShards(migration);
  const watchShard = async (index: number): Promise<void> => {
    const part = partOf(index, shards);
    const report = await watchWarm.executeWithOptions({ summary: `${summary}${part}` }, [
      { ...mirrorRequest(migration, index, fences), groups: plan.groups, sliceMs },
    ]);
    takeMirrorOutcome(migration, index, report.audit, Date.now() - started);
    blockers.push(...report.rollbackBlockers);
    takePositions(migration, fences, index, report);
  };
  const watched = await migration.step('the warm period', AUDIT_TODO, () => {
    // What an attempt before saw may be mended by now.
    [started, blockers] = [Date.now(), []];
    return migration.watchUntil(() => together(shards.map((_, index) => () => watchShard(index))), until);
  });
  // Ended between two attempts: what is known stays, and the time does not count.
  if (watched === undefined) return 0;
  warm.rollbackBlockers = [...new Set(blockers)];
  if (blockers.length === 0) delete warm.unavailableSince;
  else if (warm.unavailableSince === undefined) {
    warm.unavailableSince = now();
    migration.note(`a rollback would not be possible: ${warm.rollbackBlockers.join('; ')}`);
  }
  migration.refreshDetails();
  return Math.min(sliceMs, Date.now() - started);
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
