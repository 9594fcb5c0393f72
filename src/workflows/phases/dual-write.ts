import { ActivityFailure, condition, isCancellation } from '@temporalio/workflow';
import { percent, rampRatios, words } from '@owlmq/kafka-bridge/playbook';
import type { FleetFigures } from '../../activities/migration-activities.js';
import { legEnds, watchFleet } from '../activity-proxies.js';
import { noAuditFigures } from '../audit-figures.js';
import { AUDIT_TODO, joinAudited, proveCopies, type Audited } from '../audit-steps.js';
import type { AuditAlarm } from '../continuous-audit.js';
import { causeOf, failedClosed } from '../failures.js';
import { publishersToFollow } from '../fleet-steps.js';
import { now, type Migration } from '../migration.js';
import type { RampState } from '../migration-state.js';
import { decideRamp, freshCounters, type RampAction, type Verdict } from '../ramp.js';
import { fleetMetrics, joinFleetFigures, judgeStep, noFleetFigures, type StepFigures } from '../ramp-gates.js';

const ACTIONS_KEPT = 10;
/** An activity has a bound; an interval of days is watched in parts. */
const LONGEST_WATCH_MS = 6 * 3_600_000;

/** Phase 1: publishers copy a growing share to OwlMQ, each step judged before the next. */
export async function dualWrite(migration: Migration): Promise<void> {
  if (migration.isPast('dual-write')) return;
  const { plan, state } = migration;
  migration.enter('dual-write');
  if (state.auditFrom === undefined) {
    await applyRatio(migration, 0);
    await beginAudit(migration);
    // Nothing is copied at 0%: there is nothing to judge.
    state.ratio.settled = true;
  }
  for (;;) {
    await migration.whilePaused();
    const asked = state.requestedRatio;
    delete state.requestedRatio;
    if (asked !== undefined) {
      // A person has taken over: what failed before does not count any more.
      state.ramp = newRamp(state.ramp);
      migration.endAttention();
      await applyRatio(migration, asked);
    } else if (state.ratio.settled) {
      if (state.ratio.acknowledged >= 1) break;
      await applyRatio(migration, rampRatios(plan.ramp.step, state.ratio.acknowledged)[0] ?? 1);
    }
    await settleStep(migration);
    await migration.continueAsNewWhenLong();
  }
  if (state.coverage === undefined) await beginCoverage(migration);
}

async function applyRatio(migration: Migration, ratio: number): Promise<void> {
  const { state } = migration;
  state.ratio.wanted = ratio;
  state.ratio.settled = false;
  if (state.ramp !== undefined) delete state.ramp.step;
  const label = `ratio ${percent(ratio)}`;
  await migration.route({ ratio }, label);
  // Foreign records follow at once; publishers may take their time.
  await migration.audit.run(alarmOf(migration));
  await publishersToFollow(migration, `publishers to apply ${percent(ratio)}`, `${label}: wait for all publishers`);
  migration.acknowledgeRatio(ratio);
}

/** Holds a ratio for its interval, judges it, and does what the policy says about the verdict. */
async function settleStep(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  const ramp = (state.ramp ??= newRamp());
  const cutShort = () => state.requestedRatio !== undefined;
  const step = (ramp.step ??= newStep());
  const certain = await holdAndWatch(migration, step, cutShort);
  if (cutShort() || (!certain && step.heldMs < plan.ramp.interval)) return;
  const verdict = await judge(migration, step, certain);
  // What seemed certain was not: the rest of the interval is held too.
  if (
    certain &&
    step.heldMs < plan.ramp.interval &&
    (verdict.verdict === 'success' || verdict.verdict === 'inconclusive')
  )
    return;
  const ratio = state.ratio.acknowledged;
  const policy = { step: plan.ramp.step, ...plan.ramp.onFailure, errorLimit: plan.ramp.gates.errorLimit };
  const { action, counters } = decideRamp(policy, ratio, verdict.verdict, ramp.counters);
  delete ramp.step;
  ramp.counters = counters;
  ramp.last = { ...verdict, ratio, at: now() };
  ramp.lastActions = [
    ...ramp.lastActions.slice(1 - ACTIONS_KEPT),
    { at: now(), ratio, action: action.do, why: `${verdict.verdict}: ${verdict.reason}` },
  ];
  const said = verdict.verdict === 'success' ? 'gates passed' : verdict.verdict;
  migration.note(`ratio ${percent(ratio)}: ${said}: ${verdict.reason}${outcomeWords(action)}`);
  sayInconclusive(migration, ramp);
  await act(migration, action, verdict.verdict, verdict.reason);
}

