import type { RoutingState } from '@owlmq/kafka-bridge/operations';
import { type MigrationPlan, parseMigrationInput, type PlannedStep, planSteps } from '@owlmq/kafka-bridge/playbook';
import type * as steps from '../../src/activities/migration-activities.js';
import { addFigures, figuresSince, noAuditFigures } from '../../src/workflows/audit-figures.js';
import { joinFleetFigures, judgeStep, noFleetFigures, type MetricVerdict } from '../../src/workflows/ramp-gates.js';
import type { MigrationStatus } from '../../src/workflows/status.js';
import { extractFacts, type ActivityRecord, type Facts } from './extract.js';
import type { RecordedMigration } from './recorded-migration.js';

/** What a migration did, by its history and its last status. Times are ISO 8601; null: not over, or not known. */
export interface Evidence {
  workflow: {
    id: string;
    runIds: string[];
    taskQueue: string;
    startedBy: string;
    startedAt: string;
    endedAt: string | null;
    durationMs: number | null;
    outcome: string;
    historyEvents: number;
  };
  input: unknown;
  plan: PlannedStep[];
  phases: { phase: string; from: string; to: string | null; durationMs: number | null }[];
  phasesFrom: 'search attributes' | 'the log in the status' | 'nothing';
  epochs: EpochEvidence[];
  holds: HoldEvidence[];
  ramp: StepEvidence[];
  readiness: { at: string; ok: boolean; checks: steps.ReadinessCheck[] }[];
  /** Every time that a rollback was tried without doing it: on a schedule, and before one. */
  wayBack: ({ at: string; ok: boolean; summary: string } & steps.WayBack)[];
  offsets: OffsetEvidence[];
  canaries: { at: string; leg: string; ok: boolean; detail: string }[];
  audits: AuditEvidence[];
  warm: { slices: number; firstAt: string; lastAt: string; positionsAt: string | null; blockers: string[] } | null;
  activities: ActivityCount[];
  failures: { at: string; activity: string; summary: string; outcome: string; attempts: number; what: string }[];
  waits: { summary: string; from: string; to: string | null; forMs: number; outcome: string }[];
  people: { at: string; kind: string; name: string; by: string; reason: string; identity: string; answer: string }[];
  /** What is told nowhere above, by activity. */
  others: { at: string; activity: string; summary: string; outcome: string; result: unknown }[];
  taskQueues: Record<string, number>;
  status: MigrationStatus | null;
  noStatus: string | null;
}

interface EpochEvidence {
  epoch: number;
  at: string;
  reason: string;
  ratio: number;
  primary: string;
  live: string;
  mirror: boolean;
  shadow: string;
  fence: boolean;
  drain: boolean;
  written: boolean;
}

/** From the state that told publishers to hold to the acknowledgement of the one that let them go on. */
interface HoldEvidence {
  reason: string;
  from: string;
  to: string | null;
  durationMs: number | null;
  /** Longest hold of a call, as publishers told it. */
  longestCallMs: number | null;
  /** How it ended: the reason of the state that did. */
  endedBy: string | null;
}

interface StepEvidence {
  ratio: number;
  judgedAt: string;
  heldMs: number;
  verdict: string;
  reason: string;
  metrics: MetricVerdict[];
  fleet: steps.FleetFigures;
  audit: steps.AuditFigures;
}

interface OffsetEvidence {
  at: string;
  direction: string;
  group: string;
  exact: number;
  bounded: number;
  redeliveries: number;
  detail: string;
}

interface AuditEvidence {
  direction: string;
  runs: number;
  from: string;
  to: string;
  figures: steps.AuditFigures;
}

interface ActivityCount {
  activity: string;
  scheduled: number;
  completed: number;
  failed: number;
  timedOut: number;
  cancelled: number;
  retried: number;
  longestMs: number;
  totalMs: number;
}

/** Activities that have a section of their own, or whose results are in one. */
const TOLD: ReadonlySet<string> = new Set([
  'preflight',
  'applyRouting',
  'awaitPublishers',
  'awaitConsumers',
  'awaitDrained',
  'legEnds',
  'observationEnds',
  'auditToOwlmq',
  'auditToKafka',
  'watchAudit',
  'watchFleet',
  'watchSoak',
  'watchWarm',
  'checkReadiness',
  'proveWayBack',
  'proveLeg',
  'moveOffsets',
  'restoreKafkaOffsets',
]);

/**
 * Builds the report of a migration from what Temporal has of it, real or rehearsed, running or over. Nothing is in it
 * that is not in the histories or the status.
 */
