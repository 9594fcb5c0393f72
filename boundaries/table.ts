import type { RunResult } from './boundary-run.js';
import type { PlannedKill } from './plan.js';

/** A row of the table of boundaries. */
export interface Row {
  scenario: string;
  phase: string;
  boundary: string;
  moment: string;
  kill: string;
  ended: string;
  heldMs: number;
  tookMs: number;
  verdict: string;
}

/** Verdict of a death that came, and after which everything held. */
export const HOLDS = 'holds';

/** What must not be after the deaths of one run, in words. */
export interface Finding {
  kills: string[];
  problems: string[];
}

/** All kills, with what they add up to. */
export interface Table {
  seed: number;
  rows: Row[];
  findings: Finding[];
  runs: number;
  /** Activities at which nobody died, because no scenario calls them. */
  unreached: string[];
  tookMs: number;
  boundaries: number;
  /** How many kills of each victim ended in each way. */
  totals: Record<string, Record<string, number>>;
  notReached: number;
}

/** The row of a kill. */
export function rowOf(kill: PlannedKill, { ended, heldMs, tookMs, problems, came }: RunResult): Row {
  const { scenario, phase, victim } = kill;
  const { kind, site, moment } = kill.boundary;
  return {
    ...{ scenario: scenario.name, phase, boundary: kind === 'activity' ? site : `decides: ${site}` },
    ...{ moment, kill: victim, ended, heldMs, tookMs },
    verdict: problems.length > 0 ? 'FOUND' : came.includes(kill) ? HOLDS : 'not reached',
  };
}

/** Adds the rows up. */
export function tableOf(ran: Omit<Table, 'boundaries' | 'totals' | 'notReached'>): Table {
  const totals: Table['totals'] = {};
  for (const { kill, ended } of ran.rows) {
    const ofKill = (totals[kill] ??= {});
    ofKill[ended] = (ofKill[ended] ?? 0) + 1;
  }
  return {
    ...ran,
    boundaries: new Set(ran.rows.map(({ phase, boundary, moment }) => `${phase} ${boundary} ${moment}`)).size,
    totals,
    notReached: ran.rows.filter(({ verdict }) => verdict === 'not reached').length,
  };
}

const HEAD = ['scenario', 'phase', 'boundary', 'moment', 'kill', 'ended', 'held ms', 'verdict'];

function cells({ scenario, phase, boundary, moment, kill, ended, heldMs, verdict }: Row): string[] {
  return [scenario, phase, boundary, moment, kill, ended, String(heldMs), verdict];
}

/** For people at a terminal. */
export function tableText(table: Table): string {
  const lines = table.rows.map((row) => cells(row));
  const widths = HEAD.map((name, index) => Math.max(name.length, ...lines.map((line) => line[index]?.length ?? 0)));
  const line = (words: readonly string[]): string =>
    words
      .map((word, index) => word.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd();
  const problems = table.findings.flatMap((finding) => [
    ...['', ...finding.kills],
    ...finding.problems.map((text) => `  ${text}`),
  ]);
  return [line(HEAD), ...lines.map(line), ...problems, '', ...totalLines(table)].join('\n');
}

/** For docs/boundaries.md. */
export function tableMarkdown(table: Table): string {
  const row = (words: readonly string[]): string =>
    `| ${words.map((word) => word.replaceAll('|', '\\|')).join(' | ')} |`;
  const rows = table.rows.map((each) => row(cells(each)));
  return [...totalLines(table).map((text) => `- ${text}`), '', row(HEAD), row(HEAD.map(() => '---')), ...rows, ''].join(
    '\n',
  );
}

function totalLines({
  seed,
  runs,
  rows,
  boundaries,
  totals,
  findings,
  notReached,
  unreached,
  tookMs,
}: Table): string[] {
  const ends = Object.entries(totals).map(([kill, ofKill]) => {
    const list = Object.entries(ofKill).map(([ended, count]) => `${count} ${ended}`);
    return `${kill}: ${list.join('; ')}`;
  });
  return [
    `seed ${seed}: ${rows.length} kills at ${boundaries} boundaries in ${runs} runs and ${Math.round(tookMs / 1_000)} s; ${findings.length} runs found something, ${notReached} kills did not come`,
    ...ends,
    ...(unreached.length === 0 ? [] : [`activities that no scenario calls: ${unreached.join(', ')}`]),
  ];
}
