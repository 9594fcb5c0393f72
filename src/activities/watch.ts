import { ApplicationFailure, log } from '@temporalio/activity';
import {
  comparisonId,
  cutoverId,
  observationEnds,
  ObservationComparison,
  ObservationsReplacedError,
  pause,
  PositionWriter,
  translateToKafka,
  VerdictWriter,
  type ComparisonCheckpoint,
  type ComparisonReport,
  type MirrorCheckpoint,
  type TopicOffsets,
} from '@owlmq/kafka-bridge/operations';
import { discrepancyCount } from '../workflows/soak-clock.js';
import { MirrorRun, offsetSyncWriter, PAUSE_MS, STEP_MS } from './audit.js';
import type { Dependencies } from './dependencies.js';
import { diagnose } from './diagnose.js';
import { sliceEnd, untilNextLook, withHeartbeat } from './heartbeat.js';
import { MirrorWatch } from './mirror-watch.js';
import { packed, unpacked } from './packed.js';
import { owlmqEnds } from './topic-offsets.js';
import type {
  DiscrepancySample,
  GroupPosition,
  MigrationActivities,
  MirrorGap,
  SoakComparison,
  SoakReport,
  VerdictCounts,
  WarmReport,
  WatchSoakRequest,
  WatchWarmRequest,
} from './migration-activities.js';

/** Time between two translations of positions while warm: what a rollback with OwlMQ dead may deliver again. */
const POSITIONS_EVERY_MS = 10_000;
/** How much longer a slice of a comparison goes on that is behind. */
const CATCH_UP_MS = 30_000;
/** Time between two looks at what Kafka lacks. */
const LOOK_EVERY_MS = 1_000;
/** Short: the warm watch tells at once that a system is away, and looks again by itself. */
const RETRY_FOR_MS = 2_000;
/** Unmatched observations that all parts of a comparison hold: packed, their checkpoints are well below the 2 MB of a payload. */
const MAX_UNMATCHED = 100_000;

