import { externalGroups, percent, words } from '@owlmq/kafka-bridge/playbook';
import type { ReadinessCheck } from '../../activities/migration-activities.js';
import { checkReadiness } from '../activity-proxies.js';
import { AUDIT_TODO, proveCopies } from '../audit-steps.js';
import { bypassCheck } from '../foreign-producers.js';
import { hooksAt, tryHooks } from '../hooks.js';
import { now, type Migration } from '../migration.js';
import { quietMs, soakShortfalls } from '../soak-clock.js';
import { soakTarget } from '../status.js';
import { soakSlice } from './shadow-soak.js';

const MINUTE = 60_000;
const HOUR = 3_600_000;

/** Backlog that a group drains well within a window of seconds, records. */
const DRAINABLE_LAG = 10_000;
/** Looks a minute apart; later ones are further apart, so that a week in vain does not fill the history. */
const FREQUENT_LOOKS = 10;
const LATER_LOOK_MS = 10 * MINUTE;

/**
 * Waits until every check passes, and for approval and hooks where they are asked for. Shadows go on being compared.
 *
 * @returns false where a hook failed: as good as a cancelled attempt.
 */
export async function becomeReady(migration: Migration): Promise<boolean> {
  const { plan, state } = migration;
  migration.enter('ready');
  const hooksDue = () => state.cutover.agreed !== true && hooksAt(plan, 'before-cutover').length > 0;
  const approved = () => plan.cutover.trigger === 'automatic' || state.approved.cutover;
  let told = '';
  for (let looks = 0; ; looks += 1) {
    await migration.whilePaused();
    await migration.audit.blockOnFailure();
    const failed = await failedChecks(migration);
    if (failed.length === 0 && approved() && hooksDue()) {
      // They may take hours: everything is looked at again then.
      if (!(await hooksAgree(migration))) return false;
    } else if (failed.length === 0 && approved()) {
      // So that the window's own audit has only the last moments to prove.
      await migration.step('audit', AUDIT_TODO, () =>
        proveCopies(migration, 'catch up with the audit before the window'),
      );
      // A pause that came meanwhile, or a check that failed since, holds the window back.
      if (state.paused === undefined && (await failedChecks(migration)).length === 0) return true;
    } else if (failed.length === 0) {
      await migration.waitingFor('the approve signal', () => soakSlice(migration, approved));
    } else {
      const names = failed.map(({ name }) => name).join(', ');
      if (names !== told) {
        migration.note(`not ready: ${failed.map(({ name, detail }) => `${name} (${detail})`).join('; ')}`);
      }
      told = names;
      const approval = approved() ? '' : ', and the approve signal';
      await migration.waitingFor(`${names}${approval}`, () => soakSlice(migration, undefined, pauseMs(failed, looks)));
    }
    await migration.continueAsNewWhenLong();
  }
}

/** Once an attempt. */
async function hooksAgree(migration: Migration): Promise<boolean> {
  const { state } = migration;
  const call = { event: 'before-cutover', reason: 'the cutover is about to begin' } as const;
  const failed = await migration.waitingFor('hooks before the cutover', () =>
    tryHooks(migration, call, async (until) => {
      await migration.whilePaused();
      await migration.audit.blockOnFailure();
      await soakSlice(migration, until);
    }),
  );
  state.cutover.agreed = failed.length === 0;
  if (state.cutover.agreed) return true;
  state.cutover.attempts += 1;
  state.approved.cutover = false;
  state.cutover.lastCancel = { reason: failed.join('; '), at: now(), errors: [] };
  migration.note(`no cutover: ${failed.join('; ')}`);
  return false;
}

/** Time to the next look: nothing can begin before the last of the checks may pass. */
function pauseMs(failed: readonly ReadinessCheck[], looks: number): number {
  const usual = looks < FREQUENT_LOOKS ? MINUTE : LATER_LOOK_MS;
  const times = failed.map(({ again }) => (again === undefined ? usual : Date.parse(again) - Date.now()));
  return Math.min(HOUR, Math.max(500, ...times));
}

async function failedChecks(migration: Migration): Promise<ReadinessCheck[]> {
  const { plan, state } = migration;
  const external = externalGroups(plan);
  // Its figures are taken at the end of a slice: they must not be hours old here.
  await migration.audit.stop();
  const checks = await migration.step('readiness', 'Check that the worker reaches Kafka and OwlMQ.', () =>
    checkReadiness.executeWithOptions({ summary: 'is a cutover possible within its window?' }, [
      {
        migration: migration.name,
        topics: plan.topics,
        groups: plan.groups,
        epoch: state.epoch,
        drainableLag: DRAINABLE_LAG,
        minPublishers: plan.ramp.gates.minPublishers,
        windowMs: plan.cutover.window,
        ...(external.length === 0 ? {} : { external }),
        ...(plan.cutover.hours === undefined ? {} : { hours: plan.cutover.hours }),
      },
    ]),
  );
  state.readiness = [
    ratioCheck(migration),
    coverageCheck(migration),
    soakCheck(migration),
    stillCompared(migration),
    bypassCheck(plan, state.foreign, Date.now()),
    ...checks,
  ];
  return state.readiness.filter(({ ok }) => !ok);
}

function ratioCheck({ state }: Migration): ReadinessCheck {
  const { acknowledged } = state.ratio;
  return {
    name: 'ratio acknowledged',
    ok: acknowledged === 1 && state.routing.ratio === 1,
    detail: `${percent(acknowledged)} acknowledged by all publishers, ${percent(state.routing.ratio)} in force`,
    todo: 'Roll back and start anew: the ramp has to be through.',
  };
}

/** Groups may be anywhere in the log, so every record from the coverage start on must have its copy. */
function coverageCheck({ plan, state }: Migration): ReadinessCheck {
  const lacking = plan.topics.filter((topic) => state.coverage?.[topic]?.length !== state.partitions[topic]);
  const { auditFailure } = state;
  const ok = lacking.length === 0 && auditFailure === undefined;
  return {
    name: 'coverage complete',
    ok,
    detail: ok
      ? 'every record since 100% has its copy, as far as the audit is'
      : (auditFailure?.cause ?? `no coverage start is known of ${lacking.join(', ')}`),
    todo: AUDIT_TODO,
  };
}

function soakCheck({ plan, state }: Migration): ReadinessCheck {
  const shortfalls = soakShortfalls(state.soak, soakTarget(plan));
  return {
    name: 'soak clean',
    ok: shortfalls.length === 0,
    detail: shortfalls.length === 0 ? 'no discrepancy for the whole soak' : `missing: ${shortfalls.join(', ')}`,
    todo: 'Wait until the soak is clean again.',
  };
}

/** A soak that was clean says nothing of what its shadows have not seen since. */
function stillCompared({ plan, state }: Migration): ReadinessCheck {
  const { watchedUpTo = 0, soak } = state;
  const quietForMs = Date.now() - watchedUpTo;
  // Not known of a comparison by an earlier version.
  const ok = watchedUpTo === 0 || quietForMs <= quietMs(soakTarget(plan)) + plan.soak.lateness + MINUTE;
  const why = soak.missing.length === 0 ? '' : `: ${soak.missing.join('; ')}`;
  return {
    name: 'still compared',
    ok,
    detail: ok ? 'shadows are compared up to now' : `not every group was compared for ${words(quietForMs)}${why}`,
    todo: 'See that shadows of every group run and messages come: they are compared until the cutover.',
  };
}
