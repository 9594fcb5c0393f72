import { embeddedGroups, percent, words, type MigrationPlan } from '@owlmq/kafka-bridge/playbook';
import type { AuditFigures, Finding, MirrorGap, ReadinessCheck } from '../activities/migration-activities.js';
import { totalRates, type LegRates } from './audit-shards.js';
import type { Leftover } from './leftovers.js';
import { patternWords } from './acknowledgements.js';
import type {
  Acknowledgement,
  Asked,
  Blocked,
  CutoverRecord,
  ForeignTopic,
  HookRecord,
  LogEntry,
  MigrationState,
  Phase,
  RampState,
  RefusedRollback,
  Request,
  WayBackRehearsal,
} from './migration-state.js';
import type { Verdict } from './ramp.js';
import { counted, judgeStep, type MetricVerdict } from './ramp-gates.js';
import { nextStep } from './next-step.js';
import { noiseShortfalls, proposedIgnore, type GroupNoise } from './noise.js';
import { soakShortfalls } from './soak-clock.js';

/** What the `status` query answers. Times are ISO 8601, durations in words or ms where the name says so. */
export interface MigrationStatus {
  /** Whether a model takes the place of both systems. */
  rehearsal: boolean;
  phase: Phase;
  since: string;
  startedAt: string;
  topics: string[];
  groups: string[];
  epoch: number;
  paused: Request | null;
  rollback: MigrationState['rollback'] | null;
  /** The last rollback that was refused, and what has to be repaired for it; nothing was changed. */
  rollbackRefused: RefusedRollback | null;
  ratio: { wanted: number; acknowledged: number };
  primary: 'kafka' | 'owlmq';
  live: 'kafka' | 'owlmq';
  publishers: MigrationState['publishers'] | null;
  ramp: RampStatus | null;
  /**
   * What the audit has counted: of Kafka against OwlMQ before the cutover, of both ways after it; and messages and bytes
   * a second on each leg over its last slice.
   */
  parity: (AuditFigures & { rates: LegRates }) | null;
  /** Producers without the library by topic, and whether the bridge forwards what they write. */
  foreign: Record<string, ForeignTopic & { forward: boolean }>;
  /** Why the audit has stopped that runs beside the phases; null while all is well. */
  auditFailure: MigrationState['auditFailure'] | null;
  /** What handlers do differently by themselves; null where it is not measured. */
  noise: NoiseStatus | null;
  groupVerdicts: MigrationState['verdicts'];
  soak: {
    cleanMs: number;
    targetMs: number;
    restarts: number;
    /** Why clean time does not count now; empty while it does. */
    inconclusive: string[];
    remaining: string[];
    lastDiscrepancy: MigrationState['soak']['lastDiscrepancy'] | null;
    /** What is likely behind the discrepancies that were found last, with the next command, and when that was looked at. */
    diagnosis: MigrationState['diagnosis'] | null;
    /** Why what was found is not stored for `kafka-bridge discrepancies`; null when it is. */
    notStored: string | null;
    /** Patterns of discrepancies that somebody has acknowledged, and who; revoked ones say so. */
    acknowledgements: Acknowledgement[];
  };
  readiness: ReadinessCheck[];
  /** Calls of hooks, newest last. */
  hooks: HookRecord[];
  cutover: CutoverRecord;
  warm: {
    remainingMs: number;
    /** Why a rollback would not be possible now, and since when. */
    rollbackBlockers: string[];
    unavailableSince: string | null;
    /** What Kafka may lack. */
    mirror: MirrorGap | null;
    /** The last tries of the way back, oldest first. */
    rehearsals: WayBackRehearsal[];
  } | null;
  /** What may be deleted once the migration is over, and by which commands. */
  leftovers: Leftover[];
  /** What comes next, and what it waits for. */
  next: string;
  waiting: { for: string; until?: string } | null;
  blocked: Blocked | null;
  /** What people should know though nothing is blocked, and since when. */
  attention: { what: string; since: string } | null;
  findings: Finding[];
  unknownSignals: string[];
  /** Signals and updates that people sent, newest last. */
  asked: Asked[];
  log: LogEntry[];
}

/** What was measured of handlers before the ramp. */
export interface NoiseStatus {
  measuredMs: number;
  targetMs: number;
  /** How many measurements were begun. */
  measurements: number;
  /** Why measured time does not count now; empty while it does. */
  inconclusive: string[];
  remaining: string[];
  /** `ignore`: what its service would have to ignore to be equal to itself. */
  groups: Record<string, GroupNoise & { ignore: string[] }>;
  /** Somebody went on whatever was measured. */
  approved: boolean;
}

