import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure, log } from '@temporalio/activity';
import {
  AuditPartitionsError,
  AuditPositionLostError,
  ForwardAudit,
  MirrorAudit,
  OffsetSyncWriter,
  pause,
  type ForwardCheckpoint,
  type MirrorCheckpoint,
  type TopicOffsets,
} from '@owlmq/kafka-bridge/operations';
import { figuresSince, publishersCopies } from '../workflows/audit-figures.js';
import { AuditMeter, totals, type TopicFigures } from './audit-meter.js';
import type { Dependencies } from './dependencies.js';
import { sliceEnd, untilNextLook, withHeartbeat } from './heartbeat.js';
import type {
  AuditOutcome,
  AuditRequest,
  Fences,
  MigrationActivities,
  MirrorAuditRequest,
  WatchAuditReport,
  WatchAuditRequest,
} from './migration-activities.js';
import { owlmqEnds, recordsBetween } from './topic-offsets.js';

/** Bound on one step, so that heartbeats carry fresh checkpoints. */
export const STEP_MS = 2_000;
/** Pause between steps that found nothing to do: the delay of a forwarded record, and of a repair. */
export const PAUSE_MS = 250;
const IDLE_MS = 50;
/** Fewer missing copies than these raise no alarm, whatever their share. */
const ALARMING = 10;

/** Steps that prove, and repair, that a leg has what the other has. */
export function auditActivities(
  dependencies: Dependencies,
): Pick<MigrationActivities, 'auditToOwlmq' | 'auditToKafka' | 'watchAudit'> {
  const { reader, owlmq } = dependencies;
  return {
    auditToOwlmq: (request) =>
      withHeartbeat<AuditOutcome, ForwardCheckpoint>(async ({ signal, resumed, record }) => {
        const { topics, until } = request;
        const run = new ForwardRun(dependencies, request, resumed);
        try {
          const goal =
            until ??
            Object.fromEntries(
              await Promise.all(topics.map(async (topic) => [topic, await reader.ends(topic, { signal })] as const)),
            );
          for (;;) {
            signal.throwIfAborted();
            const checkpoint = await run.step({ ...(until === undefined ? {} : { until }), maxMs: STEP_MS, signal });
            record(checkpoint);
            if (reached(checkpoint.positions, goal, request.partitions)) return run.outcome;
            await sleep(IDLE_MS, undefined, { signal });
          }
        } finally {
          await run.close();
        }
      }),

    watchAudit: (request) =>
      withHeartbeat<WatchAuditReport, ForwardCheckpoint>(async ({ signal, resumed, record }) => {
        const run = new ForwardRun(dependencies, request, resumed);
        const syncs = offsetSyncWriter(dependencies, request);
        const started = performance.now();
        const end = sliceEnd(request.sliceMs);
        try {
          for (;;) {
            // An end by cancellation is no failure: what was seen up to it counts.
            if (!signal.aborted) {
              const checkpoint = await run.step({ maxMs: STEP_MS, signal }, signal);
              record(checkpoint);
              await syncs.forward(checkpoint);
            }
            const alarmed = isAlarming(request, run.outcome, performance.now() - started);
            if (signal.aborted || alarmed || Date.now() >= end) return { ...run.outcome, alarmed };
            await pause(untilNextLook(PAUSE_MS), signal);
          }
        } finally {
          await Promise.all([run.close(), syncs.close()]);
        }
      }),

    auditToKafka: (request) =>
      withHeartbeat<AuditOutcome, MirrorCheckpoint>(async ({ signal, resumed, record }) => {
        const run = new MirrorRun(dependencies, request, resumed);
        try {
          const goal: Fences = { kafka: {}, owlmq: {} };
          for (const topic of request.topics) goal.kafka[topic] = await reader.ends(topic, { signal });
          goal.owlmq = await owlmqEnds(owlmq, request.topics);
          for (;;) {
            signal.throwIfAborted();
            const until = request.toEnd ? { until: goal.owlmq } : {};
            const { checkpoint, complete } = await run.step({ ...until, maxMs: STEP_MS, signal });
            record(checkpoint);
            const { kafka, owlmq: proven } = checkpoint;
            const { partitions } = request;
            const caughtUp = reached(kafka, goal.kafka, partitions) && reached(proven, goal.owlmq, partitions);
            if (complete || (!request.toEnd && caughtUp)) return run.outcome;
            await sleep(IDLE_MS, undefined, { signal });
          }
        } finally {
          await run.close();
        }
      }),
  };
}

/** Leaves what an audit knows of positions on both legs to translations: the window of a cutover has none to spare. */
export function offsetSyncWriter(
  { kafka, owlmq, routing }: Dependencies,
  { migration, topics, partitions }: Pick<AuditRequest, 'migration' | 'topics' | 'partitions'>,
): OffsetSyncWriter {
  return new OffsetSyncWriter({
    connection: kafka,
    owlmq,
    routing,
    clientId: `owlmq-migration-${migration}`,
    topics,
    partitions,
    role: 'worker',
    onError: (error) => {
      log.warn('what the audit knows of positions could not be noted', { error });
    },
  });
}

/** A forward audit within an activity: goes on from a checkpoint, or begins at `from`, and tells the metrics. */
class ForwardRun {
  readonly #audit: ForwardAudit;
  readonly #meter: AuditMeter;
  readonly #from: TopicOffsets | undefined;

