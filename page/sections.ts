import type { LiveView } from '@owlmq/kafka-bridge/live-view';
import { el, table } from './dom.js';
import { count, duration, legName, moment, percent } from './words.js';

const stageWords = { done: 'done', now: 'now', ahead: 'ahead', left: 'left again' } as const;

/** The phases in a row, each with what it is in words for those who do not see the colours. */
export function track({ track: stages }: LiveView): HTMLElement {
  return el(
    'ol',
    { class: 'track', 'aria-label': 'Phases' },
    ...stages.map(({ phase, state }) =>
      el(
        'li',
        { class: state, 'data-phase': phase, 'aria-current': state === 'now' ? 'step' : undefined },
        el('span', {}, phase),
        el('small', {}, stageWords[state]),
      ),
    ),
  );
}

/** What a person has to know first: what is wrong, who did what, what to do. */
export function notices(view: LiveView): HTMLElement[] {
  const { blocked, attention, paused, rollback, rollbackRefused, rollbackBlockers, auditFailure, todo, unread } = view;
  const found: (HTMLElement | undefined)[] = [
    view.rehearsal ? notice('info', 'Rehearsal', 'A model takes the place of Kafka and OwlMQ.') : undefined,
    blocked === null
      ? undefined
      : notice(
          'bad',
          `Blocked in "${blocked.step}" since ${moment(blocked.since)}`,
          blocked.cause,
          `To do: ${blocked.todo}`,
        ),
    rollback === null
      ? undefined
      : notice('warn', `Rollback asked by ${rollback.by} at ${moment(rollback.at)}`, rollback.reason),
    rollbackRefused === null
      ? undefined
      : notice(
          'bad',
          `A rollback asked by ${rollbackRefused.by} was refused: nothing was changed`,
          ...rollbackRefused.failed.map(({ name, detail, todo: mend }) => `${name}: ${detail}. ${mend}`),
        ),
    rollbackBlockers.length === 0 ? undefined : notice('bad', 'No rollback is possible', ...rollbackBlockers),
    auditFailure === null ? undefined : notice('bad', 'The audit has stopped', auditFailure),
    paused === null ? undefined : notice('warn', `Paused by ${paused.by} since ${moment(paused.at)}`, paused.reason),
    attention === null ? undefined : notice('warn', `Attention since ${moment(attention.since)}`, attention.what),
    todo.length === 0
      ? undefined
      : notice('warn', 'Not ready', ...todo.map(({ name, detail, todo: mend }) => `${name}: ${detail} ${mend}`)),
    unread.length === 0 ? undefined : notice('warn', 'Not all could be read', ...unread),
  ];
  return found.filter((one) => one !== undefined);
}

function notice(kind: 'bad' | 'warn' | 'info', title: string, ...lines: readonly string[]): HTMLElement {
  return el('section', { class: `notice ${kind}` }, el('h2', {}, title), ...lines.map((line) => el('p', {}, line)));
}

/** What stands, in names and values. */
export function facts(view: LiveView): HTMLElement {
  const { waiting, next, ratio, soak, ramp, parity, warmRemainingMs } = view;
  const until = waiting?.until === undefined ? '' : ` until ${moment(waiting.until)}`;
  const rows: [string, string, string?][] = [
    ['Waits for', waiting === null ? '–' : `${waiting.for}${until}`],
    ['Next', next],
    ['Ratio', `${percent(ratio.acknowledged)} acknowledged, ${percent(ratio.wanted)} wanted`, 'ratio'],
    ['Primary', `${legName(view.primary)}; groups live on ${legName(view.live)}; epoch ${view.epoch}`],
    ...(ramp === null
      ? []
      : ([
          [
            'Last judgement',
            `${ramp.verdict}: ${ramp.reason}${ramp.nextJudgement === null ? '' : `; the next at ${moment(ramp.nextJudgement)}`}`,
          ],
        ] satisfies [string, string][])),
    [
      'Soak clock',
      `${duration(soak.cleanMs)} clean of ${duration(soak.targetMs)}, ${count(soak.restarts)} restarts${soak.inconclusive.length === 0 ? '' : `; does not run: ${soak.inconclusive.join('; ')}`}`,
    ],
    [
      'Audit',
      parity === null
        ? 'has not begun'
        : `${count(parity.kafkaMessages)} on Kafka, ${count(parity.owlmqMessages)} on OwlMQ, ${count(parity.missing)} missing, ${count(parity.repaired)} repaired`,
    ],
    ...(warmRemainingMs === null
      ? []
      : ([['Kafka is kept warm', `${duration(warmRemainingMs)} to go`]] satisfies [string, string][])),
    ['Topics', view.topics.join(', ')],
  ];
  return el(
    'dl',
    { class: 'facts' },
    ...rows.map(([name, value, id]) => el('div', {}, el('dt', {}, name), el('dd', { id }, value))),
  );
}

/** Lag and verdicts of every group. */
export function groups({ groups: names, lags, verdicts }: LiveView): HTMLElement {
  return table(
    'Groups: lag on both sides, and verdicts',
    ['Group', 'Lag on Kafka', 'Lag on OwlMQ', "Shadow's lag", 'Matched', 'Discrepancies', 'Acknowledged'],
    names.map((group) => {
      const lag = lags.find((one) => one.group === group);
      const verdict = verdicts.find((one) => one.group === group);
      const { matched, discrepancies, acknowledged } = verdict ?? {};
      return [
        group,
        ...[lag?.kafka, lag?.owlmq, lag?.shadow, matched, discrepancies, acknowledged].map((value) => count(value)),
      ];
    }),
  );
}

/** Everybody who reports to the migration. */
export function members({ members: found, epoch }: LiveView): HTMLElement {
  if (found.length === 0) return el('p', {}, 'No member reports to this migration.');
  return table(
    'Members',
    ['Instance', 'What', 'State', 'Epoch', 'Heard', 'In flight', 'Waiting copies'],
    found.map((member) => [
      member.instance,
      member.group ?? 'publisher',
      member.shadow ? `${member.state}, shadow` : member.state,
      member.follows ? count(member.epoch) : el('strong', {}, `${member.epoch} of ${epoch}`),
      member.silentMs < 3_000 ? 'now' : `${duration(member.silentMs)} ago`,
      count(member.inFlight),
      count(member.backlog),
    ]),
  );
}

/** What happened, newest first. */
export function events({ log }: LiveView): HTMLElement {
  const items = [...log].reverse();
  return el(
    'div',
    { class: 'events', tabindex: '0', role: 'group', 'aria-label': 'Events' },
    el('ol', {}, ...items.map(({ at, text }) => el('li', {}, el('time', { datetime: at }, momentOnly(at)), ' ', text))),
  );
}

/** Without how long ago it was, which would change at every look. */
function momentOnly(iso: string): string {
  return new Date(iso).toLocaleString('en-GB');
}