/** Where the ramp stands, and why. */
export interface RampStatus {
  /** The ratio that is held, or was judged last. */
  step: number;
  /** Of the last judgement; null before the first. */
  verdict: Verdict | null;
  reason: string | null;
  judgedAt: string | null;
  /** Figures of the step that is held where there are some, else of the last judgement. */
  metrics: MetricVerdict[];
  /** Judgements of the present ratio. */
  attempts: number;
  /** Over the whole ramp. */
  stepBacks: number;
  /** Since when verdicts have been inconclusive; null while they are not. */
  inconclusiveSince: string | null;
  /** Newest last. */
  lastActions: RampState['lastActions'];
  /** ISO time; null while nothing is held: paused, blocked, or under way. */
  nextJudgement: string | null;
}

export function buildStatus(plan: MigrationPlan, state: MigrationState): MigrationStatus {
  const target = soakTarget(plan);
  return {
    rehearsal: plan.rehearsal,
    phase: state.phase,
    since: state.phaseSince,
    startedAt: state.startedAt,
    topics: plan.topics,
    groups: plan.groups,
    epoch: state.epoch,
    paused: state.paused ?? null,
    rollback: state.rollback ?? null,
    rollbackRefused: state.rollbackRefused ?? null,
    ratio: { wanted: state.ratio.wanted, acknowledged: state.ratio.acknowledged },
    primary: state.routing.primary,
    live: state.routing.live,
    publishers: state.publishers ?? null,
    ramp: rampStatus(plan, state),
    parity: state.parity === undefined ? null : { ...state.parity, rates: totalRates(auditsNow(state)) },
    foreign: Object.fromEntries(
      Object.entries(state.foreign ?? {}).map(([topic, of]) => [
        topic,
        { ...of, forward: plan.forward.includes(topic) },
      ]),
    ),
    auditFailure: state.auditFailure ?? null,
    noise: noiseStatus(plan, state),
    groupVerdicts: state.verdicts,
    soak: {
      cleanMs: state.soak.cleanMs,
      targetMs: plan.soak.duration,
      restarts: state.soak.restarts,
      inconclusive: ['shadow-soak', 'ready'].includes(state.phase) ? state.soak.missing : [],
      remaining: soakShortfalls(state.soak, target),
      lastDiscrepancy: state.soak.lastDiscrepancy ?? null,
      diagnosis: state.diagnosis ?? null,
      notStored: state.notStored ?? null,
      acknowledgements: state.acknowledgements ?? [],
    },
    readiness: state.readiness,
    hooks: state.hooks ?? [],
    cutover: state.cutover,
    warm:
      state.warm === undefined
        ? null
        : {
            remainingMs: state.warm.remainingMs,
            rollbackBlockers: state.warm.rollbackBlockers,
            unavailableSince: state.warm.unavailableSince ?? null,
            mirror: state.warm.mirror ?? null,
            rehearsals: state.warm.rehearsals ?? [],
          },
    leftovers: state.leftovers ?? [],
    next: nextStep(plan, state),
    waiting: state.waiting ?? null,
    blocked: state.blocked ?? null,
    attention: state.attention ?? null,
    findings: state.findings,
    unknownSignals: state.unknownSignals,
    asked: state.asked ?? [],
    log: state.log,
  };
}

function noiseStatus(plan: MigrationPlan, { phase, noise, approved }: MigrationState): NoiseStatus | null {
  if (noise === undefined) return null;
  return {
    measuredMs: noise.measuredMs,
    targetMs: plan.noise.duration,
    measurements: noise.measurements,
    inconclusive: phase === 'noise' ? noise.missing : [],
    remaining: noiseShortfalls(noise, noiseTarget(plan)),
    groups: Object.fromEntries(
      Object.entries(noise.groups).map(([name, of]) => [name, { ...of, ignore: proposedIgnore(of) }]),
    ),
    approved: approved.noise === true,
  };
}

function rampStatus(plan: MigrationPlan, state: MigrationState): RampStatus | null {
  const { ramp } = state;
  if (ramp === undefined) return null;
  const { counters, step, last, inconclusiveSince, lastActions } = ramp;
  const held = step !== undefined && step.fleet.looks > 0;
  return {
    step: step === undefined ? (last?.ratio ?? state.ratio.acknowledged) : state.ratio.acknowledged,
    verdict: last?.verdict ?? null,
    reason: last?.reason ?? null,
    judgedAt: last?.at ?? null,
    metrics: held ? judgeStep(plan.ramp.gates, state.ratio.acknowledged, step).metrics : (last?.metrics ?? []),
    attempts: counters.attempts,
    stepBacks: counters.stepBacks,
    inconclusiveSince: inconclusiveSince ?? null,
    lastActions,
    nextJudgement: step === undefined ? null : (state.waiting?.until ?? null),
  };
}

