import type { TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type { MigrationPlan } from '@owlmq/kafka-bridge/playbook';
import type { AuditFigures, AuditOutcome, Fences } from '../activities/migration-activities.js';
import { auditToKafka, auditToOwlmq } from './activity-proxies.js';
import { addFigures, figuresSince, noAuditFigures } from './audit-figures.js';
import { partitionShards, ratesOf, totalFigures, type AuditShard } from './audit-shards.js';
import type { Migration } from './migration.js';
import { together } from './together.js';

/** What to do about an audit that cannot go on. */
export const AUDIT_TODO =
  'Check that the worker reaches Kafka and OwlMQ. Where the cause says that retention has passed a position, those ' +
  'records can no longer be proven: roll back, raise the retention, and start anew.';

/** What an audit saw between two looks. */
export interface Audited {
  checked: number;
  figures: AuditFigures;
}

/**
 * Proves all copies up to the given Kafka offsets, or the ends as they are now, in as many activities as the input
 * asks for. The audit that runs beside the phases ends first.
 *
 * @returns what these activities saw.
 */
export async function proveCopies(
  migration: Migration,
  summary: string,
  options: { until?: TopicOffsets; activity?: typeof auditToOwlmq } = {},
): Promise<Audited> {
  await migration.audit.stop();
  const { until, activity = auditToOwlmq } = options;
  const shards = auditShards(migration);
  const seen = await together(
    shards.map((_, index) => async () => {
      const started = Date.now();
      const request = auditRequest(migration, index, migration.state.routing.ratio);
      const outcome = await activity.executeWithOptions({ summary: `${summary}${partOf(index, shards)}` }, [
        { ...request, ...(until === undefined ? {} : { until }) },
      ]);
      return takeOutcome(migration, index, outcome, Date.now() - started);
    }),
  );
  return seen.reduce(joinAudited);
}

/**
 * Proves that Kafka has all that OwlMQ has: up to the present ends while messages flow, to the end once publishers are
 * fenced.
 */
export async function proveMirror(
  migration: Migration,
  summary: string,
  fences: Fences,
  toEnd: boolean,
  options: { maximumAttempts?: number } = {},
): Promise<Audited> {
  const shards = mirrorShards(migration);
  const retry = options.maximumAttempts === undefined ? {} : { retry: { maximumAttempts: options.maximumAttempts } };
  const seen = await together(
    shards.map((_, index) => async () => {
      const started = Date.now();
      const outcome = await auditToKafka.executeWithOptions(
        { summary: `${summary}${partOf(index, shards)}`, ...retry },
        [{ ...mirrorRequest(migration, index, fences), toEnd }],
      );
      return takeMirrorOutcome(migration, index, outcome, Date.now() - started);
    }),
  );
  return seen.reduce(joinAudited);
}

export function joinAudited(one: Audited, other: Audited): Audited {
  return { checked: one.checked + other.checked, figures: addFigures(one.figures, other.figures) };
}

/** Says in a summary which part of the partitions an activity works on. */
export function partOf(index: number, shards: readonly unknown[]): string {
  return shards.length === 1 ? '' : ` (part ${index + 1} of ${shards.length})`;
}

/** How much longer the slices of an audit in parts are, so that its history does not grow with their number. */
export function partsFactor({ audit }: MigrationPlan): number {
  // A slice of six hours has to stay below the time that an attempt may take.
  return Math.min(4, audit.parallelism);
}

/** The parts of the audit to OwlMQ; those that have not begun are made. */
export function auditShards({ plan, state }: Migration): AuditShard[] {
  const parts = partitionShards(state.partitions, plan.audit.parallelism);
  return (state.audits ??= parts.map(() => ({ figures: noAuditFigures })));
}

/** The parts of the two-way audit. */
export function mirrorShards({ plan, state }: Migration): AuditShard[] {
  const owner: { audits?: AuditShard[] } = state.warm ?? state.rollback ?? {};
  const parts = partitionShards(state.partitions, plan.audit.parallelism);
  return (owner.audits ??= parts.map(() => ({ figures: noAuditFigures })));
}

/** What every activity of the audit to OwlMQ is asked. */
export function auditRequest(migration: Migration, index: number, ratio: number) {
  const { plan, state } = migration;
  return {
    ...commonRequest(migration, index, auditShards(migration)[index]),
    ...(state.auditFrom === undefined ? {} : { from: state.auditFrom }),
    ...(plan.forward.length === 0 ? {} : { forward: { topics: plan.forward, ratio } }),
  };
}

/** What every activity of the two-way audit is asked. */
export function mirrorRequest(migration: Migration, index: number, fences: Fences) {
  return { ...commonRequest(migration, index, mirrorShards(migration)[index]), from: fences };
}

function commonRequest({ plan, state, name }: Migration, index: number, shard: AuditShard | undefined) {
  const partitions = partitionShards(state.partitions, plan.audit.parallelism)[index];
  return {
    migration: name,
    topics: plan.topics,
    graceMs: plan.audit.grace,
    ...(partitions === undefined ? {} : { partitions }),
    ...(shard?.checkpoint === undefined ? {} : { checkpoint: shard.checkpoint }),
  };
}

/** Puts what a part of the audit to OwlMQ has seen into the state. */
export function takeOutcome(migration: Migration, index: number, outcome: AuditOutcome, elapsedMs: number): Audited {
  return take(migration, auditShards(migration), index, outcome, elapsedMs);
}

/** The same of the two-way audit. */
export function takeMirrorOutcome(
  migration: Migration,
  index: number,
  outcome: AuditOutcome,
  elapsedMs: number,
): Audited {
  return take(migration, mirrorShards(migration), index, outcome, elapsedMs);
}

function take(
  migration: Migration,
  shards: AuditShard[],
  index: number,
  { checkpoint, figures, checked, foreignAgoMs }: AuditOutcome,
  elapsedMs: number,
): Audited {
  const before = shards[index];
  const during = figuresSince(figures, before?.figures ?? noAuditFigures);
  shards[index] = { ...before, checkpoint, figures, rate: ratesOf(during, elapsedMs) };
  takeForeign(migration, during, foreignAgoMs);
  migration.state.parity = totalFigures(shards);
  migration.refreshDetails();
  return { checked, figures: during };
}

/** Adds up the records of producers without the library, whichever audit saw them. */
function takeForeign({ state }: Migration, during: AuditFigures, agoMs: Record<string, number>): void {
  for (const [topic, records] of Object.entries(during.foreign)) {
    if (records <= 0) continue;
    const known = state.foreign?.[topic];
    const lastAt = new Date(Date.now() - (agoMs[topic] ?? 0)).toISOString();
    state.foreign = {
      ...state.foreign,
      [topic]: {
        records: (known?.records ?? 0) + records,
        forwarded: (known?.forwarded ?? 0) + (during.forwarded[topic] ?? 0),
        lastAt: known === undefined || lastAt > known.lastAt ? lastAt : known.lastAt,
      },
    };
  }
}
