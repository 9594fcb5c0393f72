import type { MigrationPlan } from '@owlmq/kafka-bridge/playbook';
import type { ReadinessCheck } from '../activities/migration-activities.js';
import type { ForeignTopic } from './migration-state.js';

const HOUR = 3_600_000;

/** How long no foreign record may have come for its producers to count as gone, ms. */
export function quietMs(plan: MigrationPlan): number {
  return Math.max(500, Math.min(HOUR, Math.round(plan.soak.duration / 20)));
}

/** Topics that producers without the library wrote to within a time. */
export function recentForeign(
  foreign: Readonly<Record<string, ForeignTopic>> | undefined,
  withinMs: number,
  now: number,
): (ForeignTopic & { topic: string })[] {
  return Object.entries(foreign ?? {})
    .filter(([, { lastAt }]) => now - Date.parse(lastAt) < withinMs)
    .map(([topic, of]) => ({ topic, ...of }));
}

/** Producers without the library stand in the way of a cutover, unless the bridge forwards what they write. */
export function bypassCheck(
  plan: MigrationPlan,
  foreign: Readonly<Record<string, ForeignTopic>> | undefined,
  now: number,
): ReadinessCheck {
  const recent = recentForeign(foreign, quietMs(plan), now);
  const bypassing = recent.filter(({ topic }) => !plan.forward.includes(topic));
  const forwarded = recent.filter(({ topic }) => plan.forward.includes(topic));
  const list = (topics: typeof recent): string =>
    topics.map(({ topic, records }) => `${topic} (${records} since the start)`).join(', ');
  const parts = [
    ...(bypassing.length === 0 ? [] : [`records without the library's headers in ${list(bypassing)}`]),
    ...(forwarded.length === 0 ? [] : [`forwarded: those in ${list(forwarded)}`]),
  ];
  return {
    name: 'no bypassing producer',
    ok: bypassing.length === 0,
    detail: parts.length === 0 ? 'every recent record came through the library' : parts.join('; '),
    todo: 'Move the producers that write to Kafka past the library to DualPublisher, or start anew with their topics in forward.',
  };
}