/** The parts of the audit that runs now. */
function auditsNow({ warm, audits }: MigrationState) {
  return warm?.audits ?? audits ?? [];
}

export function soakTarget(plan: MigrationPlan) {
  return { groups: embeddedGroups(plan), durationMs: plan.soak.duration, minComparisons: plan.soak.minComparisons };
}

export function noiseTarget(plan: MigrationPlan) {
  return { groups: embeddedGroups(plan), durationMs: plan.noise.duration, minComparisons: plan.noise.minComparisons };
}

/** The same for the eye, as the UI shows it under "current details". */
export function statusMarkdown(plan: MigrationPlan, state: MigrationState): string {
  const lines = [
    ...(plan.rehearsal ? ['**Rehearsal**: a model takes the place of Kafka and OwlMQ', ''] : []),
    `**${state.phase}** since ${state.phaseSince}`,
    '',
    `- topics: ${plan.topics.join(', ')}; groups: ${plan.groups.join(', ')}`,
    `- ratio: ${percent(state.ratio.wanted)} wanted, ${percent(state.ratio.acknowledged)} acknowledged; primary ${state.routing.primary}; epoch ${state.epoch}`,
  ];
  if (state.phase === 'noise') lines.push(...noiseLines(plan, state));
  if (state.phase === 'dual-write') lines.push(...rampLines(plan, state));
  lines.push(...parityLines(plan, state));
  if (state.attention !== undefined) {
    lines.push(`- **attention** since ${state.attention.since}: ${state.attention.what}`);
  }
  if (state.auditFailure !== undefined) {
    lines.push(`- **the audit has stopped** since ${state.auditFailure.since}: ${state.auditFailure.cause}`);
  }
  if (state.phase === 'shadow-soak' || state.phase === 'ready') {
    lines.push(
      `- soak: ${words(state.soak.cleanMs)} clean of ${words(plan.soak.duration)}, ${state.soak.restarts} restarts`,
    );
    lines.push(...state.soak.missing.map((reason) => `- inconclusive: ${reason}`));
    const inForce = (state.acknowledgements ?? []).filter(({ revoked }) => revoked === undefined);
    lines.push(...inForce.map(({ id, pattern, by }) => `- ${id}, acknowledged by ${by}: ${patternWords(pattern)}`));
    for (const [group, { acknowledged = 0 }] of Object.entries(state.verdicts)) {
      if (acknowledged > 0) lines.push(`- group ${group}: ${acknowledged} acknowledged discrepancies`);
    }
  }
  const sample = state.soak.lastDiscrepancy;
  if (sample !== undefined) {
    const fields = sample.fields.length === 0 ? '' : ` in ${sample.fields.join(', ')}`;
    lines.push(
      `- last discrepancy: group ${sample.group}, ${sample.verdict}, message ${sample.id} of ${sample.topic}${fields}`,
    );
  }
  lines.push(...diagnosisLines(state));
  lines.push(...hookLines(state));
  if (state.paused !== undefined) {
    lines.push(`- **paused** by ${state.paused.by} since ${state.paused.at}: ${state.paused.reason}`);
  }
  if (state.blocked !== undefined) {
    lines.push(
      `- **blocked** in "${state.blocked.step}" since ${state.blocked.since}: ${state.blocked.cause}`,
      `- to do: ${state.blocked.todo}`,
    );
  }
  lines.push(...wayBackLines(state), ...leftoverLines(state));
  if (state.waiting !== undefined) {
    const until = state.waiting.until === undefined ? '' : ` until ${state.waiting.until}`;
    lines.push(`- waits for ${state.waiting.for}${until}`);
  }
  lines.push(`- next: ${nextStep(plan, state)}`, ...askedLines(state));
  return lines.join('\n');
}

/** The last that somebody sent, and what was sent in vain. */
function askedLines({ asked = [], unknownSignals }: MigrationState): string[] {
  const last = asked.at(-1);
  return [
    ...(last === undefined ? [] : [`- last asked: ${last.what}, by ${last.by} at ${last.at}: ${last.reason}`]),
    ...unknownSignals.map((name) => `- signal "${name}" is not known and did nothing`),
  ];
}

/** Whether there is a way back, and what stands in it. */
function wayBackLines({ warm, rollbackRefused, decommissioned }: MigrationState): string[] {
  const lines: string[] = [];
  if (rollbackRefused !== undefined) {
    const { by, refusedAt, failed } = rollbackRefused;
    lines.push(`- **a rollback was refused** at ${refusedAt}, asked by ${by}; nothing was changed`);
    lines.push(...failed.map(({ name, detail, todo }) => `- to do: ${name}: ${detail}. ${todo}`));
  }
  if (warm === undefined || decommissioned === true) return lines;
  const { rollbackBlockers, unavailableSince, rehearsals = [] } = warm;
  const last = rehearsals.at(-1);
  if (unavailableSince !== undefined) {
    lines.push(`- **no rollback is possible** since ${unavailableSince}: ${rollbackBlockers.join('; ')}`);
  } else if (last !== undefined) {
    lines.push(`- a rollback is possible; the way back was rehearsed at ${last.at} in ${words(last.tookMs)}`);
  }
  return lines;
}