/** Watches that run for a slice of time, and complete early, with what they saw, when they are cancelled. */
export function watchActivities(
  dependencies: Dependencies,
): Pick<MigrationActivities, 'watchSoak' | 'watchWarm' | 'observationEnds'> {
  return {
    observationEnds: () => observationEnds(dependencies.kafka),

    watchSoak: (request) =>
      withHeartbeat<SoakReport, unknown>(async ({ signal, resumed, record }) => {
        const before = unpacked(request.comparison as ComparisonCheckpoint | undefined);
        const earlier = resumed === undefined ? before : unpacked(resumed as ComparisonCheckpoint);
        const comparison = new ObservationComparison({
          connection: dependencies.kafka,
          migration: request.migration,
          groups: request.groups,
          roster: dependencies.roster,
          latenessMs: request.latenessMs,
          from: request.from,
          start: request.start,
          acknowledged: request.acknowledged ?? [],
          ...(dependencies.compare === undefined ? {} : { compare: dependencies.compare }),
          countFields: request.countFields === true,
          ...(request.partitions === undefined ? {} : { partitions: request.partitions }),
          maxUnmatched: Math.ceil(MAX_UNMATCHED / (request.parts ?? 1)),
          ...(request.quietMs === undefined ? {} : { quietMs: request.quietMs }),
          watchedFrom: request.watchedFrom ?? 0,
          // An attempt that takes over goes on in the same slice.
          interrupted: request.interrupted === true && resumed === undefined,
          ...(earlier === undefined ? {} : { checkpoint: earlier }),
        });
        // What handlers do differently by themselves is no discrepancy of the legs: nothing of it is stored or diagnosed.
        const betweenLegs = request.countFields !== true;
        const verdicts = betweenLegs ? verdictWriter(dependencies, request) : undefined;
        const known = discrepancies(before?.groups ?? {});
        const end = sliceEnd(request.sliceMs);
        try {
          for (;;) {
            const compared = await comparison.step({ maxMs: STEP_MS, signal });
            record(packed(compared.checkpoint));
            const found = request.endAtDiscrepancy && discrepancies(compared.groups) > known;
            // A slice that began by reading again what may be out of order must come further than it began, or no later
            // one does either.
            const over = Date.now() >= (compared.caughtUp ? end : end + CATCH_UP_MS);
            const last = signal.aborted || over || found;
            // What is told to the workflow can be looked up.
            await verdicts?.take(compared, { last });
            if (last) {
              const notStored = verdicts?.problem;
              const isNew = betweenLegs && discrepancies(compared.groups) > known;
              // Who cancels does not wait for it.
              const diagnosis =
                isNew && !signal.aborted
                  ? await diagnose(dependencies, request.migration, compared, signal)
                  : undefined;
              return {
                comparison: {
                  ...soakComparison(compared),
                  ...(notStored === undefined ? {} : { notStored }),
                  ...(diagnosis === undefined ? {} : { diagnosis }),
                },
              };
            }
            await pause(untilNextLook(PAUSE_MS), signal);
          }
        } catch (error) {
          if (!(error instanceof ObservationsReplacedError)) throw error;
          // No further attempt finds what it began with.
          return { comparison: { checkpoint: undefined, groups: {}, samples: [], lost: error.message } };
        } finally {
          await Promise.all([comparison.close(), verdicts?.close()]);
        }
      }),

    watchWarm: (request) =>
      withHeartbeat<WarmReport, unknown>(async ({ signal, resumed: recorded, record }) => {
        const resumed = unpacked(recorded as WarmDetails | undefined);
        const run = new MirrorRun(dependencies, request, resumed?.audit, RETRY_FOR_MS);
        const syncs = offsetSyncWriter(dependencies, request);
        const noted = positionWriter(dependencies, request);
        let details: WarmDetails = resumed ?? { audit: run.checkpoint, positions: null, positionsAt: null };
        let blockers: string[] = [];
        let positionsDue = 0;
        let lookDue = 0;
        const mirror = new MirrorWatch(resumed?.mirror ?? request.mirror);
        const alert = new ChangedFor(request.blocked, request.alertAfterMs);
        const end = sliceEnd(request.sliceMs);
        try {
          for (;;) {
            const last = signal.aborted || Date.now() >= end || alert.lasting(blockers.length > 0);
            try {
              // A dead Kafka must not end the watch: it is what the watch is there to tell.
              details = { ...details, audit: (await run.step({ maxMs: STEP_MS })).checkpoint };
              await syncs.mirror(details.audit, { from: request.from.kafka });
              if (last || performance.now() >= positionsDue) {
                const at = new Date();
                const { positions, refused } = await kafkaPositions(dependencies, request, details.audit);
                await noted.write(positions, at);
                positionsDue = performance.now() + POSITIONS_EVERY_MS;
                blockers = refused;
                if (refused.length === 0) details = { ...details, positions, positionsAt: at.toISOString() };
              }
              blockers = [...blockers.filter((text) => !text.startsWith(UNREACHABLE)), ...degradedMirrors(request)];
            } catch (error) {
              // What no further attempt mends is for a person, at once.
              if (error instanceof ApplicationFailure) throw error;
              log.warn('the warm watch could not look at both systems', { error });
              blockers = [`${UNREACHABLE} ${error instanceof Error ? error.message : String(error)}`];
            }
            if (last || performance.now() >= lookDue) {
              await lookAtMirror(mirror, request, details.audit);
              details = { ...details, mirror: mirror.gap };
              lookDue = performance.now() + LOOK_EVERY_MS;
            }
            record(packed(details));
            if (last) {
              return {
                audit: run.outcome,
                mirror: mirror.gap,
                positions: details.positions,
                positionsAt: details.positionsAt,
                rollbackBlockers: [...new Set(blockers)],
              };
            }
            await pause(untilNextLook(PAUSE_MS), signal);
          }
        } finally {
          await Promise.all([run.close(), syncs.close(), noted.close()]);
        }
      }),
  };

  /** With OwlMQ away what is known of it stays; publishers are looked at all the same. */
  async function lookAtMirror(
    mirror: MirrorWatch,
    { migration, topics, partitions }: WatchWarmRequest,
    { owlmq: proven }: MirrorCheckpoint,
  ): Promise<void> {
    const members = dependencies.roster.members(migration);
    try {
      const ends = await owlmqEnds(dependencies.owlmq, topics, { timeoutMs: RETRY_FOR_MS, attempts: 1 });
      // Of partitions that others see to, nothing is behind here.
      const own = Object.entries(ends).map(([topic, offsets]) => [
        topic,
        offsets.map((end, partition) => (partitions?.[topic]?.includes(partition) === false ? 0 : end)),
      ]);
      mirror.look(members, Object.fromEntries(own) as TopicOffsets, proven);
    } catch (error) {
      log.debug('the end of OwlMQ could not be read', { error });
      mirror.lookWithoutOwlmq(members);
    }
  }

  /** Publishers that gave up writing to a dead Kafka: it lacks messages until the audit has repaired it. */
  function degradedMirrors({ migration }: WatchWarmRequest): string[] {
    return dependencies.roster
      .members(migration)
      .filter(
        ({ report, silentMs }) => report.role === 'publisher' && report.mirrorDegraded && silentMs <= report.leaseMs,
      )
      .map(({ report }) => `publisher ${report.instance} does not reach Kafka`);
  }
}

