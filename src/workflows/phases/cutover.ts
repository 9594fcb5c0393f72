import { CancellationScope, isCancellation } from '@temporalio/workflow';
import type { TopicOffsets } from '@owlmq/kafka-bridge/operations';
import { embeddedGroups, externalGroups, words } from '@owlmq/kafka-bridge/playbook';
import type { Drained, Fences, ReadinessCheck } from '../../activities/migration-activities.js';
import { inCancel, inWindow, proveLeg } from '../activity-proxies.js';
import { proveCopies } from '../audit-steps.js';
import { causeOf } from '../failures.js';
import { consumersToBe, drainedAs, publishersToFollow } from '../fleet-steps.js';
import { hookStep, resumeHeldHooks, runHooks, tryHooks } from '../hooks.js';
import { now, type Migration } from '../migration.js';
import { does } from '../patches.js';
import { together } from '../together.js';
import { within } from '../within.js';
import { becomeReady } from './ready.js';
import { soakFor } from './shadow-soak.js';

/** Errors of a cancel that are kept: one that cannot be written goes on for as long as Kafka is away. */
const MAX_ERRORS = 20;

/** Phases 3 and 4: positions of the groups and the switch, in one window that is cancelled or goes through. */
export async function cutOver(migration: Migration): Promise<void> {
  if (migration.isPast('cutover')) return;
  const { plan, state } = migration;
  // A rollback was asked for behind the journal, and refused: there is only forward.
  if (state.cutover.journaledAt !== undefined) {
    migration.enter('cutover');
    await switchToOwlmq(migration);
    return;
  }
  for (;;) {
    if ((await becomeReady(migration)) && (await attempt(migration))) return;
    // A cancel does not wait for its hooks for ever.
    await resumeHeldHooks(migration, 'the cutover was cancelled');
    const reason = state.cutover.lastCancel?.reason ?? 'cancelled';
    if (state.cutover.attempts % plan.cutover.maxAttempts === 0) {
      await migration.block('cutover', reason, `${plan.cutover.maxAttempts} attempts were cancelled: mend the cause.`);
    } else if (does('soak-in-back-off')) {
      await soakFor(migration, plan.cutover.backOff, `back-off after a cancelled cutover: ${reason}`);
    } else {
      await migration.hold(plan.cutover.backOff, 'back-off after a cancelled cutover');
    }
  }
}

