import type { LiveView } from '@owlmq/kafka-bridge/live-view';
import { AskButtons } from './ask.js';
import { RateChart } from './chart.js';
import { announce, byId, el, fill } from './dom.js';
import { followMigration } from './live.js';
import { events, facts, groups, members, notices, track } from './sections.js';
import { clock, moment } from './words.js';

/** One migration, live; comes back when the login is over. */
export async function showMigration(migration: string): Promise<void> {
  document.title = `${migration} – Kafka to OwlMQ`;
  const buttons = new AskButtons(migration);
  const chart = new RateChart();
  const places = {
    phase: el('p', { class: 'phase' }),
    track: el('div'),
    notices: el('div', { class: 'notices' }),
    facts: el('div'),
    groups: el('div'),
    members: el('div'),
    events: el('div'),
  };
  byId('main').replaceChildren(
    el('h1', {}, migration),
    places.phase,
    places.track,
    places.notices,
    buttons.element,
    el(
      'div',
      { class: 'columns' },
      card('Where it stands', places.facts),
      card('Throughput of both legs', chart.element),
      card('Groups', places.groups, 'wide'),
      card('Members', places.members, 'wide'),
      card('Events', places.events, 'wide'),
    ),
  );
  const connection = byId('connection');
  await followMigration(migration, {
    samples: (samples) => {
      chart.replace(samples);
    },
    trouble: (what) => {
      connection.classList.toggle('bad', what !== '');
      if (what !== '') connection.textContent = what;
    },
    view: (view) => {
      connection.textContent = `as of ${clock(Date.parse(view.at))}`;
      document.title = `${view.blocked === null ? '' : '⚠ '}${view.phase}: ${migration}`;
      places.phase.dataset['phase'] = view.phase;
      fill(places.phase, el('strong', {}, view.phase), ` since ${moment(view.since)}`, runWords(view));
      fill(places.track, track(view));
      fill(places.notices, ...notices(view));
      fill(places.facts, facts(view));
      fill(places.groups, groups(view));
      fill(places.members, members(view));
      fill(places.events, events(view));
      buttons.allow(view.actions, view.phase);
      if (view.rates !== null) chart.add(view.rates);
      announce(said(view));
    },
  });
}

function card(title: string, content: HTMLElement, width = ''): HTMLElement {
  return el('section', { class: `card ${width}` }, el('h2', {}, title), content);
}

function runWords({ run, phase }: LiveView): string {
  return run === 'running' || run === phase ? '' : ` (the run has ended: ${run})`;
}

/** What changes seldom and matters: figures are not read out. */
function said({ phase, blocked, paused, rollbackBlockers }: LiveView): string {
  const parts = [
    `Phase ${phase}`,
    blocked === null ? '' : `blocked in ${blocked.step}`,
    paused === null ? '' : `paused by ${paused.by}`,
    rollbackBlockers.length === 0 ? '' : 'no rollback is possible',
  ];
  return parts.filter((part) => part !== '').join(', ');
}
