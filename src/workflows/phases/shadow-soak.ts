import type { SoakReport } from '../../activities/migration-activities.js';
import { awaitConsumers, legEnds, observationEnds, watchSoak } from '../activity-proxies.js';
import type { Migration } from '../migration.js';
import { activePatterns } from '../acknowledgements.js';
import { advanceSoakClock, discrepancyCount, newSoakClock, quietMs, soakShortfalls } from '../soak-clock.js';
import { soakTarget, words } from '../status.js';

const HOUR = 3_600_000;

/** Phase 2: shadows on OwlMQ do what the live consumers do, without effects, until they agreed for long enough. */
export async function shadowSoak(migration: Migration): Promise<void> {
  if (migration.isPast('shadow-soak')) return;
  const { plan, state } = migration;
  migration.enter('shadow-soak');
  await migration.audit.run();
  if (state.routing.shadow !== 'compare') await startShadows(migration);
  while (soakShortfalls(state.soak, soakTarget(plan)).length > 0) {
    await migration.whilePaused();
    await migration.audit.blockOnFailure();
    await soakSlice(migration);
    await migration.continueAsNewWhenLong();
  }
  migration.note(`soak is clean: ${words(state.soak.cleanMs)} without a discrepancy`);
}

/**
 * Live consumers report first, shadows follow: from the offsets taken in between, both sides see every message.
 */
async function startShadows(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  const todo = 'Start DualConsumers for every group, with this migration as their name.';
  const consumersReady = (shadow: boolean) =>
    migration.step(shadow ? 'shadows to start' : 'consumers to report what they do', todo, () =>
      awaitConsumers.executeWithOptions({ summary: shadow ? 'wait for shadows' : 'wait for live consumers' }, [
        { migration: migration.name, epoch: state.epoch, groups: plan.groups, state: 'live-kafka', shadow },
      ]),
    );
  state.observationsFrom = await migration.step('observations so far', 'Check that the worker reaches Kafka.', () =>
    observationEnds.executeWithOptions({ summary: 'where observations begin' }, []),
  );
  await migration.route({ shadow: 'observe' }, 'live consumers report what they do');
  await consumersReady(false);
  const shadowFrom = await migration.step('Kafka end offsets', 'Check that the worker reaches Kafka.', () =>
    legEnds.executeWithOptions({ summary: 'where the comparison begins' }, [{ leg: 'kafka', topics: plan.topics }]),
  );
  await migration.route({ shadow: 'compare', shadowFrom }, 'shadow consumers start on OwlMQ');
  await consumersReady(true);
}

/**
 * Compares for a slice of time, beside the audit, and advances the soak clock. Ended early by a discrepancy, a pause, an
 * audit that has failed, or `until`.
 */
export async function soakSlice(
  migration: Migration,
  until: () => boolean = () => false,
  longestMs = HOUR,
): Promise<void> {
  const { plan, state } = migration;
  await migration.audit.run();
  const sliceMs = Math.min(longestMs, Math.max(500, Math.round(plan.soak.duration / 20)));
  const started = Date.now();
  const todo = 'Check that the worker reaches Kafka and OwlMQ.';
  const interrupted = state.soakInterrupted === true;
  delete state.soakInterrupted;
  const acknowledged = activePatterns(state);
  // What is acknowledged or revoked meanwhile counts from the next slice on, which begins at once.
  const patterns = JSON.stringify(acknowledged);
  const changed = () => JSON.stringify(activePatterns(state)) !== patterns;
  const summary = `soak ${words(state.soak.cleanMs)} of ${words(plan.soak.duration)} clean: compare for ${words(sliceMs)}`;
  const report = await migration.step('the shadow soak', todo, () =>
    migration.watch(
      () =>
        watchSoak.executeWithOptions({ summary }, [
          {
            migration: migration.name,
            topics: plan.topics,
            groups: plan.groups,
            latenessMs: plan.soak.lateness,
            sliceMs,
            comparison: state.comparison,
            start: state.observationsFrom,
            from: state.routing.shadowFrom ?? {},
            endAtDiscrepancy: state.soak.cleanMs > 0,
            quietMs: quietMs(soakTarget(plan)),
            interrupted,
            acknowledged,
          },
        ]),
      () => until() || changed() || migration.audit.failed,
    ),
  );
  // Ended before it saw anything: the time does not count.
  if (report === undefined) {
    if (interrupted) state.soakInterrupted = true;
    return;
  }
  takeReport(migration, report, Date.now() - started);
  const { lost } = report.comparison;
  if (lost === undefined) return;
  migration.note(`the comparison begins anew: ${lost}`);
  state.soak = { ...newSoakClock(), restarts: state.soak.restarts + 1 };
  delete state.comparison;
  await startShadows(migration);
}

function takeReport(migration: Migration, report: SoakReport, elapsedMs: number): void {
  const { plan, state } = migration;
  state.comparison = report.comparison.checkpoint;
  for (const [group, { counts, comparedUpTo }] of Object.entries(report.comparison.groups)) {
    state.verdicts[group] = {
      matched: counts.matched,
      discrepancies: discrepancyCount(counts),
      comparedUpTo: comparedUpTo === null ? null : new Date(comparedUpTo).toISOString(),
      acknowledged: counts.acknowledged ?? 0,
      late: counts.late ?? 0,
    };
  }
  const before = state.soak;
  state.soak = advanceSoakClock(before, report.comparison, elapsedMs, soakTarget(plan));
  if (state.soak.restarts > before.restarts) {
    const sample = state.soak.lastDiscrepancy;
    const where = sample === undefined ? '' : `: group ${sample.group}, ${sample.verdict}, message ${sample.id}`;
    migration.note(`a discrepancy set the soak clock back${where}`);
  }
  migration.refreshDetails();
}
