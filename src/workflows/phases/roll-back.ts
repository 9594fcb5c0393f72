import { ActivityFailure, isCancellation } from '@temporalio/workflow';
import { externalGroups } from '@owlmq/kafka-bridge/playbook';
import type { TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type { Fences, WayBackCheck } from '../../activities/migration-activities.js';
import {
  applyRouting,
  awaitDrained,
  awaitPublishers,
  legEnds,
  moveOffsets,
  proveLeg,
  restoreKafkaOffsets,
} from '../activity-proxies.js';
import { mirrorShards, proveMirror } from '../audit-steps.js';
import { causeOf } from '../failures.js';
import { consumersToBe, drainedAs, FOLLOW, publishersToFollow } from '../fleet-steps.js';
import { hookStep, resumeHeldHooks } from '../hooks.js';
import { now, type Migration } from '../migration.js';
import { does } from '../patches.js';
import { lastMirrorGap, tryWayBack } from '../way-back.js';
import { within } from '../within.js';

/** While publishers hold, or are about to, an audit that fails is soon a question for the next step. */
const AUDIT_RETRIES = { maximumAttempts: 3 };
/** Time that a rollback has for what it needs OwlMQ for, at the least: a drain in vain takes 20 s of it. */
const SHORTEST_HOLD_MS = 45_000;
const REACH = 'Check that the worker reaches Kafka and OwlMQ.';

/**
 * The way back, from any phase before the decommission. Runs to its end whatever else is asked; pauses do not stop it.
 *
 * @param wait Do not refuse: wait for what is to be repaired. For a workflow that was cancelled, which cannot go on.
 * @returns `refused`: Kafka is in no state to return to, and nothing was changed. The migration goes on where it was.
 */
export async function rollBack(migration: Migration, { wait }: { wait: boolean }): Promise<'rolled-back' | 'refused'> {
  const { state } = migration;
  const from = state.phase;
  if (state.rollback !== undefined) state.rollback.from = from;
  migration.enter('rolling-back');
  // Before the first routing state nobody was told anything.
  if (from !== 'preflight') {
    const { fences } = state.cutover;
    if (state.cutover.journaledAt === undefined || fences === undefined) await stayOnKafka(migration);
    else {
      const owlmqAnswers = await proveWayBackFirst(migration, fences, wait);
      if (owlmqAnswers === undefined) {
        migration.enter(from);
        return 'refused';
      }
      await returnToKafka(migration, fences, owlmqAnswers);
    }
  }
  migration.enter('rolled-back');
  return 'rolled-back';
}

/**
 * Tries the whole way back while publishers are not held yet: Kafka takes writes on every partition, members are there to
 * consume, positions can be set, and Kafka lacks nothing that cannot be repaired.
 *
 * @returns whether OwlMQ answers; undefined when the rollback is refused.
 */
async function proveWayBackFirst(migration: Migration, fences: Fences, wait: boolean): Promise<boolean | undefined> {
  if (!does('way-back-proven-first')) {
    await migration.step('canary on Kafka', 'Kafka must take writes before anything returns to it.', () =>
      proveLeg.executeWithOptions({ summary: 'is Kafka healthy?' }, [{ migration: migration.name, leg: 'kafka' }]),
    );
    return await isAlive(migration);
  }
  const { state } = migration;
  for (;;) {
    const { checks, owlmqAnswers, lossAtMost } = await tryWayBack(migration, fences, 'rollback: prove the way back');
    const force = state.rollback?.force === true;
    const failed = checks.filter(({ ok, takes }) => !ok && (takes === 'repair' || (takes === 'force' && !force)));
    if (failed.length === 0) {
      if (state.rollback !== undefined) {
        state.rollback.checks = checks;
        if (lossAtMost > 0) state.rollback.lossAtMost = lossAtMost;
      }
      const said = checks.map(({ name, ok, detail }) => `${name}${ok ? '' : ' (fails)'}: ${detail}`);
      migration.note(`the way back is proven: ${said.join('; ')}`);
      return owlmqAnswers;
    }
    const cause = failed.map(({ name, detail }) => `${name}: ${detail}`).join('; ');
    const todo = [...new Set(failed.map((check) => check.todo))].join(' ');
    if (!wait) {
      refuse(migration, failed, lossAtMost);
      return undefined;
    }
    await migration.block('the way back', cause, todo);
  }
}

/** Tells what has to be repaired, or accepted by force, and forgets the request: a later one is judged anew. */
function refuse(migration: Migration, failed: WayBackCheck[], lossAtMost: number): void {
  const { state } = migration;
  const { reason, by, at } = state.rollback ?? { reason: 'unknown', by: 'unknown', at: now() };
  delete state.rollback;
  state.rollbackRefused = { reason, by, at, refusedAt: now(), failed, lossAtMost };
  const why = failed.map(({ name, detail, todo }) => `${name}: ${detail}. ${todo}`).join(' ');
  // Who asked is in the status: search attributes are never encrypted.
  migration.callAttention(`a rollback was refused, and nothing was changed: ${why}`);
}

/** Kafka was primary all along: no copies any more, no shadows. Kafka consumers never stopped. */
async function stayOnKafka(migration: Migration): Promise<void> {
  await routeToKafka(migration);
  // Of a window that was cancelled for this.
  await resumeHeldHooks(migration, 'rollback');
  await confirmPublishers(migration);
}

/** OwlMQ was primary: Kafka gets all it lacks, groups get their positions, then the switch back. */
async function returnToKafka(migration: Migration, fences: Fences, answers: boolean): Promise<void> {
  const { state } = migration;
  const name = migration.name;
  let owlmqAnswers = answers;
  let gap = lastMirrorGap(migration);
  if (owlmqAnswers) {
    try {
      await proveMirror(migration, 'catch up with the audit before publishers hold', fences, false, AUDIT_RETRIES);
      // What was missing then is repaired.
      gap = { ...gap, incomplete: false };
    } catch (error) {
      if (!(error instanceof ActivityFailure)) throw error;
      migration.note(`the audit could not catch up before publishers hold: ${causeOf(error)}`);
    }
  }

  // All of it: where the rollback was asked for before the switch was known to be written, it may be written, or not.
  await migration.route(
    {
      ...{ primary: 'owlmq', live: 'owlmq', shadow: 'off', shadowFrom: undefined },
      ...{ fence: { reason: 'rollback' }, drain: undefined },
    },
    'rollback: publishers hold',
  );
  await hookStep(migration, { event: 'hold-publishers', reason: 'rollback' });
  const held = await migration.step('publishers to hold', FOLLOW, () =>
    awaitPublishers.executeWithOptions({ summary: 'wait until nothing is in flight' }, [
      { migration: name, epoch: state.epoch, fenced: true },
    ]),
  );
  const kafkaHasAll = !gap.incomplete && held.degraded.length === 0;
  while (owlmqAnswers) {
    try {
      await withinHold(migration, () => bringHome(migration, fences));
      break;
    } catch (error) {
      const tooSlow = isCancellation(error);
      if (!tooSlow && !(error instanceof ActivityFailure)) throw error;
      // Publishers hold: where OwlMQ died meanwhile the other way is taken at once; also where it is slow and Kafka lacks
      // nothing. Else this way is tried again.
      const cause = tooSlow ? 'OwlMQ is too slow: publishers are held for longer than a window' : causeOf(error);
      if (tooSlow && kafkaHasAll) migration.note(`${cause}; going back by the last positions`);
      owlmqAnswers = !(tooSlow && kafkaHasAll) && (await isAlive(migration));
      if (owlmqAnswers) await migration.block('positions to return to Kafka', cause, `${REACH} Stop Kafka members.`);
      else if (!kafkaHasAll && does('way-back-proven-first')) {
        owlmqAnswers = await untilOwlmqAnswersOrForce(migration, gap.unproven + held.owlmqMessages - gap.acknowledged);
      }
    }
  }
  if (!owlmqAnswers) await restoreLastPositions(migration, fences);
  await routeToKafka(migration);
  await hookStep(migration, { event: 'resume-on-kafka', leg: 'kafka', reason: 'rollback' });
  await confirmPublishers(migration);
  await consumersToBe(
    migration,
    'live-kafka',
    'consumers to go live on Kafka',
    'wait for live consumers of every group',
  );
}

/**
 * OwlMQ died while publishers were held, and Kafka lacks messages that only OwlMQ has: nobody loses them without a word.
 *
 * @param lacking how many Kafka may lack, by what publishers count.
 * @returns whether OwlMQ answers again; false: somebody allowed to go back without them.
 */
async function untilOwlmqAnswersOrForce(migration: Migration, lacking: number): Promise<boolean> {
  const { state } = migration;
  const lossAtMost = Math.max(0, lacking);
  const cause = `OwlMQ does not answer, and Kafka lacks at most ${lossAtMost} acknowledged messages that it has`;
  for (;;) {
    if (state.rollback?.force === true) {
      state.rollback.lossAtMost = lossAtMost;
      migration.note(`${cause}: going back without them, by force`);
      return false;
    }
    await migration.block('what Kafka lacks', cause, 'Make OwlMQ answer, or send rollback with force.');
    if (await isAlive(migration)) return true;
  }
}

/** Ends work that holds publishers for longer than a window, by a cancellation. */
async function withinHold({ plan }: Migration, work: () => Promise<void>): Promise<void> {
  if (!does('way-back-proven-first')) await work();
  else await within(Math.max(plan.cutover.window, SHORTEST_HOLD_MS), 'publishers are held: no longer than this', work);
}

async function isAlive(migration: Migration): Promise<boolean> {
  try {
    await proveLeg.executeWithOptions(
      { summary: 'does OwlMQ answer?', startToCloseTimeout: '10 seconds', retry: { maximumAttempts: 3 } },
      [{ migration: migration.name, leg: 'owlmq' }],
    );
    return true;
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    migration.note(`OwlMQ does not answer: ${causeOf(error)}; going back by the last positions`);
    return false;
  }
}

/** What needs OwlMQ to answer: consumers stop, Kafka gets what it lacks, and groups get their positions there. */
async function bringHome(migration: Migration, fences: Fences): Promise<void> {
  const { plan, state } = migration;
  if (Object.keys(state.foreign ?? {}).length > 0) {
    // What groups have consumed of it on OwlMQ, and what lies behind it in Kafka, does not come again then.
    await proveMirror(migration, 'forward what Kafka alone has', fences, true, AUDIT_RETRIES);
  }
  await drainOwlmqConsumers(migration);
  await proveMirror(migration, 'prove that Kafka has everything', fences, true, AUDIT_RETRIES);
  const audited = mirrorShards(migration).map(({ checkpoint }) => checkpoint);
  const moves = await moveOffsets.executeWithOptions(
    { summary: 'translate positions to Kafka, import, read back', retry: { maximumAttempts: 3 } },
    [{ direction: 'to-kafka', topics: plan.topics, groups: plan.groups, fences, audited, reset: plan.offsetReset }],
  );
  if (state.rollback !== undefined) {
    state.rollback.redeliveries = moves.reduce((sum, { redeliveries }) => sum + redeliveries, 0);
  }
}

/** To the end where that is possible in a short time, else where they are: positions are then translated. */
async function drainOwlmqConsumers(migration: Migration): Promise<void> {
  const { plan } = migration;
  const { topics, groups } = plan;
  const external = externalGroups(plan);
  const stopped = external.length === 0 ? {} : { stopped: external };
  const ends = await legEnds.executeWithOptions({ summary: 'OwlMQ fence offsets' }, [{ leg: 'owlmq', topics }]);
  try {
    await migration.writeRouting(applyRouting, { drain: ends }, 'rollback: OwlMQ consumers drain');
    await hookStep(migration, { event: 'stop-consumers', leg: 'owlmq', offsets: ends, reason: 'rollback' });
    const answer = await awaitDrained.executeWithOptions(
      { summary: 'wait for commits at the end', scheduleToCloseTimeout: '20 seconds' },
      [{ migration: migration.name, leg: 'owlmq', groups, offsets: ends, ...stopped }],
    );
    const behind = Object.keys(drainedAs(answer).behind);
    if (behind.length > 0) {
      // One that starts from here on must not go on where positions are taken from.
      migration.note(`nobody is left to drain ${behind.join(', ')}: they go on on Kafka from where they are`);
      await migration.route({ drain: 'stop' }, 'rollback: OwlMQ consumers stop');
    }
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    migration.note(`consumers did not drain in time: ${causeOf(error)}; they stop where they are`);
    await migration.route({ drain: 'stop' }, 'rollback: OwlMQ consumers stop');
    // What a hook said is not all: the leg knows whether anybody is left.
    if (external.length > 0) {
      await awaitDrained.executeWithOptions(
        { summary: 'wait until groups of hooks have left OwlMQ', scheduleToCloseTimeout: '20 seconds' },
        [{ migration: migration.name, leg: 'owlmq', groups: [], offsets: {}, ...stopped }],
      );
    }
  }
  await confirmStopped(migration);
}

async function confirmStopped(migration: Migration): Promise<void> {
  await consumersToBe(migration, 'drained', 'consumers to stop on OwlMQ', 'wait until nobody applies from OwlMQ');
}

/** OwlMQ is dead: positions as last checkpointed. Nothing is skipped; what came since is delivered again. */
async function restoreLastPositions(migration: Migration, fences: Fences): Promise<void> {
  const { plan, state } = migration;
  await migration.route({ drain: 'stop' }, 'rollback: OwlMQ consumers stop');
  await hookStep(migration, { event: 'stop-consumers', leg: 'owlmq', reason: 'rollback by the last positions' });
  await confirmStopped(migration);
  for (const blocker of state.warm?.rollbackBlockers ?? []) {
    migration.note(`what OwlMQ alone has stays there until it answers again: ${blocker}`);
  }
  // Every group had consumed Kafka up to the drain: with no checkpoint since, they begin there.
  const drained = state.cutover.drained ?? fences.kafka;
  const positions =
    state.warm?.positions ??
    Object.fromEntries(plan.groups.map((group) => [group, whereItStopped(group, drained, migration)]));
  const restored = await migration.step('group positions', 'Stop every Kafka consumer of the groups.', () =>
    restoreKafkaOffsets.executeWithOptions({ summary: 'set the last known positions, read back' }, [
      { migration: migration.name, fence: fences.kafka, groups: positions },
    ]),
  );
  const since = restored?.positionsAt ?? state.warm?.positionsAt ?? state.cutover.journaledAt ?? 'the cutover';
  // Workers of an earlier version answer nothing.
  if (restored === undefined) {
    migration.note(`positions as of ${since}`);
    return;
  }
  const { redeliveriesAtMost } = restored;
  if (state.rollback !== undefined) state.rollback.redeliveriesAtMost = redeliveriesAtMost;
  migration.note(`positions as of ${since}: at most ${redeliveriesAtMost} messages come again`);
}

/** Where a group was in Kafka at the cutover: at the drain, unless nobody was left to get it there. */
function whereItStopped(group: string, drained: TopicOffsets, { plan, state }: Migration): TopicOffsets {
  const behind = state.cutover.behind?.[group];
  if (behind === undefined) return drained;
  return Object.fromEntries(
    Object.entries(drained).map(([topic, offsets]) => [
      topic,
      offsets.map((offset, partition) => behind[topic]?.[partition] ?? (plan.offsetReset === 'latest' ? offset : 0)),
    ]),
  );
}

async function routeToKafka(migration: Migration): Promise<void> {
  migration.state.ratio.wanted = 0;
  await migration.route(
    {
      ratio: 0,
      primary: 'kafka',
      mirror: true,
      live: 'kafka',
      shadow: 'off',
      fence: undefined,
      drain: undefined,
      shadowFrom: undefined,
    },
    'rollback: everything on Kafka, nothing copied',
  );
}

async function confirmPublishers(migration: Migration): Promise<void> {
  const { state } = migration;
  const { longestHoldMs } = await publishersToFollow(migration, 'publishers to return to Kafka');
  if (state.rollback !== undefined) state.rollback.publisherHoldMs = longestHoldMs;
  migration.acknowledgeRatio(0);
}
