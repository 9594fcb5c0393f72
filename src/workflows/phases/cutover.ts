import { CancellationScope, isCancellation } from '@temporalio/workflow';
import type { TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type { Fences, ReadinessCheck } from '../../activities/migration-activities.js';
import { checkReadiness, inCancel, inWindow, proveLeg } from '../activity-proxies.js';
import { AUDIT_TODO, proveCopies } from '../audit-steps.js';
import { causeOf } from '../failures.js';
import { consumersToBe, publishersToFollow } from '../fleet-steps.js';
import { bypassCheck } from '../foreign-producers.js';
import { now, type Migration } from '../migration.js';
import { quietMs, soakShortfalls } from '../soak-clock.js';
import { soakTarget, words } from '../status.js';
import { soakSlice } from './shadow-soak.js';

const MINUTE = 60_000;

/** Backlog that a group drains well within a window of seconds, records. */
const DRAINABLE_LAG = 10_000;

/** Phases 3 and 4: positions of the groups and the switch, in one window that is cancelled or goes through. */
export async function cutOver(migration: Migration): Promise<void> {
  if (migration.isPast('cutover')) return;
  const { plan, state } = migration;
  for (;;) {
    await becomeReady(migration);
    if (await attempt(migration)) return;
    const reason = state.cutover.lastCancel?.reason ?? 'cancelled';
    if (state.cutover.attempts % plan.cutover.maxAttempts === 0) {
      await migration.block('cutover', reason, `${plan.cutover.maxAttempts} attempts were cancelled: mend the cause.`);
    } else {
      await migration.hold(plan.cutover.backOff, 'back-off after a cancelled cutover');
    }
  }
}

/** Waits until every check passes, and for approval where it is asked for. Shadows go on being compared. */
async function becomeReady(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  migration.enter('ready');
  const approved = () => plan.cutover.trigger === 'automatic' || state.approved.cutover;
  for (;;) {
    await migration.whilePaused();
    await migration.audit.blockOnFailure();
    const failed = await failedChecks(migration);
    if (failed.length === 0 && approved()) {
      // So that the window's own audit has only the last moments to prove.
      await migration.step('audit', AUDIT_TODO, () =>
        proveCopies(migration, 'catch up with the audit before the window'),
      );
      // A pause that came meanwhile, or a check that failed since, holds the window back.
      if (state.paused === undefined && (await failedChecks(migration)).length === 0) return;
    } else if (failed.length === 0) {
      await migration.waitingFor('the approve signal', () => soakSlice(migration, approved));
    } else {
      migration.note(`not ready: ${failed.map(({ name, detail }) => `${name} (${detail})`).join('; ')}`);
      await soakSlice(migration, undefined, MINUTE);
    }
    await migration.continueAsNewWhenLong();
  }
}

async function failedChecks(migration: Migration) {
  const { plan, state } = migration;
  // Its figures are taken at the end of a slice: they must not be hours old here.
  await migration.audit.stop();
  const shortfalls = soakShortfalls(state.soak, soakTarget(plan));
  const checks = await migration.step('readiness', 'Check that the worker reaches Kafka and OwlMQ.', () =>
    checkReadiness.executeWithOptions({ summary: 'is a cutover possible within its window?' }, [
      {
        migration: migration.name,
        topics: plan.topics,
        groups: plan.groups,
        epoch: state.epoch,
        drainableLag: DRAINABLE_LAG,
        minPublishers: plan.ramp.gates.minPublishers,
      },
    ]),
  );
  state.readiness = [
    {
      name: 'soak clean',
      ok: shortfalls.length === 0,
      detail: shortfalls.length === 0 ? 'no discrepancy for the whole soak' : `missing: ${shortfalls.join(', ')}`,
      todo: 'Wait until the soak is clean again.',
    },
    stillCompared(migration),
    bypassCheck(plan, state.foreign, Date.now()),
    ...checks,
  ];
  return state.readiness.filter(({ ok }) => !ok);
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

/** One window. Before the journal every failure cancels it; behind it there is only forward. */
async function attempt(migration: Migration): Promise<boolean> {
  const { plan, state } = migration;
  state.cutover.attempts += 1;
  // Each attempt needs an approval of its own.
  state.approved.cutover = false;
  migration.enter('cutover');
  const started = Date.now();
  try {
    await CancellationScope.withTimeout(plan.cutover.window, () => upToTheJournal(migration));
  } catch (error) {
    const reason = isCancellation(error)
      ? (state.rollback?.reason ?? `the window of ${plan.cutover.window / 1000} s was over`)
      : causeOf(error);
    await CancellationScope.nonCancellable(() => cancelWindow(migration, reason));
    // A rollback, or the workflow's own cancel, goes on from here.
    if (CancellationScope.current().consideredCancelled) throw error;
    return false;
  }
  state.cutover.journaledAt = now();
  migration.note('journal: groups are on OwlMQ positions, the cutover rolls forward');
  await switchToOwlmq(migration);
  state.cutover.windowMs = Date.now() - started;
  return true;
}

async function upToTheJournal(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  const { topics, groups } = plan;
  const name = migration.name;

  await migration.writeRouting(inWindow.applyRouting, { fence: { reason: 'cutover' } }, 'cutover: publishers hold');
  await inWindow.awaitPublishers.executeWithOptions({ summary: 'wait until nothing is in flight' }, [
    { migration: name, epoch: state.epoch, fenced: true },
  ]);

  const kafka = await inWindow.legEnds.executeWithOptions({ summary: 'fence offsets' }, [{ leg: 'kafka', topics }]);
  await migration.writeRouting(inWindow.applyRouting, { drain: kafka }, 'cutover: consumers drain to the fence');
  await inWindow.awaitDrained.executeWithOptions({ summary: 'wait for commits at the fence' }, [
    { leg: 'kafka', groups, offsets: kafka },
  ]);
  await inWindow.awaitConsumers.executeWithOptions({ summary: 'wait until nobody applies from Kafka' }, [
    { migration: name, epoch: state.epoch, groups, state: 'drained', shadow: false },
  ]);

  const reached = await whereGroupsStopped(migration, kafka);
  await proveCopies(migration, 'prove all copies up to the fence', {
    until: reached,
    activity: inWindow.auditToOwlmq,
  });
  const owlmq = await inWindow.legEnds.executeWithOptions({ summary: 'OwlMQ fence offsets' }, [
    { leg: 'owlmq', topics },
  ]);
  const fences: Fences = { kafka: reached, owlmq };
  const request = { direction: 'to-owlmq' as const, topics, groups, fences, reset: plan.offsetReset };
  state.cutover.moves = await inWindow.moveOffsets.executeWithOptions({ summary: 'import group offsets, read back' }, [
    request,
  ]);
  state.cutover.fences = fences;
  state.cutover.drained = kafka;
}

/**
 * Where the audit of the window has to end. Producers without the library write on behind the fence, and a member that
 * has not read the drain yet consumes of it: those records have to be on OwlMQ before positions are translated, else
 * they would come again there.
 */
async function whereGroupsStopped({ plan }: Migration, drain: TopicOffsets): Promise<TopicOffsets> {
  if (plan.forward.length === 0) return drain;
  return await inWindow.awaitDrained.executeWithOptions({ summary: 'how far groups consumed behind the fence' }, [
    { leg: 'kafka', groups: plan.groups, offsets: drain },
  ]);
}

/** Behind the journal: every step is tried until it succeeds, with a person's help where it must be. */
async function switchToOwlmq(migration: Migration): Promise<void> {
  const { state } = migration;
  const name = migration.name;
  await migration.route(
    {
      primary: 'owlmq',
      live: 'owlmq',
      shadow: 'off',
      fence: undefined,
      drain: undefined,
      shadowFrom: undefined,
    },
    'cutover: OwlMQ is primary, its consumers are live',
  );
  const publishers = await publishersToFollow(migration, 'publishers to switch to OwlMQ');
  state.cutover.publisherHoldMs = publishers.longestHoldMs;
  await consumersToBe(
    migration,
    'live-owlmq',
    'consumers to go live on OwlMQ',
    'wait for live consumers of every group',
  );
  await migration.step('canary on OwlMQ', 'Check that OwlMQ answers.', () =>
    proveLeg.executeWithOptions({ summary: 'canary through OwlMQ' }, [{ migration: name, leg: 'owlmq' }]),
  );
  migration.note(`cut over; publishers were held for ${Math.round(publishers.longestHoldMs)} ms`);
}

/** Undoes a window: tries every step, has its own time, and reports every error. */
async function cancelWindow(migration: Migration, reason: string): Promise<void> {
  const { plan, state } = migration;
  const name = migration.name;
  const errors: string[] = [];
  const attemptStep = async (run: () => Promise<unknown>): Promise<boolean> => {
    try {
      await run();
      return true;
    } catch (error) {
      errors.push(causeOf(error));
      return false;
    }
  };
  const back = { fence: undefined, drain: undefined };
  while (
    !(await attemptStep(() => migration.writeRouting(inCancel.applyRouting, back, `cutover cancelled: ${reason}`)))
  ) {
    const cause = errors.at(-1) ?? reason;
    // The state that was not written says no fence; publishers still obey the one before it.
    state.routing = { ...state.routing, fence: { reason: 'cancel' } };
    await migration.block('cancel of the cutover', cause, 'Publishers are held: make Kafka answer.');
  }
  await attemptStep(() =>
    inCancel.awaitPublishers.executeWithOptions({ summary: 'cancel: wait for publishers' }, [
      { migration: name, epoch: state.epoch, fenced: false },
    ]),
  );
  await attemptStep(() =>
    inCancel.awaitConsumers.executeWithOptions({ summary: 'cancel: wait for consumers' }, [
      { migration: name, epoch: state.epoch, groups: plan.groups, state: 'live-kafka', shadow: false },
    ]),
  );
  state.cutover.lastCancel = { reason, at: now(), errors };
  migration.note(`cutover cancelled: ${reason}${errors.length === 0 ? '' : `; errors: ${errors.join('; ')}`}`);
  if (state.rollback === undefined) migration.enter('ready');
}
