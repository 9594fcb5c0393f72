import type { GroupResult } from './checker.js';
import type { Progress, TrialReport } from './trial.js';

const number = new Intl.NumberFormat('en');

/** Shows how a migration goes: in one line that changes on a terminal, a line for each change of phase elsewhere. */
export class ProgressDisplay {
  #phase = '';
  #shown = false;

  show(progress: Progress): void {
    const line = progressLine(progress);
    if (process.stdout.isTTY) {
      const width = process.stdout.columns;
      process.stdout.write(`\r\x1b[2K${line.length < width ? line : line.slice(0, width - 1)}`);
      this.#shown = true;
    }
    const { phase, blocked } = progress.status;
    const now = `${phase}${blocked === null ? '' : ` blocked: ${blocked.cause} ${blocked.todo}`}`;
    if (now === this.#phase) return;
    this.#phase = now;
    this.write(blocked === null ? line : `${line}  BLOCKED in "${blocked.step}": ${blocked.cause} ${blocked.todo}`);
  }

  /** A line of its own. */
  write(line: string): void {
    process.stdout.write(`${this.#shown ? '\r\x1b[2K' : ''}${line}\n`);
    this.#shown = false;
  }
}

function progressLine({ status, published, applied }: Progress): string {
  const { phase, ratio, soak, epoch, startedAt } = status;
  const seconds = ((Date.now() - Date.parse(startedAt)) / 1_000).toFixed(0).padStart(4);
  const share = (value: number): string => `${Math.round(value * 100)}%`;
  const parts = [
    `${seconds} s  ${phase.padEnd(12)}`,
    `ratio ${share(ratio.wanted)} (${share(ratio.acknowledged)} acknowledged)`.padEnd(30),
    `published ${number.format(published)}, applied ${Object.values(applied)
      .map((count) => number.format(count))
      .join(' and ')}`,
    `soak ${(soak.cleanMs / 1_000).toFixed(0)}/${(soak.targetMs / 1_000).toFixed(0)} s clean`,
    `epoch ${epoch}`,
  ];
  return parts.join('  ');
}

function foreignRow({
  records,
  forwarded,
  decommissionRefused,
}: NonNullable<TrialReport['foreign']>): [string, string] {
  const refused = decommissionRefused ? '; the decommission waited for its producer to stop' : '';
  return [
    'without library',
    `${number.format(records)} records seen, ${number.format(forwarded)} forwarded to OwlMQ${refused}`,
  ];
}

/** The report as a person reads it. */
export function reportText(report: TrialReport): string {
  const { check, hold, phases } = report;
  const { acknowledged, failed, unknown } = check.published;
  const ms = (value: number | null): string => (value === null ? '-' : `${Math.round(value)} ms`);
  const groupLine = (result: GroupResult): string =>
    [
      `applied ${number.format(result.applied)} (Kafka ${number.format(result.onKafka)}, OwlMQ ${number.format(result.onOwlmq)})`,
      `lost ${result.lost}, duplicated ${result.duplicated}, reordered ${result.reordered}, invented ${result.invented}, altered ${result.altered}`,
    ].join('; ');
  const rows: [string, string][] = [
    ['workflow', `${report.outcome}, ${report.historyEvents} history events, seed ${report.seed}`],
    ['published', `${number.format(acknowledged)} acknowledged, ${failed} failed, ${unknown} of unknown outcome`],
    ...Object.entries(check.groups).map(([group, result]): [string, string] => [group, groupLine(result)]),
    ...(report.foreign === null ? [] : [foreignRow(report.foreign)]),
    ['discrepancies', `${report.discrepancies} in ${number.format(report.comparisons)} comparisons of shadows`],
    ['publishers held', `${ms(hold.cutoverMs)} at the cutover, ${ms(hold.rollbackMs)} at the rollback`],
    [
      'publish latency',
      `median ${check.latency.p50.toFixed(1)} ms, 99% ${check.latency.p99.toFixed(1)} ms, longest ${ms(check.latency.longest)}`,
    ],
    ['cutover', `window ${ms(report.cutoverWindowMs)}, attempts ${report.cutoverAttempts}`],
    ['phases', phases.map(({ phase, ms: took }) => `${phase} ${(took / 1_000).toFixed(1)} s`).join(', ')],
  ];
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  const lines = rows.map(([name, value]) => `  ${name.padEnd(width)}${value}`);
  const samples = check.samples.map(({ kind, group, message, detail }) => `  ${group} ${kind} ${message}: ${detail}`);
  const verdict =
    report.problems.length === 0
      ? ['Nothing lost, nothing duplicated, nothing reordered.']
      : ['NOT as promised:', ...report.problems.map((problem) => `  - ${problem}`), ...samples];
  return ['Report', ...lines, '', ...verdict].join('\n');
}
