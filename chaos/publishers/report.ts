import type { AuditProgress } from './audit/audit-job.js';
import { anomalyKinds, type AnomalyKind } from './checker/anomalies.js';
import type { CheckResult } from './checker/check.js';
import type { RouteHistory } from './control/route-history.js';
import type { FaultKind } from './faults/fault.js';
import type { Publication } from './fleet/publications.js';

/** What a run was, and what the checker found. */
export interface ChaosReport extends CheckResult {
  seed: number;
  audited: boolean;
  publishers: number;
  rate: number;
  elapsedMs: number;
  /** Faults that were injected and healed, by kind. */
  faults: Partial<Record<FaultKind, number>>;
  control: {
    epochs: number;
    fences: number;
    cutovers: number;
    rollbacks: number;
    /** Windows and fences that were given up, with the fleet released. */
    cancelled: number;
    /** Longest wait for a fence to stand, ms. */
    longestFenceMs: number;
    /** Longest that a `publish()` was held by a fence that stood, ms. */
    longestHoldMs: number;
  };
  /** Of calls that were acknowledged, ms. */
  latency: { p50: number; p99: number; longest: number };
  /** Calls by the error that they failed with. */
  errors: Record<string, number>;
  /** Troubles of the run itself: crashed processes, no recovery, an audit that did not end. */
  problems: string[];
  /** Nothing was found, and the run itself had no trouble. */
  clean: boolean;
}

export interface RunFacts {
  readonly options: { seed: number; audit: boolean; publishers: number; rate: number };
  readonly elapsedMs: number;
  readonly faults: Partial<Record<FaultKind, number>>;
  readonly history: RouteHistory;
  readonly publications: ReadonlyMap<string, Publication>;
  readonly audit: AuditProgress | undefined;
  readonly result: CheckResult;
  readonly problems: readonly string[];
}

export function reportOf({ options, history, result, ...facts }: RunFacts): ChaosReport {
  const { seed, audit: audited, publishers, rate } = options;
  const { routes, fences, cutovers, rollbacks, cancelled } = history;
  const latencies: number[] = [];
  const errors: Record<string, number> = {};
  for (const { outcome, calledAt, settledAt, error } of facts.publications.values()) {
    if (outcome === 'ok' && settledAt !== undefined) latencies.push(settledAt - calledAt);
    if (error !== undefined) errors[error] = (errors[error] ?? 0) + 1;
  }
  latencies.sort((a, b) => a - b);
  const quantile = (share: number): number =>
    Math.round(latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0);
  const most = (values: readonly number[]): number => values.reduce((high, value) => Math.max(high, value), 0);
  return {
    ...{ seed, audited, publishers, rate, elapsedMs: Math.round(facts.elapsedMs), faults: facts.faults },
    control: {
      ...{ epochs: routes.size, fences: fences.length, cutovers, rollbacks, cancelled },
      longestFenceMs: most(fences.map(({ waitedMs }) => waitedMs)),
      longestHoldMs: most(fences.map(({ longestHoldMs }) => longestHoldMs)),
    },
    latency: { p50: quantile(0.5), p99: quantile(0.99), longest: quantile(1) },
    errors,
    ...result,
    problems: [...facts.problems],
    clean: Object.keys(result.anomalies).length === 0 && facts.problems.length === 0,
  };
}

const number = new Intl.NumberFormat('en');

/** The report as a person reads it. */
export function reportText(report: ChaosReport): string {
  const { counts, control, latency, faults, anomalies } = report;
  const listed = (what: Readonly<Record<string, number | undefined>>): string =>
    Object.entries(what)
      .map(([name, count]) => `${name} ${number.format(count ?? 0)}`)
      .join(', ') || 'none';
  const shares = Object.fromEntries(
    Object.entries(counts.shares).map(([ratio, { messages, copied }]) => [
      ratio,
      Number((copied / messages).toFixed(4)),
    ]),
  );
  const rows: [string, string][] = [
    [
      'run',
      `seed ${report.seed}, ${Math.round(report.elapsedMs / 1_000)} s, ${report.publishers} publishers, ${report.audited ? 'audited' : 'NOT audited'}`,
    ],
    [
      'calls',
      `${number.format(counts.ok)} ok, ${number.format(counts.failed)} failed, ${number.format(counts.unknown)} unknown (${number.format(counts.unknownPresent)} of them stored)`,
    ],
    ['errors', listed(report.errors)],
    ['latency of ok', `median ${latency.p50} ms, 99% ${latency.p99} ms, longest ${latency.longest} ms`],
    ['faults', listed(faults)],
    [
      'control',
      `${control.epochs} epochs, ${control.fences} fences stood, ${control.cutovers} cutovers, ${control.rollbacks} rollbacks, ${control.cancelled} cancelled`,
    ],
    [
      'fences',
      `longest wait ${number.format(control.longestFenceMs)} ms, longest hold of a call ${number.format(control.longestHoldMs)} ms`,
    ],
    [
      'Kafka',
      `${number.format(counts.onKafka)} records, ${counts.duplicatesOnKafka} of them repeat a message, ${counts.repairedOnKafka} by the audit`,
    ],
    ['OwlMQ', `${number.format(counts.onOwlmq)} records, ${counts.repairedOnOwlmq} by the audit`],
    ['repaired', `${counts.repairedOutOfOrder} behind a later message of their key`],
    [
      'held back',
      `${counts.heldBack} writes arrived behind a fence that were sent before, ${counts.heldBackOnOneLeg} of them, of unknown outcome, on one leg alone`,
    ],
    ['share copied', `of messages without a key, by ratio: ${listed(shares)}`],
  ];
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  const lines = rows.map(([name, value]) => `  ${name.padEnd(width)}${value}`);
  const found = (Object.entries(anomalies) as [AnomalyKind, number][]).flatMap(([kind, count]) => [
    `  ${kind} ${number.format(count)}: ${anomalyKinds[kind]}`,
    ...report.samples.filter((sample) => sample.kind === kind).map(({ about, detail }) => `    ${about}: ${detail}`),
  ]);
  const problems = report.problems.map((problem) => `  problem: ${problem}`);
  const verdict = report.clean ? ['No anomaly.'] : ['NOT as promised:', ...found, ...problems];
  return ['Report', ...lines, '', ...verdict].join('\n');
}