export function buildEvidence(recorded: RecordedMigration): Evidence {
  const facts = extractFacts(recorded);
  const { status, noStatus = null, workflowId, runs } = recorded;
  const plan = planOf(facts.input);
  return {
    workflow: {
      id: workflowId,
      runIds: runs.map(({ runId }) => runId),
      taskQueue: facts.taskQueue,
      startedBy: facts.startedBy,
      startedAt: iso(facts.startedAt),
      endedAt: isoOrNull(facts.endedAt),
      durationMs: facts.endedAt === undefined ? null : facts.endedAt - facts.startedAt,
      outcome: facts.outcome,
      historyEvents: facts.events,
    },
    input: facts.input,
    plan: plan === undefined ? [] : planSteps(plan),
    ...phasesOf(facts, status),
    epochs: epochsOf(facts),
    holds: holdsOf(facts),
    ramp: plan === undefined ? [] : rampOf(facts, plan),
    readiness: completed(facts, 'checkReadiness').map(({ at, result }) => ({
      at,
      ok: result.every(({ ok }) => ok),
      checks: result,
    })),
    wayBack: completed(facts, 'proveWayBack').map(({ at, result, activity }) => ({
      at,
      ok: result.checks.every(({ ok }) => ok),
      summary: activity.summary,
      ...result,
    })),
    offsets: offsetsOf(facts),
    canaries: facts.activities
      .filter(({ name, outcome }) => name === 'proveLeg' && outcome !== 'pending')
      .map((activity) => ({
        at: iso(activity.endedAt ?? activity.scheduledAt),
        leg: (activity.argument as { leg: string }).leg,
        ok: activity.outcome === 'completed',
        detail:
          activity.outcome === 'completed'
            ? `${(activity.result as { roundTripMs: number }).roundTripMs} ms there and back`
            : (activity.failure ?? activity.outcome),
      })),
    audits: [
      ...auditsOf(facts, 'Kafka to OwlMQ', ['watchAudit', 'auditToOwlmq']),
      ...auditsOf(facts, 'both ways', ['watchWarm', 'auditToKafka']),
    ],
    warm: warmOf(facts),
    activities: countActivities(facts),
    failures: facts.activities
      .filter(({ outcome, attempts }) => ['failed', 'timed out'].includes(outcome) || attempts > 1)
      .map(({ endedAt, scheduledAt, name, summary, outcome, attempts, failure }) => ({
        at: iso(endedAt ?? scheduledAt),
        activity: name,
        ...{ summary, outcome, attempts },
        what: failure ?? '',
      })),
    waits: facts.timers.map(({ summary, startedAt, endedAt, forMs, outcome }) => ({
      ...{ summary, forMs, outcome },
      from: iso(startedAt),
      to: isoOrNull(endedAt),
    })),
    people: peopleOf(facts),
    others: facts.activities
      .filter(({ name }) => !TOLD.has(name))
      .map(({ endedAt, scheduledAt, name, summary, outcome, result }) => ({
        at: iso(endedAt ?? scheduledAt),
        activity: name,
        ...{ summary, outcome },
        result: result ?? null,
      })),
    taskQueues: tally(facts.activities.map(({ taskQueue }) => taskQueue)),
    status,
    noStatus,
  };
}

function planOf(input: unknown): MigrationPlan | undefined {
  try {
    return parseMigrationInput(input);
  } catch {
    // Of another version, or refused: then no step was taken either.
    return undefined;
  }
}

function phasesOf(
  { phases, startedAt, endedAt }: Facts,
  status: MigrationStatus | null,
): Pick<Evidence, 'phases' | 'phasesFrom'> {
  const told = (status?.log ?? []).flatMap(({ at, text }) =>
    text.startsWith('phase ') ? [{ at: Date.parse(at), phase: text.slice('phase '.length) }] : [],
  );
  const found = phases.length > 0 ? phases : told;
  const phasesFrom = phases.length > 0 ? 'search attributes' : told.length > 0 ? 'the log in the status' : 'nothing';
  const all = found[0]?.phase === 'preflight' ? found : [{ at: startedAt, phase: 'preflight' }, ...found];
  // The status may know of one that no search attribute could tell any more.
  return {
    phasesFrom,
    phases: all.map(({ at, phase }, index) => {
      const from = index === 0 ? startedAt : at;
      const to = all[index + 1]?.at ?? endedAt;
      return { phase, from: iso(from), to: isoOrNull(to), durationMs: to === undefined ? null : to - from };
    }),
  };
}

