import { watchWarm } from '../activity-proxies.js';
import { now, type Migration } from '../migration.js';
import { words } from '../status.js';

const HOUR = 3_600_000;

/** After the cutover: Kafka stays a complete mirror, so that a rollback loses nothing. */
export async function keepWarm(migration: Migration): Promise<void> {
  if (migration.isPast('warm')) return;
  const { plan, state } = migration;
  migration.enter('warm');
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
  const longest = Math.max(500, Math.min(6 * HOUR, Math.round(plan.warm.duration / 10)));
  const sliceMs = warm.remainingMs > 0 ? Math.min(longest, Math.max(500, warm.remainingMs)) : longest;
  const started = Date.now();
  const report = await migration.step('the warm period', 'Check that the worker reaches Kafka and OwlMQ.', () =>
    migration.watchUntil(
      () =>
        watchWarm.executeWithOptions({ summary }, [
          {
            migration: migration.name,
            topics: plan.topics,
            groups: plan.groups,
            graceMs: plan.audit.grace,
            sliceMs,
            checkpoint: warm.audit,
            from: fences,
          },
        ]),
      until,
    ),
  );
  warm.audit = report.audit.checkpoint;
  state.parity = report.audit.figures;
  if (report.positions !== null) {
    warm.positions = report.positions;
    warm.positionsAt = report.positionsAt;
  }
  warm.rollbackBlockers = report.rollbackBlockers;
  if (report.rollbackBlockers.length === 0) delete warm.unavailableSince;
  else if (warm.unavailableSince === undefined) {
    warm.unavailableSince = now();
    migration.note(`a rollback would not be possible: ${report.rollbackBlockers.join('; ')}`);
  }
  migration.refreshDetails();
  return Math.min(sliceMs, Date.now() - started);
}
