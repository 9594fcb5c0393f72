import { awaitConsumers, legEnds, observationEnds } from './activity-proxies.js';
import type { Migration } from './migration.js';
import type { RoutingContent } from './migration-state.js';

type Shadow = RoutingContent['shadow'];

/**
 * Lets live consumers report first, then shadows run: from the Kafka offsets taken in between, both sides see every
 * message.
 *
 * @returns where the log of observations ended before anybody reported to it.
 */
export async function startShadows(
  migration: Migration,
  report: Shadow,
  run: Shadow,
  where: string,
): Promise<number[]> {
  const { plan, state } = migration;
  const todo = 'Start DualConsumers for every group, with this migration as their name.';
  const consumersReady = (shadow: boolean) =>
    migration.step(shadow ? 'shadows to start' : 'consumers to report what they do', todo, () =>
      awaitConsumers.executeWithOptions({ summary: shadow ? 'wait for shadows' : 'wait for live consumers' }, [
        { migration: migration.name, epoch: state.epoch, groups: plan.groups, state: 'live-kafka', shadow },
      ]),
    );
  const begin = await migration.step('observations so far', 'Check that the worker reaches Kafka.', () =>
    observationEnds.executeWithOptions({ summary: 'where observations begin' }, []),
  );
  await migration.route({ shadow: report, shadowFrom: undefined }, 'live consumers report what they do');
  await consumersReady(false);
  const shadowFrom = await migration.step('Kafka end offsets', 'Check that the worker reaches Kafka.', () =>
    legEnds.executeWithOptions({ summary: 'where the comparison begins' }, [{ leg: 'kafka', topics: plan.topics }]),
  );
  await migration.route({ shadow: run, shadowFrom }, `shadow consumers start on ${where}`);
  await consumersReady(true);
  return begin;
}
