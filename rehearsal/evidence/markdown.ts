import { percent, words } from '@owlmq/kafka-bridge/playbook';
import type { AuditFigures, ReadinessCheck } from '../../src/activities/migration-activities.js';
import type { Evidence } from './evidence.js';

/** Rows that a table shows; the JSON has all. */
const MOST_ROWS = 60;

/** The report of one migration in Markdown, for people who were not there. */
export function evidenceMarkdown(evidence: Evidence, level = 2): string {
  const { workflow, status } = evidence;
  const h = '#'.repeat(level);
  const heading = (title: string): string => `\n${h} ${title}\n`;
  const ended = workflow.endedAt === null ? 'it still runs' : `to ${workflow.endedAt}, ${span(workflow.durationMs)}`;
  const sections = [
    `Workflow \`${workflow.id}\`, **${workflow.outcome}**${status === null ? '' : `, phase **${status.phase}**`}; from ${workflow.startedAt} ${ended}; ${workflow.historyEvents} events of history in ${workflow.runIds.length} run${workflow.runIds.length === 1 ? '' : 's'}; started by \`${workflow.startedBy}\` on task queue \`${workflow.taskQueue}\`. Activities were scheduled on ${Object.entries(
      evidence.taskQueues,
    )
      .map(([queue, count]) => `\`${queue}\` (${count})`)
      .join(', ')}.`,
    ...(evidence.noStatus === null ? [] : [`\nThe status is missing here: ${evidence.noStatus}.`]),
    heading(`Phases (by ${evidence.phasesFrom})`),
    table(
      ['phase', 'from', 'to', 'how long'],
      evidence.phases.map(({ phase, from, to, durationMs }) => [phase, from, to ?? '', span(durationMs)]),
    ),
    heading('Publishers held'),
    table(
      ['for', 'from', 'to', 'how long', 'longest call', 'ended by'],
      evidence.holds.map(({ reason, from, to, durationMs, longestCallMs, endedBy }) => [
        ...[reason, from, to ?? '', span(durationMs)],
        ...[longestCallMs === null ? '' : `${Math.round(longestCallMs)} ms`, endedBy ?? ''],
      ]),
    ),
    heading('Routing states'),
    table(
      ['epoch', 'at', 'ratio', 'primary', 'live', 'Kafka', 'shadow', 'fence', 'drain', 'why'],
      evidence.epochs.map(({ epoch, at, ratio, primary, live, mirror, shadow, fence, drain, reason, written }) => [
        ...[epoch, at, percent(ratio), primary, live, mirror ? 'written' : 'not written', shadow],
        ...[fence ? 'yes' : '', drain ? 'yes' : '', written ? reason : `${reason} (not written)`],
      ]),
    ),
    heading('Ramp'),
    'Judged again from the figures in the history, by the gates of the input.\n',
    table(
      ['ratio', 'judged at', 'held', 'verdict', 'why', 'gates'],
      evidence.ramp.map(({ ratio, judgedAt, heldMs, verdict, reason, metrics }) => [
        ...[percent(ratio), judgedAt, span(heldMs), verdict, reason],
        metrics.map(({ name, verdict: said }) => `${name}: ${said}`).join(', '),
      ]),
    ),
    heading('Shadow soak'),
    soakLines(evidence),
    heading('Audits'),
    table(
      [
        'direction',
        'runs',
        'from',
        'to',
        'Kafka',
        'OwlMQ',
        'missing',
        'repaired',
        'late in their key',
        'foreign',
        'forwarded',
      ],
      evidence.audits.map(({ direction, runs, from, to, figures }) => [
        ...[direction, runs, from, to, figures.kafkaMessages, figures.owlmqMessages, figures.missing],
        ...[figures.repaired, figures.inversions, total(figures, 'foreign'), total(figures, 'forwarded')],
      ]),
    ),
    heading('Readiness'),
    readinessLines(evidence),
    heading('Cutover'),
    cutoverLines(evidence),
    heading('Positions of groups'),
    table(
      ['at', 'to', 'group', 'partitions exact', 'bounded', 'come again', 'what'],
      evidence.offsets.map(({ at, direction, group, exact, bounded, redeliveries, detail }) => [
        ...[at, direction === 'to-owlmq' ? 'OwlMQ' : 'Kafka', group, exact, bounded, redeliveries, detail],
      ]),
    ),
    heading('Canaries'),
    table(
      ['at', 'leg', 'verdict', 'what'],
      evidence.canaries.map(({ at, leg, ok, detail }) => [at, leg, ok ? 'passed' : 'failed', detail]),
    ),
    heading('Kept warm'),
    warmLines(evidence),
    heading('The way back, tried without going'),
    table(
      ['at', 'why', 'OwlMQ answers', 'verdict', 'Kafka would lack at most', 'would come again', 'checks'],
      evidence.wayBack.map(({ at, summary, owlmqAnswers, ok, lossAtMost, redeliveries, checks }) => [
        ...[at, summary, owlmqAnswers ? 'yes' : 'no', ok ? 'passed' : 'FAILED', lossAtMost],
        ...[redeliveries ?? 'not known', checksText(checks)],
      ]),
    ),
    heading('Rollback'),
    rollbackLines(evidence),
    heading('Who asked for what'),
    table(
      ['at', 'what', 'by', 'reason', 'identity', 'answer'],
      evidence.people.map(({ at, kind, name, by, reason, identity, answer }) => [
        ...[at, `${kind} ${name}`, by, reason, identity, answer],
      ]),
    ),
    heading('Waits by timer'),
    table(
      ['for', 'from', 'to', 'set to', 'ended'],
      evidence.waits.map(({ summary, from, to, forMs, outcome }) => [summary, from, to ?? '', words(forMs), outcome]),
    ),
    heading('Steps'),
    table(
      ['activity', 'scheduled', 'completed', 'failed', 'timed out', 'cancelled', 'attempts more', 'longest', 'all'],
      evidence.activities.map((one) => [
        ...[one.activity, one.scheduled, one.completed, one.failed, one.timedOut, one.cancelled, one.retried],
        ...[span(one.longestMs), span(one.totalMs)],
      ]),
    ),
    ...(evidence.failures.length === 0
      ? []
      : [
          heading('Steps that failed, or took more than one attempt'),
          table(
            ['at', 'activity', 'what for', 'outcome', 'attempts', 'cause'],
            evidence.failures.map(({ at, activity, summary, outcome, attempts, what }) => [
              ...[at, activity, summary, outcome, attempts, what],
            ]),
          ),
        ]),
    ...(evidence.others.length === 0
      ? []
      : [
          heading('Other steps'),
          table(
            ['at', 'activity', 'what for', 'outcome', 'result'],
            evidence.others.map(({ at, activity, summary, outcome, result }) => [
              ...[at, activity, summary, outcome, JSON.stringify(result).slice(0, 300)],
            ]),
          ),
        ]),
    heading('Log of the run'),
    (status?.log ?? []).map(({ at, text }) => `- ${at} ${inline(text)}`).join('\n') || 'Not known.',
    heading('Input'),
    json(evidence.input),
    heading('Plan of this input'),
    table(
      ['phase', 'step', 'at least'],
      evidence.plan.map(({ phase, step, atLeastMs }) => [phase, step, span(atLeastMs)]),
    ),
  ];
  return sections.join('\n');
}

function soakLines({ status }: Evidence): string {
  if (status === null) return 'Not known without the status.';
  const { soak, groupVerdicts } = status;
  const clean = `${span(soak.cleanMs)} clean of ${span(soak.targetMs)}, set back ${soak.restarts} times.`;
  const missing = soak.remaining.length === 0 ? '' : ` Still to come: ${soak.remaining.join(', ')}.`;
  const last = soak.lastDiscrepancy;
  const found =
    last === null || last === undefined
      ? ''
      : ` Last discrepancy: group ${last.group}, ${last.verdict}, message ${last.id} of ${last.topic}.`;
  const excused = soak.acknowledgements.map(({ id, by, reason }) => `\n- ${id}, acknowledged by ${by}: ${reason}`);
  const rows = Object.entries(groupVerdicts).map(([group, of]) => [
    ...[group, of.matched, of.discrepancies, of.acknowledged ?? 0, of.comparedUpTo ?? ''],
  ]);
  return `${clean}${missing}${found}${excused.join('')}\n\n${table(['group', 'matched', 'discrepancies', 'acknowledged', 'compared up to'], rows)}`;
}

function readinessLines({ readiness, status }: Evidence): string {
  const rows = readiness.map(({ at, ok, checks }) => [...[at, ok ? 'passed' : 'failed'], checksText(checks)]);
  const all = (status?.readiness ?? []).map(({ name, ok, detail, todo }) => [
    ...[name, ok ? 'passed' : 'failed', detail, ok ? '' : todo],
  ]);
  return `Every look at both systems:\n\n${table(['at', 'verdict', 'checks'], rows)}\n\nAll checks, as they were last:\n\n${table(['check', 'verdict', 'detail', 'to do'], all)}`;
}

function checksText(checks: readonly ReadinessCheck[]): string {
  return checks.map(({ name, ok, detail }) => `${ok ? 'ok' : 'NOT OK'} ${name}: ${detail}`).join('; ');
}

function cutoverLines({ status, epochs }: Evidence): string {
  const cancelled = epochs.filter(({ reason }) => reason.includes('cutover cancelled: '));
  const lines = cancelled.map(({ at, reason }) => `- ${at} ${inline(reason)}`);
  if (status !== null) {
    const { attempts, journaledAt, publisherHoldMs, windowMs, lastCancel } = status.cutover;
    lines.push(`- attempts: ${attempts}`);
    if (lastCancel !== undefined) {
      const errors = lastCancel.errors.length === 0 ? 'none' : lastCancel.errors.join('; ');
      lines.push(
        `- last cancel at ${lastCancel.at}: ${inline(lastCancel.reason)}; errors while it was undone: ${inline(errors)}`,
      );
    }
    if (journaledAt !== undefined) lines.push(`- journal, from which it only rolls forward: ${journaledAt}`);
    for (const { name, ok, detail } of status.cutover.verification ?? []) {
      lines.push(`- verified before it was called done: ${inline(name)}, ${ok ? 'ok' : 'NOT OK'}: ${inline(detail)}`);
    }
    if (windowMs !== undefined) lines.push(`- from its first step to OwlMQ live and proven: ${span(windowMs)}`);
    if (publisherHoldMs !== undefined)
      lines.push(`- longest hold of a call, as publishers told it: ${Math.round(publisherHoldMs)} ms`);
  }
  return lines.length === 0 ? 'None.' : lines.join('\n');
}

function warmLines({ warm, status }: Evidence): string {
  if (warm === null) return 'Not reached.';
  const { slices, firstAt, lastAt, positionsAt, blockers } = warm;
  const lines = [
    `- ${slices} slices of the two-way audit, from ${firstAt} to ${lastAt}`,
    `- positions for a rollback without OwlMQ last noted: ${positionsAt ?? 'never'}`,
    ...blockers.map((what) => `- a rollback would not have been possible: ${inline(what)}`),
  ];
  if (status?.warm) lines.push(`- left of the warm period: ${span(status.warm.remainingMs)}`);
  return lines.join('\n');
}

function rollbackLines({ status }: Evidence): string {
  const rollback = status?.rollback;
  if (rollback === null || rollback === undefined) return 'None.';
  const { reason, by, at, from, redeliveries, redeliveriesAtMost, publisherHoldMs } = rollback;
  return [
    `- asked by ${inline(by)} at ${at}: ${inline(reason)}`,
    ...(from === undefined ? [] : [`- from phase ${from}`]),
    ...(publisherHoldMs === undefined ? [] : [`- longest hold of a call: ${Math.round(publisherHoldMs)} ms`]),
    ...(redeliveries === undefined ? [] : [`- messages that come again: ${redeliveries}`]),
    ...(redeliveriesAtMost === undefined ? [] : [`- messages that come again, at most: ${redeliveriesAtMost}`]),
  ].join('\n');
}

function total(figures: AuditFigures, of: 'foreign' | 'forwarded'): number {
  return Object.values(figures[of]).reduce((sum, count) => sum + count, 0);
}

function span(durationMs: number | null): string {
  return durationMs === null ? '' : words(durationMs);
}

export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  if (rows.length === 0) return 'None.';
  const line = (cells: readonly (string | number)[]): string =>
    `| ${cells.map((cell) => inline(String(cell))).join(' | ')} |`;
  const shown = rows.slice(0, MOST_ROWS);
  const more = rows.length > shown.length ? [`\n${rows.length - shown.length} more are in the JSON.`] : [];
  return [line(head), line(head.map(() => '---')), ...shown.map(line), ...more].join('\n');
}

/** Text of people and systems must not become markup. */
function inline(text: string): string {
  return text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[\\`*_{}[\]<>|#]/g, (sign) => `\\${sign}`)
    .trim();
}

function json(value: unknown): string {
  return `\`\`\`json\n${JSON.stringify(value, null, 2)}\n\`\`\``;
}
