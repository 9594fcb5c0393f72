import type { CheckReport, CheckResult } from '../../contract-check/check.js';
import { textTable } from '../text-table.js';
import { duration, plural, printable } from '../words.js';

/** What a run found: one document. */
export interface ContractReport {
  url: string;
  prefix: string;
  startedAt: string;
  seconds: number;
  /** False when it was ended before all checks had their turn. */
  complete: boolean;
  kept: number;
  broken: number;
  skipped: number;
  checks: CheckReport[];
  /** The contract has no way to delete it. */
  leftBehind: { topics: string[]; groups: string[] };
}

export function countOf(checks: readonly CheckReport[], result: CheckResult): number {
  return checks.filter((check) => check.result === result).length;
}

/** The report as a person reads it. */
export function reportLines(report: ContractReport): string[] {
  const { url, checks, kept, broken, skipped, seconds } = report;
  const rows = checks.map(({ name, result, ms, section }) => [
    name,
    result === 'broken' ? 'BROKEN' : result,
    result === 'skipped' ? '-' : `${(ms / 1_000).toFixed(2)} s`,
    section,
  ]);
  return [
    ...textTable(['CHECK', 'RESULT', 'TIME', 'CONTRACT'], rows),
    ...detailLines('Broken', checks, 'broken'),
    ...skippedLines(checks),
    '',
    `${url}: ${plural(kept, 'check')} kept, ${broken} broken, ${skipped} skipped, in ${duration(seconds * 1_000)}.`,
    ...leftLines(report),
  ];
}

function detailLines(title: string, checks: readonly CheckReport[], result: CheckResult): string[] {
  const found = checks.filter((check) => check.result === result);
  if (found.length === 0) return [];
  const lines = found.flatMap(({ name, section, expected, seen }) => [
    `  ${name} (${section})`,
    `    expected: ${expected}`,
    `    seen:     ${printable(seen)}`,
  ]);
  return ['', `${title}:`, ...lines];
}

/** By reason, since many share one. */
function skippedLines(checks: readonly CheckReport[]): string[] {
  const byReason = new Map<string, string[]>();
  for (const { name, result, seen } of checks) {
    if (result === 'skipped') byReason.set(seen, [...(byReason.get(seen) ?? []), name]);
  }
  if (byReason.size === 0) return [];
  const lines = [...byReason].map(([reason, names]) => `  ${names.join(', ')}: ${printable(reason)}`);
  return ['', 'Skipped:', ...lines];
}

function leftLines({ leftBehind: { topics, groups }, prefix }: ContractReport): string[] {
  if (topics.length + groups.length === 0) return ['It left nothing behind.'];
  return [
    `It left ${plural(topics.length, 'topic')} and ${plural(groups.length, 'group')} behind, whose names begin with ${prefix}: the contract has no way to delete them.`,
  ];
}