  constructor(
    { kafka, owlmq }: Dependencies,
    request: Omit<AuditRequest, 'until'>,
    resumed: ForwardCheckpoint | undefined,
  ) {
    const since = request.checkpoint as ForwardCheckpoint | undefined;
    const checkpoint = resumed ?? since;
    this.#from = since?.positions ?? request.from;
    this.#audit = new ForwardAudit({
      connection: kafka,
      owlmq,
      topics: request.topics,
      positions: checkpoint?.positions ?? request.from ?? {},
      checkpoint,
      partitions: request.partitions,
      forward: request.forward,
      graceMs: request.graceMs,
      clientId: `owlmq-migration-${request.migration}`,
    });
    this.#meter = new AuditMeter(request.migration, 'to-owlmq', since?.figures ?? {}, checkpoint?.figures ?? {});
  }

  /** A step that `endedBy` may cut short without a failure. */
  async step(options: Parameters<ForwardAudit['step']>[0], endedBy?: AbortSignal): Promise<ForwardCheckpoint> {
    try {
      const report = await this.#audit.step(options);
      this.#meter.record(report);
    } catch (error) {
      if (endedBy?.aborted !== true) throw failClosed(error);
    }
    return this.#audit.checkpoint;
  }

  get outcome(): AuditOutcome {
    const { checkpoint } = this.#audit;
    return outcomeOf(checkpoint, checkpoint.positions, this.#from, this.#meter);
  }

  async close(): Promise<void> {
    await this.#audit.close();
  }
}

/** The same of a two-way audit, which begins at the fences. */
export class MirrorRun {
  readonly #audit: MirrorAudit;
  readonly #meter: AuditMeter;
  readonly #from: TopicOffsets;

  constructor(
    { kafka, owlmq }: Dependencies,
    request: Pick<MirrorAuditRequest, 'migration' | 'topics' | 'partitions' | 'checkpoint' | 'from' | 'graceMs'>,
    resumed: MirrorCheckpoint | undefined,
    retryForMs?: number,
  ) {
    const since = request.checkpoint as MirrorCheckpoint | undefined;
    const checkpoint = resumed ?? since;
    this.#from = since?.owlmq ?? request.from.owlmq;
    this.#audit = new MirrorAudit({
      connection: kafka,
      owlmq,
      topics: request.topics,
      owlmqPositions: request.from.owlmq,
      kafkaPositions: request.from.kafka,
      checkpoint,
      partitions: request.partitions,
      graceMs: request.graceMs,
      retryForMs,
      clientId: `owlmq-migration-${request.migration}`,
    });
    this.#meter = new AuditMeter(request.migration, 'both-ways', since?.figures ?? {}, checkpoint?.figures ?? {});
  }

  async step(
    options: Parameters<MirrorAudit['step']>[0],
  ): Promise<{ checkpoint: MirrorCheckpoint; complete: boolean }> {
    try {
      const report = await this.#audit.step(options);
      this.#meter.record(report);
      return report;
    } catch (error) {
      throw failClosed(error);
    }
  }

  get checkpoint(): MirrorCheckpoint {
    return this.#audit.checkpoint;
  }

  get outcome(): AuditOutcome {
    const { checkpoint } = this.#audit;
    return outcomeOf(checkpoint, checkpoint.owlmq, this.#from, this.#meter);
  }

  async close(): Promise<void> {
    await this.#audit.close();
  }
}

function outcomeOf(
  checkpoint: { figures: Record<string, TopicFigures> },
  positions: TopicOffsets,
  since: TopicOffsets | undefined,
  { foreignAgoMs }: AuditMeter,
): AuditOutcome {
  const checked = since === undefined ? 0 : recordsBetween(since, positions);
  return { checkpoint, figures: totals(checkpoint.figures), checked, foreignAgoMs };
}

/**
 * An audit that cannot go on without skipping records ends at once and says so: further attempts would find the same.
 * Everything else is thrown as it is, and tried again.
 */
function failClosed(error: unknown): unknown {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
  const closed = errors.find((one) => one instanceof AuditPositionLostError || one instanceof AuditPartitionsError);
  if (closed === undefined) return error;
  const { message } = closed as Error;
  return ApplicationFailure.create({ message, type: 'AuditFailedClosed', nonRetryable: true, cause: closed });
}

/**
 * Whether more copies are missing in this slice than the share allows of all that publishers will make in the alarm's
 * time, if they come as they do now.
 */
function isAlarming({ alarm, checkpoint }: WatchAuditRequest, { figures }: AuditOutcome, elapsedMs: number): boolean {
  if (alarm === undefined) return false;
  const slice = figuresSince(figures, totals((checkpoint as ForwardCheckpoint | undefined)?.figures ?? {}));
  const expected = publishersCopies(slice) * Math.max(1, alarm.withinMs / Math.max(1, elapsedMs));
  return slice.missing >= ALARMING && slice.missing > alarm.share * expected;
}

/** Whether positions are as far as a goal, on the partitions that are looked at. */
function reached(positions: TopicOffsets, goal: TopicOffsets, partitions: AuditRequest['partitions']): boolean {
  return Object.entries(goal).every(([topic, offsets]) => {
    const own = partitions?.[topic];
    return offsets.every(
      (offset, partition) => own?.includes(partition) === false || (positions[topic]?.[partition] ?? 0) >= offset,
    );
  });
}