/** Where a rollback finds them that comes when both OwlMQ and this worker are gone. */
function positionWriter({ kafka }: Dependencies, { migration, from, partitions }: WatchWarmRequest): PositionWriter {
  return new PositionWriter({
    connection: kafka,
    clientId: `owlmq-migration-${migration}`,
    migration,
    cutover: cutoverId(from.kafka),
    part: partitions === undefined ? 'all' : JSON.stringify(partitions),
    onError: (error) => {
      log.warn('positions of the groups could not be noted', { error });
    },
  });
}

function verdictWriter({ kafka }: Dependencies, request: WatchSoakRequest): VerdictWriter {
  return new VerdictWriter({
    connection: kafka,
    clientId: 'owlmq-migration-worker',
    migration: request.migration,
    comparison: comparisonId(request.start, request.from),
    part: request.partitions?.join(',') ?? 'all',
    parts: request.parts ?? 1,
    onError: (error) => {
      log.warn('what the comparison found could not be stored', { error });
    },
  });
}

/** Lines that are told of what keeps a group from being compared. */
const MOST_STALLED = 3;
const UNREACHABLE = 'the audit cannot go on:';

interface WarmDetails {
  audit: MirrorCheckpoint;
  positions: GroupPosition[] | null;
  positionsAt: string | null;
  mirror?: MirrorGap;
}

/** Whether something has been otherwise than it was said to be for a time. */
class ChangedFor {
  #since: number | undefined;

  constructor(
    private readonly said: boolean | undefined,
    private readonly forMs: number | undefined,
  ) {}

  lasting(now: boolean): boolean {
    if (this.said === undefined || this.forMs === undefined || now === this.said) {
      this.#since = undefined;
      return false;
    }
    this.#since ??= performance.now();
    return performance.now() - this.#since >= this.forMs;
  }
}

function discrepancies(groups: Readonly<Record<string, { counts: VerdictCounts }>>): number {
  return Object.values(groups).reduce((total, { counts }) => total + discrepancyCount(counts), 0);
}

function soakComparison(report: ComparisonReport): SoakComparison {
  const groups: SoakComparison['groups'] = {};
  const samples: DiscrepancySample[] = [];
  for (const [group, of] of Object.entries(report.groups)) {
    const { duplicates, ...counts } = of.counts;
    const behind = report.caughtUp ? [] : [`Group ${group}: the comparison is behind what members observed.`];
    const comparedUpTo = report.caughtUp ? (of.comparedUpTo ?? null) : null;
    groups[group] = {
      ...{ counts, comparedUpTo, stalled: [...firstOf(group, of.stalled), ...behind] },
      ...(of.differing === undefined ? {} : { differing: of.differing }),
    };
    samples.push(
      ...of.samples.map(({ fields, error: _error, log: _log, ...sample }) => ({
        group,
        ...sample,
        fields: fields ?? [],
      })),
    );
  }
  const lost = lostReason(report);
  return {
    checkpoint: packed(report.checkpoint),
    groups,
    // Of all groups the newest, whichever group comes last.
    samples: samples.sort((a, b) => (a.time ?? 0) - (b.time ?? 0)).slice(-20),
    watched: report.watched,
    ...(lost === undefined ? {} : { lost }),
  };
}

/** A line a partition is more than a history takes, where groups and partitions are many. */
function firstOf(group: string, stalled: readonly string[]): string[] {
  if (stalled.length <= MOST_STALLED) return [...stalled];
  return [
    ...stalled.slice(0, MOST_STALLED),
    `Group ${group}: ${stalled.length - MOST_STALLED} more partitions stand like these.`,
  ];
}

function lostReason(report: ComparisonReport): string | undefined {
  if (report.overflow) return 'more was compared out of order than is remembered';
  if (report.expired > 0) return `retention took ${report.expired} observations before they were compared`;
  return undefined;
}

async function kafkaPositions(
  { kafka, owlmq }: Dependencies,
  { groups, topics, from, partitions }: WatchWarmRequest,
  audited: MirrorCheckpoint,
): Promise<{ positions: GroupPosition[]; refused: string[] }> {
  const translations = await translateToKafka({
    connection: kafka,
    owlmq,
    groups,
    topics,
    partitions,
    reset: 'earliest',
    retryForMs: RETRY_FOR_MS,
    kafkaFrom: from.kafka,
    proven: { owlmq: audited.owlmq, kafka: audited.kafka },
    syncs: {},
  });
  const positions: GroupPosition[] = [];
  const refused: string[] = [];
  for (const { group, partitions: translated } of translations) {
    for (const { topic, partition, target, reason } of translated) {
      if (target === undefined) refused.push(`${group} on ${topic}/${partition}: ${reason ?? 'no target'}`);
      else positions.push({ group, topic, partition, offset: target });
    }
  }
  return { positions, refused };
}
