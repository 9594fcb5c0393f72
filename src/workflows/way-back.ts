import { ActivityFailure } from '@temporalio/workflow';
import { externalGroups } from '@owlmq/kafka-bridge/playbook';
import type { Fences, MirrorGap, WayBack } from '../activities/migration-activities.js';
import { proveWayBack } from './activity-proxies.js';
import { mirrorShards } from './audit-steps.js';
import { causeOf } from './failures.js';
import { now, type Migration } from './migration.js';
import type { WayBackRehearsal } from './migration-state.js';

/** Rehearsals that the state keeps. */
const KEPT = 20;

/** Tries everything of a rollback that changes nothing. Where it cannot even be tried, that is what it finds. */
export async function tryWayBack(migration: Migration, from: Fences, summary: string): Promise<WayBack> {
  const { plan } = migration;
  const external = externalGroups(plan);
  const request = {
    ...(external.length === 0 ? {} : { external }),
    ...{ migration: migration.name, topics: plan.topics, groups: plan.groups, from },
    audited: mirrorShards(migration).flatMap(({ checkpoint }) => (checkpoint === undefined ? [] : [checkpoint])),
    mirror: lastMirrorGap(migration),
  };
  try {
    return await proveWayBack.executeWithOptions({ summary }, [request]);
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    const todo = 'Check that the worker reaches Kafka.';
    const check = { name: 'Kafka can be asked', ok: false, detail: causeOf(error), todo, takes: 'repair' as const };
    return { checks: [check], owlmqAnswers: false, lossAtMost: 0, redeliveries: null };
  }
}

/** What Kafka may lack, as it was known last: at the fence of the cutover nothing. */
export function lastMirrorGap({ state }: Migration): MirrorGap {
  const { warm, cutover } = state;
  return warm?.mirror ?? { incomplete: false, unproven: 0, acknowledged: cutover.acknowledged ?? 0 };
}

/** The same while Kafka is kept warm, so that what would be in the way is known before somebody needs it. */
export async function rehearseWayBack(migration: Migration, from: Fences): Promise<WayBackRehearsal | undefined> {
  const { warm } = migration.state;
  if (warm === undefined) return undefined;
  const started = Date.now();
  const found = await tryWayBack(migration, from, 'rehearse the way back');
  const rehearsal: WayBackRehearsal = { ...found, at: now(), tookMs: Date.now() - started };
  warm.rehearsals = [...(warm.rehearsals ?? []).slice(1 - KEPT), rehearsal];
  const failed = found.checks.filter(({ ok }) => !ok);
  const result = failed.map(({ name, detail }) => `${name}: ${detail}`).join('; ');
  migration.note(failed.length === 0 ? 'the way back was rehearsed: all is well' : `way back rehearsed: ${result}`);
  return rehearsal;
}