/** One window. Before the journal every failure cancels it; behind it there is only forward. */
async function attempt(migration: Migration): Promise<boolean> {
  const { plan, state } = migration;
  state.cutover.attempts += 1;
  // Each attempt needs an approval of its own.
  state.approved.cutover = false;
  delete state.cutover.agreed;
  migration.enter('cutover');
  const started = Date.now();
  try {
    await within(plan.cutover.window, 'the window: cancel the cutover when it is over', () =>
      upToTheJournal(migration),
    );
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
  if (state.cutover.windowMs > plan.cutover.window) {
    const { windowMs } = state.cutover;
    migration.note(
      `the window took ${words(windowMs)}, longer than its ${words(plan.cutover.window)}: it rolled forward`,
    );
  }
  return true;
}

async function upToTheJournal(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  const { topics, groups } = plan;
  const name = migration.name;

  await migration.writeRouting(inWindow.applyRouting, { fence: { reason: 'cutover' } }, 'cutover: publishers hold');
  await runHooks(migration, { event: 'hold-publishers', reason: 'cutover' });
  const held = await inWindow.awaitPublishers.executeWithOptions({ summary: 'wait until nothing is in flight' }, [
    { migration: name, epoch: state.epoch, fenced: true },
  ]);
  state.cutover.acknowledged = held.owlmqMessages;

  const kafka = await inWindow.legEnds.executeWithOptions({ summary: 'fence offsets' }, [{ leg: 'kafka', topics }]);
  const prove = (until: TopicOffsets) =>
    proveCopies(migration, 'prove all copies up to the fence', { until, activity: inWindow.auditToOwlmq });
  let behind: Drained['behind'] = {};
  const drain = async () => {
    behind = await drainConsumers(migration, kafka);
  };
  // Publishers hold: what copies lie before the fence does not depend on consumers.
  const atOnce = does('proven-while-drained');
  if (atOnce) await together<unknown>([drain, () => prove(kafka)]);
  else await drain();
  const reached = await whereGroupsStopped(migration, kafka);
  if (!atOnce || plan.forward.length > 0) await prove(reached);
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
  state.cutover.behind = behind;
}

/**
 * Consumers go to the fence, and apply nothing more from Kafka.
 *
 * @returns groups that nobody is left to drain, with where they stand.
 */
async function drainConsumers(migration: Migration, fence: TopicOffsets): Promise<Drained['behind']> {
  const { plan, state, name } = migration;
  const { groups } = plan;
  const external = externalGroups(plan);
  await migration.writeRouting(inWindow.applyRouting, { drain: fence }, 'cutover: consumers drain to the fence');
  await runHooks(migration, { event: 'stop-consumers', leg: 'kafka', offsets: fence, reason: 'cutover' });
  let behind: Drained['behind'] = {};
  const committed = async () => {
    const answer = await inWindow.awaitDrained.executeWithOptions({ summary: 'wait for commits at the fence' }, [
      {
        migration: name,
        leg: 'kafka',
        groups,
        offsets: fence,
        ...(external.length === 0 ? {} : { stopped: external }),
      },
    ]);
    behind = drainedAs(answer).behind;
  };
  const stopped = () =>
    inWindow.awaitConsumers.executeWithOptions({ summary: 'wait until nobody applies from Kafka' }, [
      { migration: name, epoch: state.epoch, groups: embeddedGroups(plan), state: 'drained', shadow: false },
    ]);
  const atOnce = does('proven-while-drained');
  if (atOnce) await together<unknown>([committed, stopped]);
  else await committed();
  const deserted = Object.keys(behind);
  if (deserted.length > 0) {
    // Their members are dead. One that starts from here on must not go on where positions are taken from.
    migration.note(`nobody is left to drain ${deserted.join(', ')}: they go on on OwlMQ from where they are`);
    await migration.writeRouting(inWindow.applyRouting, { drain: 'stop' }, 'cutover: consumers stop where they are');
  }
  if (!atOnce || deserted.length > 0) await stopped();
  return behind;
}

/**
 * Where the audit of the window has to end. Producers without the library write on behind the fence, and a member that
 * has not read the drain yet consumes of it: those records have to be on OwlMQ before positions are translated, else
 * they would come again there.
 */
async function whereGroupsStopped({ name, plan }: Migration, drain: TopicOffsets): Promise<TopicOffsets> {
  if (plan.forward.length === 0) return drain;
  const { furthest } = drainedAs(
    await inWindow.awaitDrained.executeWithOptions({ summary: 'how far groups consumed behind the fence' }, [
      { migration: name, leg: 'kafka', groups: plan.groups, offsets: drain },
    ]),
  );
  return furthest;
}

/**
 * Behind the journal: every step is tried until it succeeds, with a person's help where it must be. It is called done
 * when publishers, every group's members and a canary have proven it.
 */
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
  const { moves } = state.cutover;
  await hookStep(migration, {
    ...{ event: 'resume-on-owlmq', leg: 'owlmq', reason: 'cutover' },
    ...(moves === undefined ? {} : { moves }),
  });
  const publishers = await publishersToFollow(migration, 'publishers to switch to OwlMQ');
  state.cutover.publisherHoldMs = publishers.longestHoldMs;
  const verified: ReadinessCheck[] = [
    { ...PROVEN, name: 'publishers', detail: `${publishers.acknowledged} write to OwlMQ first` },
  ];
  const { groups } = await consumersToBe(
    migration,
    'live-owlmq',
    'consumers to go live on OwlMQ',
    'wait for live consumers of every group',
  );
  for (const [group, { members }] of Object.entries(groups)) {
    verified.push({ ...PROVEN, name: `group ${group}`, detail: `${members} members are live on OwlMQ` });
  }
  const { roundTripMs } = await migration.step('canary on OwlMQ', 'Check that OwlMQ answers.', () =>
    proveLeg.executeWithOptions({ summary: 'canary through OwlMQ' }, [{ migration: name, leg: 'owlmq' }]),
  );
  verified.push({ ...PROVEN, name: 'canary', detail: `through OwlMQ in ${roundTripMs} ms` });
  state.cutover.verification = verified;
  migration.note(`cut over; publishers were held for ${Math.round(publishers.longestHoldMs)} ms`);
}

const PROVEN = { ok: true, todo: '' };

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
      if (errors.length < MAX_ERRORS) errors.push(causeOf(error));
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
  const resume = { event: 'resume-on-kafka', leg: 'kafka', reason: `cutover cancelled: ${reason}` } as const;
  errors.push(...(await tryHooks(migration, { ...resume, hurried: true })));
  let publisherHoldMs: number | undefined;
  await attemptStep(async () => {
    const { longestHoldMs } = await inCancel.awaitPublishers.executeWithOptions(
      { summary: 'cancel: wait for publishers' },
      [{ migration: name, epoch: state.epoch, fenced: false }],
    );
    publisherHoldMs = longestHoldMs;
  });
  await attemptStep(() =>
    inCancel.awaitConsumers.executeWithOptions({ summary: 'cancel: wait for consumers' }, [
      { migration: name, epoch: state.epoch, groups: embeddedGroups(plan), state: 'live-kafka', shadow: false },
    ]),
  );
  state.cutover.lastCancel = {
    ...{ reason, at: now(), errors },
    ...(publisherHoldMs === undefined ? {} : { publisherHoldMs }),
  };
  const held = publisherHoldMs === undefined ? '' : `; publishers were held for ${Math.round(publisherHoldMs)} ms`;
  migration.note(`cutover cancelled: ${reason}${held}${errors.length === 0 ? '' : `; errors: ${errors.join('; ')}`}`);
  if (state.rollback === undefined) migration.enter('ready');
}
