import type { LiveView, MigrationEntry } from '../../live-view.js';
import { nameTable, textTable } from '../text-table.js';
import { ago, count, duration, legName, plural, printable, share } from '../words.js';

/** Newest of the events that are shown. */
const EVENTS = 6;

/** A migration on one screen: what is wrong first. */
export function screenLines(view: LiveView): string[] {
  const { migration, phase, since, run, ratio, epoch, waiting, next } = view;
  const until = waiting?.until === undefined ? '' : `, until ${waiting.until}`;
  const lines = [
    `${migration}: ${phase} since ${since} (${ago(since)})${run === 'running' ? '' : `; the run has ended: ${run}`}`,
    trackLine(view),
    '',
    ...noticeLines(view),
    ...nameTable([
      ['waits for', waiting === null ? '-' : `${waiting.for}${until}`],
      ['next', next],
      ['ratio', `${share(ratio.acknowledged)} acknowledged, ${share(ratio.wanted)} wanted`],
      ['primary', `${legName(view.primary)}; groups live on ${legName(view.live)}; epoch ${epoch}`],
      ['throughput', rateWords(view)],
      ...rampRows(view),
      ['soak clock', soakWords(view)],
      ['audit', auditWords(view)],
      ...warmRows(view),
      ['members', memberWords(view)],
    ]),
    '',
    ...groupLines(view),
    '',
    ...view.log.slice(-EVENTS).map(({ at, text }) => `${at}  ${text}`),
  ];
  return lines.map(printable);
}

/** The same in a line, for logs. */
export function summaryLine(view: LiveView): string {
  const { at, phase, ratio, waiting, blocked, paused } = view;
  const parts = [
    `${at} [${phase}] ratio ${share(ratio.acknowledged)}`,
    rateWords(view),
    blocked === null ? undefined : `BLOCKED in "${blocked.step}": ${blocked.cause}`,
    paused === null ? undefined : `PAUSED by ${paused.by}`,
    waiting === null ? undefined : `waits for ${waiting.for}`,
  ];
  return printable(parts.filter((part) => part !== undefined).join('; '));
}

/** Whether somebody has to look at it. */
export function needsSomebody(view: LiveView): boolean {
  const { blocked, attention, rollbackBlockers, rollbackRefused, auditFailure, unread, run, phase } = view;
  return (
    blocked !== null ||
    attention !== null ||
    rollbackRefused !== null ||
    auditFailure !== null ||
    rollbackBlockers.length > 0 ||
    unread.length > 0 ||
    (run !== 'running' && phase !== 'completed' && phase !== 'rolled-back')
  );
}

/** All migrations of a worker. */
export function listLines(migrations: readonly MigrationEntry[]): string[] {
  if (migrations.length === 0) return ['No migration was started on the task queue of this worker.'];
  const rows = migrations.map(({ migration, run, phase, ratio, startedAt, blocked, attention }) => [
    ...[migration, run, phase ?? '-', ratio === null ? '-' : share(ratio), startedAt],
    blocked === true && run === 'running' ? 'blocked' : (attention ?? '-'),
  ]);
  return textTable(['MIGRATION', 'RUN', 'PHASE', 'RATIO', 'STARTED', 'TO LOOK AT'], rows).map(printable);
}

function trackLine({ track }: LiveView): string {
  return track.map(({ phase, state }) => (state === 'now' ? `[${phase}]` : phase)).join(' > ');
}

