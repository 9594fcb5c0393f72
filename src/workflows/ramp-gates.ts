import type { MigrationPlan } from '@owlmq/kafka-bridge/playbook';
import type { AuditFigures, FleetFigures } from '../activities/migration-activities.js';
import { publishersCopies } from './audit-figures.js';
import type { Verdict } from './ramp.js';

export type Gates = MigrationPlan['ramp']['gates'];

/** What was seen while a ratio was held, pauses left out. JSON-safe. */
export interface StepFigures {
  /** Time held, ms. */
  heldMs: number;
  /** Kafka records that the audit passed. */
  checked: number;
  /** What the audit counted; of the step alone. */
  audit: AuditFigures;
  fleet: FleetFigures;
  /** Why figures of either are missing; the step is then an error. */
  auditError?: string;
  fleetError?: string;
}

/** One figure, the limit it is held against, and what comes of it. */
export interface MetricVerdict {
  name: string;
  /** Null when it was not measured. */
  value: number | null;
  limit: number | null;
  verdict: Verdict;
  words: string;
}

export interface StepVerdict {
  verdict: Verdict;
  /** In words: of the metrics that decided. */
  reason: string;
  metrics: MetricVerdict[];
}

/** Joins what was seen of the fleet in two stretches of one step, the second after the first. */
export function joinFleetFigures(first: FleetFigures, second: FleetFigures): FleetFigures {
  if (second.looks === 0) return first;
  if (first.looks === 0) return second;
  return {
    looks: first.looks + second.looks,
    living: second.living,
    behind: union(first.behind, second.behind),
    cutOff: union(first.cutOff, second.cutOff),
    latencyMs: larger(first.latencyMs, second.latencyMs),
    backlog: Math.max(first.backlog, second.backlog),
    oldestCopyMs: larger(first.oldestCopyMs, second.oldestCopyMs),
    copies: first.copies + second.copies,
    dropped: first.dropped + second.dropped,
    failedRequests: first.failedRequests + second.failedRequests,
  };
}

export const noFleetFigures: FleetFigures = {
  looks: 0,
  living: 0,
  behind: [],
  cutOff: [],
  latencyMs: null,
  backlog: 0,
  oldestCopyMs: null,
  copies: 0,
  dropped: 0,
  failedRequests: 0,
};

/**
 * Judges a step, each figure by itself: a failure of one fails the step, else an error makes it one, else one that is
 * inconclusive does. Figures of the fleet are the worst that lasted, not the last.
 */
export function judgeStep(gates: Gates, ratio: number, step: StepFigures): StepVerdict {
  const metrics = [...fleetMetrics(gates, ratio, step), ...auditMetrics(gates, ratio, step)];
  const order: Verdict[] = ['failure', 'error', 'inconclusive'];
  const verdict = order.find((one) => metrics.some((metric) => metric.verdict === one)) ?? 'success';
  const deciding = metrics.filter((metric) => metric.verdict === verdict).map(({ words }) => words);
  const { checked, audit } = step;
  const passed = `${counted(checked)} messages checked, ${counted(audit.missing)} copies missing`;
  return { verdict, reason: verdict === 'success' ? passed : deciding.join('; '), metrics };
}

/** What the publishers report. */
export function fleetMetrics(gates: Gates, ratio: number, { fleet, fleetError }: StepFigures): MetricVerdict[] {
  if (fleetError !== undefined || fleet.looks === 0) {
    const words = `what publishers report could not be read: ${fleetError ?? 'nobody looked'}`;
    return [{ name: 'publishers', value: null, limit: gates.minPublishers, verdict: 'error', words }];
  }
  const metrics = [members(gates, fleet), reach(fleet), copyFailures(gates, fleet)];
  if (ratio > 0) metrics.push(latency(gates, fleet));
  metrics.push(backlog(gates, fleet), oldestCopy(gates, fleet));
  return metrics;
}

/** What the audit has proven and found missing. */
function auditMetrics(gates: Gates, ratio: number, { audit, checked, auditError }: StepFigures): MetricVerdict[] {
  const intended = audit.owlmqMessages;
  const metrics = [traffic(gates, ratio, checked, intended), parity(gates, audit)];
  if (gates.inversions !== undefined) {
    const value = shareOf(audit.inversions, intended);
    const words = `${counted(audit.inversions)} of ${counted(intended)} copies lie behind a later one of their key`;
    metrics.push(limited('inversions', value, gates.inversions, words));
  }
  if (auditError !== undefined) {
    const words = `the audit did not get to the end: ${auditError}`;
    metrics.push({ name: 'audit', value: null, limit: null, verdict: 'error', words });
  }
  return metrics;
}