function leftoverLines({ leftovers = [] }: MigrationState): string[] {
  return leftovers.map(({ what, command }) => `- may be deleted: ${what}: \`${command}\``);
}

/** Hooks that wait, and what the last one said that did not succeed. */
function hookLines({ hooks = [] }: MigrationState): string[] {
  const waiting = hooks.filter(({ state }) => state === 'waiting');
  const last = hooks.at(-1);
  const failed = last !== undefined && (last.state === 'failed' || last.state === 'timed-out') ? [last] : [];
  return [
    ...waiting.map(({ hook, kind, event, until }) => `- **hook ${hook}** (${kind}) at ${event} waits until ${until}`),
    ...failed.map(({ hook, event, state, answer = '' }) => `- **hook ${hook}** at ${event} ${state}: ${answer}`),
  ];
}

/** Shown of the diagnosis; the rest is in the status. */
const DIAGNOSES_SHOWN = 3;

function diagnosisLines({ phase, diagnosis, notStored }: MigrationState): string[] {
  if (phase !== 'shadow-soak' && phase !== 'ready') return [];
  const lines = (diagnosis?.diagnoses ?? [])
    .slice(0, DIAGNOSES_SHOWN)
    .map(
      ({ group, verdicts, what, todo, next }) =>
        `- **likely cause** of ${verdicts.join(', ')} in group ${group}: ${what} ${todo} Next: \`${next}\``,
    );
  lines.push(...(diagnosis?.notLooked ?? []).map((what) => `- ${what}`));
  if (notStored !== undefined) lines.push(`- ${notStored}`);
  return lines;
}

function noiseLines(plan: MigrationPlan, state: MigrationState): string[] {
  const noise = noiseStatus(plan, state);
  if (noise === null) return [];
  const { measuredMs, targetMs, measurements, inconclusive, groups } = noise;
  return [
    `- noise: ${words(measuredMs)} measured of ${words(targetMs)}, measurement ${measurements}`,
    ...inconclusive.map((reason) => `- inconclusive: ${reason}`),
    ...Object.entries(groups).map(
      ([name, { comparisons, different, failed, alone }]) =>
        `- group ${name}: ${counted(comparisons)} comparisons, ${counted(different)} different, ${counted(failed)} failed on one side, ${counted(alone)} on one side alone`,
    ),
  ];
}

function rampLines(plan: MigrationPlan, state: MigrationState): string[] {
  const ramp = rampStatus(plan, state);
  if (ramp === null) return [];
  const { verdict, reason, attempts, stepBacks, lastActions, nextJudgement, metrics } = ramp;
  const lines: string[] = [];
  const last = state.ramp?.last;
  if (last !== undefined) lines.push(`- ratio ${percent(last.ratio)} judged at ${last.at}: **${verdict}**: ${reason}`);
  if (attempts > 0 || stepBacks > 0) {
    lines.push(`- judged ${attempts} times at this ratio without success; ${stepBacks} steps back so far`);
  }
  const decided = lastActions.at(-1);
  if (decided !== undefined) lines.push(`- then: ${decided.action}`);
  if (nextJudgement !== null) lines.push(`- next judgement at ${nextJudgement}`);
  const bad = metrics.filter((metric) => metric.verdict !== 'success');
  return [...lines, ...bad.map(({ name, verdict: said, words: why }) => `- ${name}: ${said}: ${why}`)];
}

function parityLines(plan: MigrationPlan, state: MigrationState): string[] {
  const { parity } = state;
  if (parity === undefined) return [];
  const { kafkaMessages, owlmqMessages } = totalRates(auditsNow(state));
  const lines = [
    `- parity: ${counted(parity.kafkaMessages)} Kafka messages (${kafkaMessages}/s), ${counted(parity.owlmqMessages)} on ` +
      `OwlMQ (${owlmqMessages}/s); ${counted(parity.missing)} missing, ${counted(parity.repaired)} repaired`,
  ];
  for (const [topic, { records, forwarded, lastAt }] of Object.entries(state.foreign ?? {})) {
    const how = plan.forward.includes(topic) ? `${counted(forwarded)} forwarded` : 'not forwarded';
    lines.push(`- foreign records in ${topic}: ${counted(records)}, ${how}, the last at ${lastAt}`);
  }
  return lines;
}
