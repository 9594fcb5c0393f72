import { anomalyKinds, type AnomalyKind } from './checker/anomalies.js';
import type { CheckResult } from './checker/check.js';
import type { FaultKind } from './faults/fault.js';
import type { MigrationRecord } from './operator.js';

/** What a run was, and what the checker found. */
export interface MigrationChaosReport extends CheckResult {
  readonly seed: number;
  readonly rate: number;
  readonly elapsedMs: number;
  /** Faults that were injected and healed, by kind. */
  readonly faults: Partial<Record<FaultKind, number>>;
  /** Kinds that this machine cannot do. */
  readonly without: readonly FaultKind[];
  readonly migrations: readonly MigrationRecord[];
  /** How often the worker ended by itself, and why; it was started anew. */
  readonly workerEnds: readonly string[];
  readonly totals: {
    readonly faults: number;
    /** Migrations that were started; each but the first is a restart on the same topics. */
    readonly started: number;
    /** Windows that were begun, and those of them that moved the groups. */
    readonly windows: number;
    readonly cutovers: number;
    /** By the phase that was left. */
    readonly rollbacks: Readonly<Record<string, number>>;
    readonly pauses: number;
    readonly resumedBlocks: number;
    /** Rollbacks that were refused, and asked for again. */
    readonly refusals: number;
  };
  /** Longest hold of a publish call of each cutover and rollback, ms. */
  readonly holdMs: Readonly<Record<'cutover' | 'rollback', { p50: number; p99: number; longest: number } | null>>;
  /** Troubles of the run itself: crashed processes, a migration that got stuck or failed. */
  readonly problems: readonly string[];
  /** Nothing was found, and the run itself had no trouble. */
  readonly clean: boolean;
}

type Facts = Pick<
  MigrationChaosReport,
  'seed' | 'rate' | 'elapsedMs' | 'faults' | 'without' | 'migrations' | 'workerEnds' | 'problems'
>;

export function reportOf({ result, ...facts }: Facts & { readonly result: CheckResult }): MigrationChaosReport {
  const { migrations } = facts;
  const failures = migrations
    .filter(({ failure }) => failure !== undefined)
    .map(({ failure }, index) => `migration ${index + 1} failed: ${failure}`);
  const problems = [...facts.problems, ...failures];
  const rollbacks: Record<string, number> = {};
  for (const { rollbackFrom } of migrations) {
    if (rollbackFrom !== undefined) rollbacks[rollbackFrom] = (rollbacks[rollbackFrom] ?? 0) + 1;
  }
  const sum = (of: (migration: MigrationRecord) => number): number =>
    migrations.reduce((total, migration) => total + of(migration), 0);
  return {
    ...facts,
    ...result,
    elapsedMs: Math.round(facts.elapsedMs),
    totals: {
      faults: Object.values(facts.faults).reduce((total, count) => total + count, 0),
      started: migrations.length,
      windows: sum(({ cutoverAttempts }) => cutoverAttempts),
      cutovers: migrations.filter(({ journaledAt }) => journaledAt !== undefined).length,
      rollbacks,
      pauses: sum(({ pauses }) => pauses),
      resumedBlocks: sum(({ blocked }) => blocked.length),
      refusals: sum(({ refusals }) => refusals.length),
    },
    holdMs: {
      cutover: quantiles(migrations.flatMap(({ holdMs }) => holdMs.cutover ?? [])),
      rollback: quantiles(migrations.flatMap(({ holdMs }) => holdMs.rollback ?? [])),
    },
    problems,
    clean: problems.length === 0 && Object.keys(result.anomalies).length === 0,
  };
}

function quantiles(values: readonly number[]): { p50: number; p99: number; longest: number } | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  return { p50: at(0.5), p99: at(0.99), longest: at(1) };
}

const number = new Intl.NumberFormat('en');

function listed(what: Readonly<Record<string, number | undefined>>): string {
  const items = Object.entries(what).map(([name, count]) => `${name} ${number.format(count ?? 0)}`);
  return items.join(', ') || 'none';
}

/** The report as a person reads it. */
export function reportText(report: MigrationChaosReport): string {
  const { totals, published, java, latency, holdMs, groups, without } = report;
  const held = (of: keyof typeof holdMs): string => {
    const hold = holdMs[of];
    return hold === null ? `${of}: none` : `${of}: median ${hold.p50} ms, longest ${hold.longest} ms`;
  };
  const rows: [string, string][] = [
    ['run', `seed ${report.seed}, ${Math.round(report.elapsedMs / 1_000)} s, ${report.rate} messages a second wanted`],
    [
      'published',
      `${number.format(published.acknowledged)} acknowledged, ${number.format(published.failed)} failed, ${number.format(published.unknown + published.called)} of unknown outcome`,
    ],
    [
      'Java producer',
      `${number.format(java.acknowledged)} of them acknowledged, ${number.format(java.unknown)} unknown`,
    ],
    ['latency', `median ${latency.p50} ms, 99% ${latency.p99} ms, longest ${latency.longest} ms`],
    ...Object.entries(groups).map(([group, counts]): [string, string] => [
      group,
      `${number.format(counts.messages)} messages (Kafka ${number.format(counts.onKafka)}, OwlMQ ${number.format(counts.onOwlmq)} applies); ` +
        `again: ${number.format(counts.redelivered)} after faults, ${number.format(counts.reportedAgain)} as reported; late, of unknown outcome: ${counts.lateUnknown}`,
    ]),
    ['OwlMQ', `${number.format(report.onOwlmq)} records at the end`],
    [
      'faults',
      `${totals.faults}: ${listed(report.faults)}${without.length > 0 ? `; not here: ${without.join(', ')}` : ''}`,
    ],
    [
      'migrations',
      `${totals.started} started, ${totals.windows} windows, ${totals.cutovers} cutovers; rollbacks from: ${listed(totals.rollbacks)}`,
    ],
    [
      'people',
      `${totals.pauses} pauses, ${totals.resumedBlocks} blocked steps resumed, ${totals.refusals} rollbacks refused, worker ended by itself ${report.workerEnds.length} times`,
    ],
    ['held', `${held('cutover')}; ${held('rollback')}`],
  ];
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  const lines = rows.map(([name, value]) => `  ${name.padEnd(width)}${value}`);
  const found = (Object.entries(report.anomalies) as [AnomalyKind, number][]).flatMap(([kind, count]) => [
    `  ${kind} ${number.format(count)}: ${anomalyKinds[kind]}`,
    ...report.samples.filter((sample) => sample.kind === kind).map(({ about, detail }) => `    ${about}: ${detail}`),
  ]);
  const problems = report.problems.map((problem) => `  problem: ${problem}`);
  return [
    'Report',
    ...lines,
    '',
    ...(report.clean ? ['No anomaly.'] : ['NOT as promised:', ...found, ...problems]),
  ].join('\n');
}
