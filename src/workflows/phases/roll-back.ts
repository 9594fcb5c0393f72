import { ActivityFailure } from '@temporalio/workflow';
import type { Fences } from '../../activities/migration-activities.js';
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
import { consumersToBe, FOLLOW, publishersToFollow } from '../fleet-steps.js';
import type { Migration } from '../migration.js';

/** While publishers hold, or are about to, an audit that fails is soon a question for the next step. */
const AUDIT_RETRIES = { maximumAttempts: 3 };
const REACH = 'Check that the worker reaches Kafka and OwlMQ.';

/**
 * The way back, from any phase before the decommission. Runs to its end whatever else is asked; pauses do not stop it.
 */
export async function rollBack(migration: Migration): Promise<void> {
  const { state } = migration;
  const from = state.phase;
  if (state.rollback !== undefined) state.rollback.from = from;
  migration.enter('rolling-back');
  // Before the first routing state nobody was told anything.
  if (from !== 'preflight') {
    const { fences } = state.cutover;
    if (state.cutover.journaledAt === undefined || fences === undefined) await stayOnKafka(migration);
    else await returnToKafka(migration, fences);
  }
  migration.enter('rolled-back');
}

/** Kafka was primary all along: no copies any more, no shadows. Kafka consumers never stopped. */
async function stayOnKafka(migration: Migration): Promise<void> {
  await routeToKafka(migration);
  await confirmPublishers(migration);
}

/** OwlMQ was primary: Kafka gets all it lacks, groups get their positions, then the switch back. */
async function returnToKafka(migration: Migration, fences: Fences): Promise<void> {
  const { state } = migration;
  const name = migration.name;
  await migration.step('canary on Kafka', 'Kafka must take writes before anything returns to it.', () =>
    proveLeg.executeWithOptions({ summary: 'is Kafka healthy?' }, [{ migration: name, leg: 'kafka' }]),
  );
  let owlmqAnswers = await isAlive(migration);
  if (owlmqAnswers) {
    try {
      await proveMirror(migration, 'catch up with the audit before publishers hold', fences, false, AUDIT_RETRIES);
    } catch (error) {
      if (!(error instanceof ActivityFailure)) throw error;
      migration.note(`the audit could not catch up before publishers hold: ${causeOf(error)}`);
    }
  }

  await migration.route({ fence: { reason: 'rollback' }, drain: undefined }, 'rollback: publishers hold');
  await migration.step('publishers to hold', FOLLOW, () =>
    awaitPublishers.executeWithOptions({ summary: 'wait until nothing is in flight' }, [
      { migration: name, epoch: state.epoch, fenced: true },
    ]),
  );
  while (owlmqAnswers) {
    try {
      await bringHome(migration, fences);
      break;
    } catch (error) {
      if (!(error instanceof ActivityFailure)) throw error;
      // Publishers hold: if OwlMQ died meanwhile the other way is taken at once, else this one is tried again.
      owlmqAnswers = await isAlive(migration);
      const cause = causeOf(error);
      if (owlmqAnswers) await migration.block('positions to return to Kafka', cause, `${REACH} Stop Kafka members.`);
    }
  }
  if (!owlmqAnswers) await restoreLastPositions(migration, fences);
  await routeToKafka(migration);
  await confirmPublishers(migration);
  await consumersToBe(
    migration,
    'live-kafka',
    'consumers to go live on Kafka',
    'wait for live consumers of every group',
  );
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
  const ends = await legEnds.executeWithOptions({ summary: 'OwlMQ fence offsets' }, [{ leg: 'owlmq', topics }]);
  try {
    await migration.writeRouting(applyRouting, { drain: ends }, 'rollback: OwlMQ consumers drain');
    await awaitDrained.executeWithOptions(
      { summary: 'wait for commits at the end', scheduleToCloseTimeout: '20 seconds' },
      [{ leg: 'owlmq', groups, offsets: ends }],
    );
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    migration.note(`consumers did not drain in time: ${causeOf(error)}; they stop where they are`);
    await migration.route({ drain: 'stop' }, 'rollback: OwlMQ consumers stop');
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
  await confirmStopped(migration);
  for (const blocker of state.warm?.rollbackBlockers ?? []) {
    migration.note(`what OwlMQ alone has stays there until it answers again: ${blocker}`);
  }
  // Every group had consumed Kafka up to the drain: with no checkpoint since, they begin there.
  const drained = state.cutover.drained ?? fences.kafka;
  const positions = state.warm?.positions ?? Object.fromEntries(plan.groups.map((group) => [group, drained]));
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
