import { embeddedGroups, words } from '@owlmq/kafka-bridge/playbook';
import type { SoakComparison, WatchSoakRequest } from '../activities/migration-activities.js';
import { awaitConsumers, legEnds, observationEnds, watchSoak } from './activity-proxies.js';
import { comparisonParts } from './comparison-parts.js';
import type { Migration } from './migration.js';
import type { RoutingContent } from './migration-state.js';
import { together } from './together.js';

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
        { migration: migration.name, epoch: state.epoch, groups: embeddedGroups(plan), state: 'live-kafka', shadow },
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

/** What a slice of a comparison asks of each of its parts. */
interface ComparisonSlice extends Omit<
  WatchSoakRequest,
  'migration' | 'topics' | 'groups' | 'from' | 'comparison' | 'partitions' | 'parts' | 'interrupted'
> {
  /** How far the comparison is, for the history. */
  label: string;
  /** What each part handed over, in their order; undefined before the first slice. */
  earlier: unknown[];
}

/** A twentieth of what is to be compared, within limits. */
export function sliceMs(durationMs: number, longestMs: number): number {
  return Math.min(longestMs, Math.max(500, Math.round(durationMs / 20)));
}

/**
 * Compares for a slice of time, as a step. Ended early by a discrepancy where that is asked for, by a pause, or `until`.
 * A pause since the last slice takes the time between from what counts.
 *
 * @returns what each part reports; undefined when it was ended before it saw anything: the time does not count then.
 */
export async function compareSlice(
  migration: Migration,
  { name, todo }: { name: string; todo: string },
  slice: ComparisonSlice,
  until: () => boolean,
): Promise<SoakComparison[] | undefined> {
  const { state } = migration;
  const interrupted = state.soakInterrupted === true;
  delete state.soakInterrupted;
  const reports = await migration.step(name, todo, () =>
    migration.watch(() => compareInParts(migration, { ...slice, interrupted }), until),
  );
  if (reports === undefined && interrupted) state.soakInterrupted = true;
  return reports;
}

/**
 * Compares for a slice of time in as many activities as the plan says; the first one to end early ends them all.
 *
 * @returns what each reports; undefined when one was ended between two attempts, so that nobody is there to tell.
 */
async function compareInParts(
  migration: Migration,
  { label, earlier, ...slice }: ComparisonSlice & Pick<WatchSoakRequest, 'interrupted'>,
): Promise<SoakComparison[] | undefined> {
  const { name, plan, state } = migration;
  const { topics } = plan;
  const groups = embeddedGroups(plan);
  const parts = comparisonParts(slice.start.length, plan.soak.parallelism);
  const from = state.routing.shadowFrom ?? {};
  const end = Date.now() + slice.sliceMs;
  let endedEarly = false;
  const compare = async (partitions: number[] | undefined, index: number): Promise<SoakComparison | undefined> => {
    const part = parts.length === 1 ? '' : `, part ${index + 1} of ${parts.length}`;
    const summary = `${label}: compare for ${words(slice.sliceMs)}${part}`;
    const own = { comparison: earlier[index], partitions, parts: parts.length };
    const request: WatchSoakRequest = { migration: name, topics, groups, from, ...own, ...slice };
    const report = await migration.watchUntil(
      () => watchSoak.executeWithOptions({ summary }, [request]),
      () => endedEarly,
    );
    endedEarly ||= Date.now() < end;
    return report?.comparison;
  };
  const reports = await together(parts.map((partitions, index) => () => compare(partitions, index)));
  const told = reports.filter((report) => report !== undefined);
  return told.length === reports.length ? told : undefined;
}