function epochsOf(facts: Facts): EpochEvidence[] {
  return facts.activities
    .filter(({ name }) => name === 'applyRouting')
    .map(({ argument, endedAt, scheduledAt, outcome }) => {
      const { epoch, reason, ratio, primary, live, mirror, shadow, fence, drain } = argument as RoutingState;
      return {
        ...{ epoch, reason, ratio, primary, live, mirror, shadow },
        at: iso(endedAt ?? scheduledAt),
        fence: fence !== undefined,
        drain: drain !== undefined,
        written: outcome === 'completed',
      };
    });
}

function holdsOf(facts: Facts): HoldEvidence[] {
  const holds: HoldEvidence[] = [];
  let open: HoldEvidence | undefined;
  let fenced = false;
  for (const { name, argument, result, outcome, scheduledAt, endedAt } of facts.activities) {
    if (name === 'applyRouting') {
      const { fence, reason } = argument as RoutingState;
      if (fence !== undefined && open === undefined) {
        open = { reason, from: iso(scheduledAt), to: null, durationMs: null, longestCallMs: null, endedBy: null };
        holds.push(open);
      }
      if (fence === undefined && open !== undefined && outcome === 'completed') open.endedBy = reason;
      fenced = fence !== undefined;
    }
    if (name !== 'awaitPublishers' || open === undefined || fenced || outcome !== 'completed') continue;
    open.to = isoOrNull(endedAt);
    open.durationMs = endedAt === undefined ? null : endedAt - Date.parse(open.from);
    open.longestCallMs = (result as steps.PublisherFleet).longestHoldMs;
    open = undefined;
  }
  return holds;
}

/** Steps of the ramp, judged again from what the history holds, by the gates of the input. */
function rampOf(facts: Facts, { ramp: { gates } }: MigrationPlan): StepEvidence[] {
  const found: StepEvidence[] = [];
  const audited = new Map<string, steps.AuditFigures>();
  let [ratio, heldMs, checked] = [0, 0, 0];
  let [fleet, audit] = [noFleetFigures, noAuditFigures];
  const forget = (): void => {
    [heldMs, checked, fleet, audit] = [0, 0, noFleetFigures, noAuditFigures];
  };
  const judgement = (at: number): void => {
    if (fleet.looks > 0) {
      const { verdict, reason, metrics } = judgeStep(gates, ratio, { heldMs, checked, audit, fleet });
      found.push({ ratio, judgedAt: iso(at), heldMs, verdict, reason, metrics, fleet, audit });
    }
    forget();
  };
  // In the order in which they ended: that is the order in which the workflow knew of them.
  const ended = [...facts.activities].sort((one, other) => (one.endedAt ?? Infinity) - (other.endedAt ?? Infinity));
  for (const { name, argument, result, outcome, scheduledAt, endedAt = scheduledAt } of ended) {
    if (outcome !== 'completed') continue;
    if (name === 'applyRouting') {
      const state = argument as RoutingState;
      judgement(endedAt);
      ratio = state.ratio;
      // Behind the ramp there is nothing to judge.
      if (state.shadow === 'observe' || state.primary === 'owlmq') break;
    }
    if (name === 'watchFleet') {
      heldMs += endedAt - scheduledAt;
      fleet = joinFleetFigures(fleet, result as steps.FleetFigures);
    }
    if (name === 'watchAudit' || name === 'auditToOwlmq') {
      const part = JSON.stringify((argument as steps.AuditRequest).partitions ?? null);
      const outcomeOf = result as steps.AuditOutcome;
      const during = figuresSince(outcomeOf.figures, audited.get(part) ?? noAuditFigures);
      audited.set(part, outcomeOf.figures);
      audit = addFigures(audit, during);
      checked += outcomeOf.checked;
    }
    if (name === 'auditToOwlmq' && lastOfItsProof(facts, argument, endedAt)) judgement(endedAt);
  }
  return found;
}

/** Whether no other part of the same proof ends later. */
function lastOfItsProof({ activities }: Facts, argument: unknown, endedAt: number): boolean {
  const own = activities.find((one) => one.argument === argument);
  const parts = activities.filter(
    ({ name, scheduledAt }) => name === 'auditToOwlmq' && scheduledAt === own?.scheduledAt,
  );
  return parts.every((part) => part === own || (part.endedAt ?? Infinity) <= endedAt);
}