/**
 * Watches publishers, beside the audit, for what is left of the interval. Paused time is not part of it, nor what is
 * seen meanwhile.
 *
 * @returns whether it ended because the step has failed, or cannot be judged, whatever comes.
 */
async function holdAndWatch(migration: Migration, step: StepFigures, cutShort: () => boolean): Promise<boolean> {
  const { plan, state } = migration;
  const { interval, gates } = plan.ramp;
  const label = `ratio ${percent(state.ratio.acknowledged)}: hold for ${words(interval)} and watch`;
  while (step.heldMs < interval) {
    await migration.whilePaused();
    if (cutShort()) return false;
    const remaining = Math.min(LONGEST_WATCH_MS, interval - step.heldMs);
    if (migration.audit.failed) await migration.audit.recover();
    // One that ran without an alarm begins anew: what it saw belongs to a pause.
    await migration.audit.run(alarmOf(migration));
    const started = Date.now();
    const unusual = () => cutShort() || migration.audit.alarmed || migration.audit.failed;
    const watched = await watchPublishers(migration, label, remaining, unusual);
    const { alarmed } = migration.audit;
    const audited = await migration.audit.stop();
    step.heldMs = Math.min(interval, step.heldMs + Date.now() - started);
    takeAudited(step, audited);
    if ('error' in watched) step.fleetError = watched.error;
    else step.fleet = joinFleetFigures(step.fleet, watched.fleet);
    if (cutShort()) return false;
    const failing = fleetMetrics(gates, state.ratio.acknowledged, step).some(({ verdict }) => verdict === 'failure');
    if (failing || alarmed || migration.audit.failed || 'error' in watched) return true;
  }
  return false;
}

function alarmOf({ plan }: Migration): AuditAlarm {
  return { share: plan.ramp.gates.missing, withinMs: plan.ramp.interval };
}

async function watchPublishers(
  migration: Migration,
  label: string,
  sliceMs: number,
  until: () => boolean,
): Promise<{ fleet: FleetFigures } | { error: string }> {
  const { plan, state } = migration;
  const { gates } = plan.ramp;
  const limits = {
    copyFailures: gates.copyFailures,
    latencyMs: gates.latency,
    backlog: gates.backlog,
    oldestCopyMs: gates.oldestCopy,
  };
  const request = { migration: migration.name, epoch: state.epoch, sliceMs, sustainedMs: gates.sustained, limits };
  const watch = () => watchFleet.executeWithOptions({ summary: label }, [request]);
  try {
    const fleet = await migration.waitingFor(label, () => migration.watch(watch, until), Date.now() + sliceMs);
    return { fleet: fleet ?? noFleetFigures };
  } catch (error) {
    if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
    return { error: causeOf(error) };
  }
}

/** Figures up to the end of the step, and what they say. Of a step that has failed already nothing more is asked. */
async function judge(migration: Migration, step: StepFigures, certain: boolean) {
  const { plan, state } = migration;
  const { gates } = plan.ramp;
  const ratio = state.ratio.acknowledged;
  if (state.auditFailure !== undefined) {
    step.auditError = state.auditFailure.cause;
    if (state.auditFailure.closed) await migration.audit.blockOnFailure();
  } else if (!certain || judgeStep(gates, ratio, step).verdict !== 'failure') {
    const summary = `ratio ${percent(ratio)}: prove the copies of the step`;
    try {
      takeAudited(step, await migration.waitingFor(summary, () => proveCopies(migration, summary)));
    } catch (error) {
      if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
      step.auditError = causeOf(error);
      if (failedClosed(error)) await migration.block('audit', step.auditError, AUDIT_TODO);
    }
  }
  await migration.audit.recover();
  return judgeStep(gates, ratio, step);
}