function noticeLines(view: LiveView): string[] {
  const { blocked, attention, paused, rollback, rollbackRefused, rollbackBlockers, auditFailure, todo, unread } = view;
  const lines = [
    view.rehearsal ? 'REHEARSAL   a model takes the place of Kafka and OwlMQ' : undefined,
    blocked === null ? undefined : `BLOCKED     in "${blocked.step}" for ${since(blocked.since)}: ${blocked.cause}`,
    blocked === null ? undefined : `  to do:    ${blocked.todo}`,
    rollback === null ? undefined : `ROLLBACK    asked by ${rollback.by} ${ago(rollback.at)}: ${rollback.reason}`,
    ...(rollbackRefused === null
      ? []
      : [
          `REFUSED     a rollback asked by ${rollbackRefused.by} ${ago(rollbackRefused.at)}; nothing was changed`,
          ...rollbackRefused.failed.map(({ name, detail, todo: mend }) => `  to do:    ${name}: ${detail}. ${mend}`),
        ]),
    ...rollbackBlockers.map((why) => `NO WAY BACK ${why}`),
    auditFailure === null ? undefined : `AUDIT       has stopped: ${auditFailure}`,
    paused === null ? undefined : `PAUSED      by ${paused.by} ${ago(paused.at)}: ${paused.reason}`,
    attention === null ? undefined : `ATTENTION   for ${since(attention.since)}: ${attention.what}`,
    ...todo.map(({ name, detail, todo: mend }) => `NOT READY   ${name}: ${detail} ${mend}`),
    ...unread.map((what) => `NOT READ    ${what}`),
  ].filter((line) => line !== undefined);
  return lines.length === 0 ? [] : [...lines, ''];
}

function since(at: string): string {
  return ago(at).replace(/ ago$/, '');
}

function rateWords({ rates }: LiveView): string {
  if (rates === null) return 'not known at the first look';
  const of = (rate: number | null): string => (rate === null ? 'not known' : `${count(rate)}/s`);
  const parity =
    rates.kafka && rates.owlmq !== null ? ` (${share(Math.round((rates.owlmq / rates.kafka) * 100) / 100)})` : '';
  return `Kafka ${of(rates.kafka)}, OwlMQ ${of(rates.owlmq)}${parity}`;
}

function rampRows({ phase, ramp }: LiveView): [string, string][] {
  if (ramp === null || phase !== 'dual-write') return [];
  const then = ramp.nextJudgement === null ? '' : `; the next at ${ramp.nextJudgement}`;
  return [['last judgement', `${ramp.verdict}: ${ramp.reason}${then}`]];
}

function soakWords({ soak }: LiveView): string {
  const stands = soak.inconclusive.length === 0 ? '' : `; does not run: ${soak.inconclusive.join('; ')}`;
  return `${duration(soak.cleanMs)} clean of ${duration(soak.targetMs)}, ${plural(soak.restarts, 'restart')}${stands}`;
}

function auditWords({ parity }: LiveView): string {
  if (parity === null) return 'has not begun';
  const { kafkaMessages, owlmqMessages, missing, repaired } = parity;
  return `${count(kafkaMessages)} on Kafka, ${count(owlmqMessages)} on OwlMQ, ${count(missing)} missing, ${count(repaired)} repaired`;
}

function warmRows({ phase, warmRemainingMs }: LiveView): [string, string][] {
  return warmRemainingMs === null || phase !== 'warm' ? [] : [['kept warm', `${duration(warmRemainingMs)} to go`]];
}

function memberWords({ members, epoch }: LiveView): string {
  const behind = members.filter(({ follows }) => !follows);
  const named = behind.map(
    (one) => `${one.instance} (${one.state}, epoch ${one.epoch}, heard ${duration(one.silentMs)} ago)`,
  );
  return `${members.length - behind.length} of ${members.length} follow epoch ${epoch}${named.length === 0 ? '' : `; not ${named.join(', ')}`}`;
}

function groupLines({ groups, lags, verdicts }: LiveView): string[] {
  const header = ['GROUP', 'LAG KAFKA', 'LAG OWLMQ', 'LAG SHADOW', 'MATCHED', 'DISCREPANCIES', 'ACKNOWLEDGED'];
  const figure = (value: number | null | undefined): string => (value == null ? '-' : count(value));
  return textTable(
    header,
    groups.map((group) => {
      const lag = lags.find((one) => one.group === group);
      const verdict = verdicts.find((one) => one.group === group);
      const figures = [
        lag?.kafka,
        lag?.owlmq,
        lag?.shadow,
        verdict?.matched,
        verdict?.discrepancies,
        verdict?.acknowledged,
      ];
      return [group, ...figures.map(figure)];
    }),
  );
}
