import { setTimeout as sleep } from 'node:timers/promises';
import {
  ForwardAudit,
  MirrorAudit,
  type ForwardCheckpoint,
  type ForwardFigures,
  type MirrorCheckpoint,
  type MirrorFigures,
  type TopicOffsets,
} from '@owlmq/kafka-bridge/operations';
import type { Dependencies } from './dependencies.js';
import { withHeartbeat } from './heartbeat.js';
import type {
  AuditFigures,
  AuditOutcome,
  Fences,
  MigrationActivities,
  MirrorAuditRequest,
} from './migration-activities.js';

/** Bound on one step, so that heartbeats carry fresh checkpoints. */
const STEP_MS = 2_000;
/** Pause between steps that found nothing to do. */
const IDLE_MS = 50;

/** Steps that prove, and repair, that a leg has what the other has. */
export function auditActivities(
  dependencies: Dependencies,
): Pick<MigrationActivities, 'auditToOwlmq' | 'auditToKafka'> {
  const { reader, owlmq } = dependencies;
  return {
    auditToOwlmq: (request) =>
      withHeartbeat<AuditOutcome, ForwardCheckpoint>(async ({ signal, resumed, record }) => {
        const { topics, until, from } = request;
        const audit = forwardAudit(dependencies, { ...request, checkpoint: resumed ?? request.checkpoint, from });
        try {
          const goal =
            until ??
            Object.fromEntries(
              await Promise.all(topics.map(async (topic) => [topic, await reader.ends(topic)] as const)),
            );
          for (;;) {
            signal.throwIfAborted();
            const report = await audit.step({ ...(until === undefined ? {} : { until }), maxMs: STEP_MS, signal });
            record(report.checkpoint);
            if (reached(report.checkpoint.positions, goal)) {
              return forwardOutcome(report.checkpoint, request.checkpoint as ForwardCheckpoint | undefined);
            }
            await sleep(IDLE_MS, undefined, { signal });
          }
        } finally {
          await audit.close();
        }
      }),

    auditToKafka: (request) =>
      withHeartbeat<AuditOutcome, MirrorCheckpoint>(async ({ signal, resumed, record }) => {
        const audit = mirrorAudit(dependencies, { ...request, checkpoint: resumed ?? request.checkpoint });
        try {
          const goal: Fences = { kafka: {}, owlmq: {} };
          for (const topic of request.topics) {
            goal.kafka[topic] = await reader.ends(topic);
            const described = await owlmq.describeTopic(topic);
            goal.owlmq[topic] = (described?.partitions ?? []).map(({ endOffset }) => endOffset);
          }
          for (;;) {
            signal.throwIfAborted();
            const until = request.toEnd ? { until: goal.owlmq } : {};
            const report = await audit.step({ ...until, maxMs: STEP_MS, signal });
            record(report.checkpoint);
            const { kafka, owlmq: proven } = report.checkpoint;
            if (report.complete || (!request.toEnd && reached(kafka, goal.kafka) && reached(proven, goal.owlmq))) {
              return mirrorOutcome(report.checkpoint, request.checkpoint as MirrorCheckpoint | undefined);
            }
            await sleep(IDLE_MS, undefined, { signal });
          }
        } finally {
          await audit.close();
        }
      }),
  };
}

/** A forward audit that goes on from a checkpoint, or begins at `from`. */
export function forwardAudit(
  { kafka, owlmq }: Dependencies,
  request: {
    migration: string;
    topics: string[];
    checkpoint?: unknown;
    from?: TopicOffsets | undefined;
    graceMs: number;
  },
): ForwardAudit {
  const checkpoint = request.checkpoint as ForwardCheckpoint | undefined;
  return new ForwardAudit({
    connection: kafka,
    owlmq,
    topics: request.topics,
    positions: checkpoint?.positions ?? request.from ?? {},
    checkpoint,
    graceMs: request.graceMs,
    clientId: `owlmq-migration-${request.migration}`,
  });
}

/** A two-way audit that goes on from a checkpoint, or begins at the fences. */
export function mirrorAudit(
  { kafka, owlmq }: Dependencies,
  request: Pick<MirrorAuditRequest, 'migration' | 'topics' | 'checkpoint' | 'from' | 'graceMs'>,
): MirrorAudit {
  return new MirrorAudit({
    connection: kafka,
    owlmq,
    topics: request.topics,
    owlmqPositions: request.from.owlmq,
    kafkaPositions: request.from.kafka,
    checkpoint: request.checkpoint as MirrorCheckpoint | undefined,
    graceMs: request.graceMs,
    clientId: `owlmq-migration-${request.migration}`,
  });
}

/** What a forward audit has to tell, with what it checked since another checkpoint. */
export function forwardOutcome(checkpoint: ForwardCheckpoint, since: ForwardCheckpoint | undefined): AuditOutcome {
  return {
    checkpoint,
    figures: totals(checkpoint.figures),
    checked: recordsBetween(since?.positions, checkpoint.positions),
  };
}

/** The same of a two-way audit. */
export function mirrorOutcome(checkpoint: MirrorCheckpoint, since: MirrorCheckpoint | undefined): AuditOutcome {
  return {
    checkpoint,
    figures: totals(checkpoint.figures),
    checked: recordsBetween(since?.owlmq, checkpoint.owlmq),
  };
}

/** What both audits count by topic; a forward audit forwards nothing, and a two-way one counts no inversions. */
type TopicFigures = Pick<ForwardFigures, 'kafka' | 'owlmq' | 'missing' | 'repaired' | 'foreign'> &
  Partial<Pick<ForwardFigures, 'inversions'> & Pick<MirrorFigures, 'forwarded'>>;

function totals(topics: Readonly<Record<string, TopicFigures>>): AuditFigures {
  const figures: AuditFigures = {
    kafkaMessages: 0,
    kafkaBytes: 0,
    owlmqMessages: 0,
    owlmqBytes: 0,
    missing: 0,
    repaired: 0,
    inversions: 0,
    foreign: {},
  };
  for (const [topic, of] of Object.entries(topics)) {
    figures.kafkaMessages += of.kafka.messages;
    figures.kafkaBytes += of.kafka.bytes;
    figures.owlmqMessages += of.owlmq.messages;
    figures.owlmqBytes += of.owlmq.bytes;
    figures.missing += of.missing;
    figures.repaired += of.repaired + (of.forwarded ?? 0);
    figures.inversions += of.inversions ?? 0;
    figures.foreign[topic] = of.foreign;
  }
  return figures;
}

function recordsBetween(from: TopicOffsets | undefined, to: TopicOffsets): number {
  if (from === undefined) return 0;
  let records = 0;
  for (const [topic, partitions] of Object.entries(to)) {
    for (const [partition, offset] of partitions.entries()) records += offset - (from[topic]?.[partition] ?? offset);
  }
  return records;
}

function reached(positions: TopicOffsets, goal: TopicOffsets): boolean {
  return Object.entries(goal).every(([topic, partitions]) =>
    partitions.every((offset, partition) => (positions[topic]?.[partition] ?? 0) >= offset),
  );
}