/** A ratio that cannot be judged is held for ever: that is said once it lasts. */
function sayInconclusive(migration: Migration, ramp: RampState): void {
  const { plan } = migration;
  const { inconclusive } = ramp.counters;
  if (inconclusive === 0) {
    delete ramp.inconclusiveSince;
    migration.endAttention();
    return;
  }
  ramp.inconclusiveSince ??= now();
  if (inconclusive < plan.ramp.gates.inconclusiveLimit) return;
  migration.callAttention(`ramp inconclusive at ${percent(ramp.last?.ratio ?? 0)}: ${ramp.last?.reason ?? ''}`);
}

async function act(migration: Migration, action: RampAction, verdict: Verdict, reason: string): Promise<void> {
  const { state } = migration;
  const ratio = percent(state.ratio.acknowledged);
  switch (action.do) {
    case 'promote':
    case 'finish':
      state.ratio.settled = true;
      return;
    case 'hold':
      if (verdict === 'failure') await settle(migration);
      return;
    case 'step back':
      await applyRatio(migration, action.ratio);
      await settle(migration);
      return;
    case 'block': {
      const todo = 'Mend the cause, or lower the ratio with the setRatio update.';
      await migration.block(`ratio ${ratio} judged`, reason, todo, () => state.requestedRatio !== undefined);
      return;
    }
    case 'roll back':
      migration.rollback({ reason: `ratio ${ratio} failed its gates: ${reason}`, by: 'the ramp policy' });
      // The rollback cancels this.
      await condition(() => false);
  }
}

/** Time for the cause of a failure to pass, which is not judged. */
async function settle(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  const settleMs = Math.min(plan.ramp.onFailure.settle, plan.ramp.interval);
  const label = `ratio ${percent(state.ratio.acknowledged)}: settle after a failure`;
  await migration.hold(settleMs, label, () => state.requestedRatio !== undefined);
}

function outcomeWords(action: RampAction): string {
  switch (action.do) {
    case 'promote':
      return `; next ${percent(action.ratio)}`;
    case 'finish':
      return '; the ramp is through';
    case 'hold':
      return '; the ratio is held and judged again';
    case 'step back':
      return `; back to ${percent(action.ratio)}`;
    case 'block':
      return '; waits for a person';
    case 'roll back':
      return '; goes back to Kafka';
  }
}

function takeAudited(step: StepFigures, audited: Audited): void {
  const { checked, figures } = joinAudited({ checked: step.checked, figures: step.audit }, audited);
  step.checked = checked;
  step.audit = figures;
}

function newStep(): StepFigures {
  return { heldMs: 0, checked: 0, audit: noAuditFigures, fleet: noFleetFigures };
}

function newRamp(before?: RampState): RampState {
  return { counters: freshCounters, lastActions: before?.lastActions ?? [] };
}

/** The audit begins where Kafka stood when the first publisher could have been told to copy. */
async function beginAudit(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  state.auditFrom = await migration.step('Kafka end offsets', 'Check that the worker reaches Kafka.', () =>
    legEnds.executeWithOptions({ summary: 'where the audit begins' }, [{ leg: 'kafka', topics: plan.topics }]),
  );
}

/** Every publisher copies everything now, so every record from here on has its copy. */
async function beginCoverage(migration: Migration): Promise<void> {
  migration.state.coverage = await migration.step('coverage start', 'Check that the worker reaches Kafka.', () =>
    legEnds.executeWithOptions({ summary: 'coverage start: Kafka end offsets at 100%' }, [
      { leg: 'kafka', topics: migration.plan.topics },
    ]),
  );
  migration.note('coverage is complete from here on');
}
