import type { MigrationEntry } from '@owlmq/kafka-bridge/live-view';
import { listMigrations, Refusal } from './api.js';
import { byId, el, fill, table } from './dom.js';
import { moment, percent } from './words.js';

const LOOK_EVERY_MS = 5_000;

/** All migrations of the worker, newest first; comes back when the login is over. */
export async function showList(): Promise<void> {
  document.title = 'Migrations – Kafka to OwlMQ';
  const rows = el('div');
  const problem = el('p', { class: 'problem', role: 'alert' });
  byId('main').replaceChildren(el('section', { class: 'card' }, el('h1', {}, 'Migrations'), problem, rows));
  for (;;) {
    try {
      const { migrations, more } = await listMigrations();
      problem.textContent = '';
      fill(
        rows,
        migrations.length === 0
          ? el('p', {}, 'No migration was started on the task queue of this worker.')
          : table('Migrations', ['Migration', 'Run', 'Phase', 'Ratio', 'Started', 'To look at'], migrations.map(row)),
        more && el('p', { class: 'faint' }, 'There are more: older ones are in the Temporal UI.'),
      );
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) return;
      problem.textContent = error instanceof Refusal ? error.detail : String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

function row({ migration, run, phase, ratio, startedAt, blocked, attention }: MigrationEntry): (Node | string)[] {
  return [
    el('a', { href: `/migrations/${encodeURIComponent(migration)}` }, migration),
    run,
    phase ?? '–',
    ratio === null ? '–' : percent(ratio),
    moment(startedAt),
    blocked === true && run === 'running' ? el('strong', {}, 'blocked') : (attention ?? ''),
  ];
}
