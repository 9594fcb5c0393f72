import type { GroupLag, LiveAction, LiveRequest, LiveView, RateSample } from '@owlmq/kafka-bridge/live-view';
import { isLiving, type RosterEntry } from '@owlmq/kafka-bridge/operations';
import { PHASES, type Phase } from '../workflows/migration-state.js';
import type { MigrationStatus } from '../workflows/status.js';
import type { FoundMigration } from './migrations.js';

/** All that was found at one look. */
export interface Seen extends FoundMigration {
  migration: string;
  at: string;
  lags: GroupLag[];
  members: readonly RosterEntry[];
  rates: RateSample | null;
  unread: string[];
}

const ENDED: readonly Phase[] = ['completed', 'rolled-back', 'failed'];
const WAYS_OUT: readonly Phase[] = ['rolling-back', 'rolled-back', 'failed'];
const APPROVED_IN: readonly Phase[] = ['noise', 'shadow-soak', 'ready', 'warm', 'decommission'];

/** What the live page shows of what was found. */
export function buildView({ migration, at, run, status, lags, members, rates, unread }: Seen): LiveView {
  const { phase, since, startedAt, rehearsal, topics, groups, epoch, primary, live, ratio } = status;
  const kept = phase === 'warm' || phase === 'decommission' ? status.warm : null;
  const { next, waiting, blocked, attention, soak, parity, ramp, rollbackRefused, auditFailure } = status;
  return {
    ...{ version: 1, migration, at, run, phase, since, startedAt, track: trackOf(status) },
    ...{ rehearsal, topics, groups, epoch, primary, live, ratio, next, waiting, blocked, attention },
    paused: status.paused === null ? null : requestOf(status.paused),
    rollback: status.rollback == null ? null : requestOf(status.rollback),
    rollbackRefused:
      rollbackRefused === null ? null : { ...requestOf(rollbackRefused), failed: rollbackRefused.failed.map(check) },
    rollbackBlockers: kept?.rollbackBlockers ?? [],
    todo: todoOf(status),
    ramp:
      ramp === null || ramp.verdict === null
        ? null
        : { verdict: ramp.verdict, reason: ramp.reason ?? '', nextJudgement: ramp.nextJudgement },
    parity: parity === null ? null : pick(parity, ['kafkaMessages', 'owlmqMessages', 'missing', 'repaired']),
    auditFailure: auditFailure?.cause ?? null,
    soak: pick(soak, ['cleanMs', 'targetMs', 'restarts', 'inconclusive']),
    warmRemainingMs: kept?.remainingMs ?? null,
    verdicts: Object.entries(status.groupVerdicts).map(
      ([group, { matched, discrepancies, acknowledged = 0, comparedUpTo }]) => ({
        ...{ group, matched, discrepancies, acknowledged, comparedUpTo },
      }),
    ),
    lags,
    members: members.filter(({ report }) => report.state !== 'left').map((entry) => memberOf(entry, epoch)),
    rates,
    actions: actionsOf(run, status),
    log: status.log,
    unread,
  };
}

/** The phases in their order, with those that this migration does not have left out. */
function trackOf({ phase, noise, rollback }: MigrationStatus): LiveView['track'] {
  const out = WAYS_OUT.includes(phase);
  const furthest = out ? (rollback?.from ?? 'preflight') : phase;
  const way: Phase[] = PHASES.filter((one) => !WAYS_OUT.includes(one) && (one !== 'noise' || noise !== null));
  const reached = way.indexOf(furthest);
  const track = way.map((one, index): LiveView['track'][number] => {
    if (index > reached) return { phase: one, state: 'ahead' };
    if (out) return { phase: one, state: 'left' };
    return { phase: one, state: index < reached || phase === 'completed' ? 'done' : 'now' };
  });
  return out ? [...track.filter(({ state }) => state === 'left'), { phase, state: 'now' }] : track;
}

/** What people have to do, where nothing is blocked by it. */
function todoOf({ phase, findings, readiness }: MigrationStatus): LiveView['todo'] {
  const found =
    phase === 'preflight' || phase === 'failed'
      ? findings.map(({ kind, what, todo }) => ({ name: kind, detail: what, todo }))
      : [];
  const unready = phase === 'ready' ? readiness.filter(({ ok }) => !ok).map(check) : [];
  return [...found, ...unready];
}

function memberOf(entry: RosterEntry, epoch: number): LiveView['members'][number] {
  const { report, silentMs } = entry;
  const follows = isLiving(entry) && report.epoch >= epoch && report.state !== 'lease-lost';
  const { instance, role, state } = report;
  const common = { instance, role, state, epoch: report.epoch, follows, silentMs: Math.round(silentMs) };
  return report.role === 'consumer'
    ? { ...common, group: report.group, shadow: report.shadow, inFlight: null, backlog: null }
    : { ...common, group: null, shadow: false, inFlight: report.inFlight, backlog: report.backlog };
}

function actionsOf(run: string, { phase, paused, blocked, rollback }: MigrationStatus): LiveAction[] {
  if (run !== 'running' || ENDED.includes(phase)) return [];
  const may: Record<LiveAction, boolean> = {
    pause: paused === null && rollback === null,
    resume: paused !== null || blocked !== null,
    approve: rollback === null && APPROVED_IN.includes(phase),
    rollback: rollback === null,
  };
  return (Object.keys(may) as LiveAction[]).filter((action) => may[action]);
}

function requestOf({ by, reason, at }: LiveRequest): LiveRequest {
  return { by, reason, at };
}

function check({ name, detail, todo }: LiveView['todo'][number]): LiveView['todo'][number] {
  return { name, detail, todo };
}

function pick<T, K extends keyof T>(from: T, names: readonly K[]): Pick<T, K> {
  return Object.fromEntries(names.map((name) => [name, from[name]])) as Pick<T, K>;
}