function offsetsOf(facts: Facts): OffsetEvidence[] {
  const moved = completed(facts, 'moveOffsets').flatMap(({ at, result, activity }) => {
    const { direction } = activity.argument as steps.MoveOffsetsRequest;
    return result.map((move) => ({ at, direction, ...move, detail: activity.summary }));
  });
  const restored = completed(facts, 'restoreKafkaOffsets').flatMap(({ at, result, activity }) => {
    const groups = Object.keys((activity.argument as steps.RestoreKafkaOffsetsRequest).groups).join(', ');
    const positions = result?.positionsAt ?? 'the cutover';
    return result === undefined
      ? []
      : [
          {
            ...{ at, direction: 'to-kafka', group: groups, exact: 0, bounded: 0 },
            redeliveries: result.redeliveriesAtMost,
            detail: `last noted positions, of ${positions}: at most so many come again`,
          },
        ];
  });
  return [...moved, ...restored];
}

function auditsOf(facts: Facts, direction: string, names: readonly string[]): AuditEvidence[] {
  const runs = facts.activities.filter(({ name, outcome }) => names.includes(name) && outcome === 'completed');
  const [first] = runs;
  const last = runs.at(-1);
  if (first === undefined || last === undefined) return [];
  // Cumulative: the last of each part says all.
  const parts = new Map<string, steps.AuditFigures>();
  for (const { argument, result } of runs) {
    const outcome = 'audit' in (result as object) ? (result as steps.WarmReport).audit : (result as steps.AuditOutcome);
    parts.set(JSON.stringify((argument as steps.AuditRequest).partitions ?? null), outcome.figures);
  }
  const figures = [...parts.values()].reduce(addFigures);
  return [
    { direction, runs: runs.length, from: iso(first.scheduledAt), to: iso(last.endedAt ?? last.scheduledAt), figures },
  ];
}

function warmOf(facts: Facts): Evidence['warm'] {
  const slices = completed(facts, 'watchWarm');
  const [first] = slices;
  const last = slices.at(-1);
  if (first === undefined || last === undefined) return null;
  return {
    slices: slices.length,
    firstAt: iso(first.activity.scheduledAt),
    lastAt: last.at,
    positionsAt: slices.findLast(({ result }) => result.positionsAt !== null)?.result.positionsAt ?? null,
    blockers: [...new Set(slices.flatMap(({ at, result }) => result.rollbackBlockers.map((what) => `${at}: ${what}`)))],
  };
}

function countActivities({ activities }: Facts): ActivityCount[] {
  const byName = new Map<string, ActivityCount>();
  for (const { name, outcome, attempts, scheduledAt, endedAt = scheduledAt } of activities) {
    const counted = byName.get(name) ?? {
      activity: name,
      ...{ scheduled: 0, completed: 0, failed: 0, timedOut: 0, cancelled: 0, retried: 0, longestMs: 0, totalMs: 0 },
    };
    byName.set(name, counted);
    counted.scheduled += 1;
    counted.retried += Math.max(0, attempts - 1);
    counted.totalMs += endedAt - scheduledAt;
    counted.longestMs = Math.max(counted.longestMs, endedAt - scheduledAt);
    if (outcome === 'completed') counted.completed += 1;
    if (outcome === 'failed') counted.failed += 1;
    if (outcome === 'timed out') counted.timedOut += 1;
    if (outcome === 'cancelled') counted.cancelled += 1;
  }
  return [...byName.values()];
}

function peopleOf({ requests }: Facts): Evidence['people'] {
  return requests.map(({ at, kind, name, argument, identity, answer }) => {
    const given = typeof argument === 'string' ? { reason: argument } : ((argument ?? {}) as Record<string, unknown>);
    const { by, reason, ...rest } = given;
    const more = Object.keys(rest).length === 0 ? '' : ` ${JSON.stringify(rest)}`;
    return {
      at: iso(at),
      ...{ kind, name, identity },
      by: typeof by === 'string' ? by : '',
      reason: `${typeof reason === 'string' ? reason : ''}${more}`.trim(),
      answer: answer === undefined ? '' : typeof answer === 'string' ? answer : JSON.stringify(answer),
    };
  });
}

/** Those with a result, which is what the activity of that name answers. */
function completed<N extends keyof steps.MigrationActivities>(
  facts: Facts,
  activity: N,
): { at: string; result: Awaited<ReturnType<steps.MigrationActivities[N]>>; activity: ActivityRecord }[] {
  return facts.activities
    .filter(({ name, outcome }) => name === activity && outcome === 'completed')
    .map((one) => ({
      at: iso(one.endedAt ?? one.scheduledAt),
      result: one.result as Awaited<ReturnType<steps.MigrationActivities[N]>>,
      activity: one,
    }));
}

function tally(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function iso(at: number): string {
  return new Date(at).toISOString();
}

function isoOrNull(at: number | undefined): string | null {
  return at === undefined ? null : iso(at);
}
