import { embeddedGroups, words } from '@owlmq/kafka-bridge/playbook';
import type { SoakComparison } from '../../activities/migration-activities.js';
import { activePatterns } from '../acknowledgements.js';
import { joinReports, type JoinedReports } from '../comparison-parts.js';
import { joinDiagnoses } from '../diagnoses.js';
import type { Migration } from '../migration.js';
import { compareSlice, sliceMs, startShadows } from '../shadow-steps.js';
import { advanceSoakClock, discrepancyCount, newSoakClock, quietMs, soakShortfalls } from '../soak-clock.js';
import { soakTarget } from '../status.js';

const HOUR = 3_600_000;

/** Phase 2: shadows on OwlMQ do what the live consumers do, without effects, until they agreed for long enough. */
export async function shadowSoak(migration: Migration): Promise<void> {
  if (migration.isPast('shadow-soak')) return;
  const { plan, state } = migration;
  migration.enter('shadow-soak');
  await migration.audit.run();
  if (state.routing.shadow !== 'compare') await startSoak(migration);
  while (soakShortfalls(state.soak, soakTarget(plan)).length > 0) {
    await migration.whilePaused();
    await migration.audit.blockOnFailure();
    await soakSlice(migration);
    await migration.continueAsNewWhenLong();
  }
  migration.note(`soak is clean: ${words(state.soak.cleanMs)} without a discrepancy`);
}

async function startSoak(migration: Migration): Promise<void> {
  migration.state.observationsFrom = await startShadows(migration, 'observe', 'compare', 'OwlMQ');
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
  const started = Date.now();
  const acknowledged = activePatterns(state);
  // What is acknowledged or revoked meanwhile counts from the next slice on, which begins at once.
  const patterns = JSON.stringify(acknowledged);
  const isClean = soakShortfalls(state.soak, soakTarget(plan)).length === 0;
  const changed = () => JSON.stringify(activePatterns(state)) !== patterns;
  const slice = {
    label: `soak ${words(state.soak.cleanMs)} of ${words(plan.soak.duration)} clean`,
    earlier: state.comparisons ?? [state.comparison],
    latenessMs: plan.soak.lateness,
    // While it has to become clean it is looked at often; then only what ends a slice early matters.
    sliceMs: isClean ? Math.max(500, longestMs) : sliceMs(plan.soak.duration, longestMs),
    start: state.observationsFrom,
    endAtDiscrepancy: state.soak.cleanMs > 0,
    quietMs: quietMs(soakTarget(plan)),
    watchedFrom: state.watchedUpTo ?? 0,
    acknowledged,
  };
  const step = { name: 'the shadow soak', todo: 'Check that the worker reaches Kafka and OwlMQ.' };
  const ends = () => until() || changed() || migration.audit.failed;
  const reports = await compareSlice(migration, step, slice, ends);
  if (reports === undefined) return;
  const joined = takeReports(migration, reports, Date.now() - started);
  if (joined.lost === undefined) return;
  migration.note(`the comparison begins anew: ${joined.lost}`);
  state.soak = { ...newSoakClock(), restarts: state.soak.restarts + 1 };
  delete state.comparisons;
  delete state.diagnosis;
  await startSoak(migration);
}

/** Goes on comparing for a time in which paused time does not count. */
export async function soakFor(migration: Migration, durationMs: number, reason: string): Promise<void> {
  let remaining = durationMs;
  while (remaining > 0) {
    await migration.whilePaused();
    await migration.audit.blockOnFailure();
    const started = Date.now();
    const slice = Math.min(HOUR, remaining);
    await migration.waitingFor(reason, () => soakSlice(migration, undefined, slice), started + remaining);
    remaining -= Date.now() - started;
    await migration.continueAsNewWhenLong();
  }
}

/** Counts what the parts report, once. @returns what they say together. */
function takeReports(migration: Migration, reports: SoakComparison[], elapsedMs: number): JoinedReports {
  const { plan, state } = migration;
  const joined = joinReports(reports, {
    groups: embeddedGroups(plan),
    quietMs: quietMs(soakTarget(plan)),
    watchedFrom: state.watchedUpTo ?? 0,
    watchedMs: state.soak.watched?.ms ?? 0,
    now: Date.now(),
  });
  state.comparisons = reports.map(({ checkpoint }) => checkpoint);
  delete state.comparison;
  state.watchedUpTo = joined.watchedUpTo;
  for (const [group, { counts, comparedUpTo }] of Object.entries(joined.groups)) {
    state.verdicts[group] = {
      matched: counts.matched,
      discrepancies: discrepancyCount(counts),
      comparedUpTo: comparedUpTo === null ? null : new Date(comparedUpTo).toISOString(),
      acknowledged: counts.acknowledged ?? 0,
      late: counts.late ?? 0,
    };
  }
  const before = state.soak;
  state.soak = advanceSoakClock(before, joined, elapsedMs, soakTarget(plan));
  if (state.soak.restarts > before.restarts) {
    const sample = state.soak.lastDiscrepancy;
    const where = sample === undefined ? '' : `: group ${sample.group}, ${sample.verdict}, message ${sample.id}`;
    migration.note(`a discrepancy set the soak clock back${where}`);
  }
  takeDiagnoses(migration, reports);
  migration.refreshDetails();
  return joined;
}

function takeDiagnoses({ state }: Migration, reports: readonly SoakComparison[]): void {
  const diagnosis = joinDiagnoses(reports);
  if (diagnosis !== undefined) state.diagnosis = { ...diagnosis, at: new Date().toISOString() };
  const notStored = reports.find((report) => report.notStored !== undefined)?.notStored;
  if (notStored === undefined) delete state.notStored;
  else state.notStored = notStored;
}
