import { embeddedGroups } from '@owlmq/kafka-bridge/playbook';
import type { TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type { ConsumerFleet, Drained, PublisherFleet } from '../activities/migration-activities.js';
import { awaitConsumers, awaitPublishers } from './activity-proxies.js';
import type { Migration } from './migration.js';

/** What to do about a member that holds a step up. */
export const FOLLOW = 'See in the worker log which instance does not follow, and restart it.';

/** Waits, as a step of its own, until every publisher follows the last routing state, and keeps what they report. */
export async function publishersToFollow(
  migration: Migration,
  step: string,
  summary = 'wait for all publishers',
): Promise<PublisherFleet> {
  const { state } = migration;
  state.publishers = await migration.step(step, FOLLOW, () =>
    awaitPublishers.executeWithOptions({ summary }, [{ migration: migration.name, epoch: state.epoch, fenced: false }]),
  );
  return state.publishers;
}

/** Waits, as a step of its own, until every consumer of the groups is in a state under the last routing state. */
export async function consumersToBe(
  migration: Migration,
  wanted: 'live-kafka' | 'live-owlmq' | 'drained',
  step: string,
  summary: string,
): Promise<ConsumerFleet> {
  const { plan, state } = migration;
  return await migration.step(step, FOLLOW, () =>
    awaitConsumers.executeWithOptions({ summary }, [
      { migration: migration.name, epoch: state.epoch, groups: embeddedGroups(plan), state: wanted, shadow: false },
    ]),
  );
}

/** What `awaitDrained` answers, by workers of earlier versions too: they waited for every group. */
export function drainedAs(answer: Drained | TopicOffsets | null | undefined): Drained {
  const furthest = answer?.furthest;
  // A topic may have this name.
  if (furthest === undefined || Array.isArray(furthest))
    return { furthest: (answer ?? {}) as TopicOffsets, behind: {} };
  return answer as Drained;
}