function members(gates: Gates, { living, behind }: FleetFigures): MetricVerdict {
  const metric = { name: 'publishers', value: living, limit: gates.minPublishers };
  if (behind.length > 0) {
    return { ...metric, verdict: 'failure', words: `publishers stayed behind the epoch: ${behind.join(', ')}` };
  }
  if (living < gates.minPublishers) {
    const words = `${living} of at least ${gates.minPublishers} DualPublishers report to this migration`;
    return { ...metric, verdict: 'inconclusive', words };
  }
  return { ...metric, verdict: 'success', words: `${living} publishers, all on the epoch` };
}

function reach({ cutOff }: FleetFigures): MetricVerdict {
  const words = cutOff.length === 0 ? 'publishers reach OwlMQ' : `copies to OwlMQ are failing in ${cutOff.join(', ')}`;
  return limited('publishers cut off', cutOff.length, 0, words);
}

function copyFailures(gates: Gates, { copies, dropped, failedRequests }: FleetFigures): MetricVerdict {
  const failures = dropped + failedRequests;
  const words =
    `${counted(dropped)} copies dropped and ${counted(failedRequests)} requests failed, ` +
    `${counted(copies)} copies acknowledged`;
  return limited('copy failures', shareOf(failures, copies + failures), gates.copyFailures, words);
}

function latency(gates: Gates, { latencyMs }: FleetFigures): MetricVerdict {
  if (latencyMs === null) {
    const words = 'no publisher reports how long OwlMQ takes';
    return { name: 'OwlMQ latency', value: null, limit: gates.latency, verdict: 'success', words };
  }
  const words = `OwlMQ took up to ${counted(Math.round(latencyMs))} ms (p99) for a request`;
  return limited('OwlMQ latency', latencyMs, gates.latency, words);
}

function backlog(gates: Gates, fleet: FleetFigures): MetricVerdict {
  return limited(
    'lane backlog',
    fleet.backlog,
    gates.backlog,
    `${counted(fleet.backlog)} copies waited in a publisher`,
  );
}

function oldestCopy(gates: Gates, { oldestCopyMs }: FleetFigures): MetricVerdict {
  const value = oldestCopyMs ?? 0;
  return limited('oldest copy', value, gates.oldestCopy, `a copy waited for ${counted(Math.round(value))} ms`);
}

function traffic(gates: Gates, ratio: number, checked: number, intended: number): MetricVerdict {
  const metric = { name: 'traffic', value: checked, limit: 1 };
  if (checked === 0) {
    return { ...metric, verdict: 'inconclusive', words: 'no messages were published during the step' };
  }
  if (ratio > 0 && intended < gates.minCopies) {
    const words =
      `${counted(checked)} messages, of which ${counted(intended)} were to be copied and ${gates.minCopies} are needed: ` +
      'with few keys raise the ratio by hand';
    return { name: 'copies', value: intended, limit: gates.minCopies, verdict: 'inconclusive', words };
  }
  return { ...metric, verdict: 'success', words: `${counted(checked)} messages, ${counted(intended)} copies` };
}

function parity(gates: Gates, audit: AuditFigures): MetricVerdict {
  const { missing } = audit;
  const copies = publishersCopies(audit);
  const words = `${counted(missing)} of ${counted(copies)} intended copies were missing after the grace`;
  return limited('parity', shareOf(missing, copies), gates.missing, words);
}

function limited(name: string, value: number, limit: number, words: string): MetricVerdict {
  return { name, value, limit, verdict: value > limit ? 'failure' : 'success', words };
}

function shareOf(part: number, whole: number): number {
  return whole <= 0 ? (part > 0 ? 1 : 0) : Math.min(1, part / whole);
}

function larger(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.max(one, other);
}

function union(one: string[], other: string[]): string[] {
  return [...new Set([...one, ...other])].slice(0, 20);
}

/** A count as people read it: `12,345`. */
export function counted(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}
