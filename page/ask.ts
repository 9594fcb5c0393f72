import type { LiveAction } from '@owlmq/kafka-bridge/live-view';
import { ask, Refusal } from './api.js';
import { announce, el } from './dom.js';

/** What each does, for whoever is about to ask for it. */
const about: Record<LiveAction, { button: string; does: string; reasonNeeded: boolean }> = {
  pause: {
    button: 'Pause',
    does: 'Stops the ramp, the soak clock and the warm period where they are. A cutover under way goes on.',
    reasonNeeded: true,
  },
  resume: { button: 'Resume', does: 'Ends a pause, and tries a blocked step again.', reasonNeeded: false },
  // What it does is of the phase.
  approve: { button: 'Approve', does: '', reasonNeeded: false },
  rollback: {
    button: 'Roll back',
    does: 'Takes publishers and consumers back to Kafka and ends this migration. Comes before everything else, and is refused where messages would be lost.',
    reasonNeeded: true,
  },
};

const CUTOVER = 'Approves the cutover: publishers and consumers go to OwlMQ.';
const DECOMMISSION = 'Approves the decommission: Kafka writes end, and after that there is no way back.';
/** What an approval is for, by the phase in which it is given. */
const approves: Record<string, string> = {
  noise: 'Goes on with the ramp, though handlers differ from themselves or were not measured.',
  'shadow-soak': CUTOVER,
  ready: CUTOVER,
  warm: DECOMMISSION,
  decommission: DECOMMISSION,
};

const NAME_KEY = 'name';

/** The buttons of a migration, each with a dialog that asks for name and reason. */
export class AskButtons {
  readonly element = el('div', { class: 'buttons', role: 'group', 'aria-label': 'Ask for' });
  readonly #answer = el('p', { class: 'answer', role: 'status' });
  readonly #buttons = new Map<LiveAction, HTMLButtonElement>();
  #phase = '';

  constructor(private readonly migration: string) {
    for (const action of Object.keys(about) as LiveAction[]) {
      const button = el(
        'button',
        { type: 'button', class: action === 'rollback' ? 'danger' : '' },
        about[action].button,
      );
      button.addEventListener('click', () => {
        this.#open(action);
      });
      this.#buttons.set(action, button);
      this.element.append(button);
    }
    this.element.append(this.#answer);
    this.allow([], '');
  }

  /** Others are there, and cannot be pressed: buttons do not move under a finger. */
  allow(actions: readonly LiveAction[], phase: string): void {
    this.#phase = phase;
    for (const [action, button] of this.#buttons) button.disabled = !actions.includes(action);
  }

  #open(action: LiveAction): void {
    const { button, reasonNeeded } = about[action];
    const phase = this.#phase;
    const does = action === 'approve' ? (approves[phase] ?? '') : about[action].does;
    const by = el('input', { id: 'ask-by', required: true, maxlength: '100', autocomplete: 'name' });
    by.value = sessionStorage.getItem(NAME_KEY) ?? '';
    const reason = el('textarea', { id: 'ask-reason', rows: '3', maxlength: '1000', required: reasonNeeded });
    const problem = el('p', { class: 'problem', role: 'alert' });
    const submit = el('button', { type: 'submit', class: action === 'rollback' ? 'danger' : '' }, button);
    const cancel = el('button', { type: 'button', class: 'quiet' }, 'Cancel');
    const form = el(
      'form',
      {},
      el('h2', { id: 'ask-title' }, `${button}: ${this.migration}`),
      el('p', { id: 'ask-does' }, does),
      el('label', { for: 'ask-by' }, 'Your name'),
      by,
      el('label', { for: 'ask-reason' }, reasonNeeded ? 'Reason' : 'Reason (optional)'),
      reason,
      problem,
      el('div', { class: 'buttons' }, submit, cancel),
    );
    const dialog = el('dialog', { 'aria-labelledby': 'ask-title', 'aria-describedby': 'ask-does' }, form);
    cancel.addEventListener('click', () => {
      dialog.close();
    });
    dialog.addEventListener('close', () => {
      dialog.remove();
    });
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      submit.disabled = true;
      sessionStorage.setItem(NAME_KEY, by.value.trim());
      const request = { action, by: by.value.trim(), reason: reason.value.trim() };
      // An approval counts for what was seen: the phase may have changed under the dialog.
      ask(this.migration, action === 'approve' ? { ...request, phase } : request).then(
        (answer) => {
          this.#answer.textContent = `${button}: ${answer}`;
          dialog.close();
        },
        (error: unknown) => {
          problem.textContent = error instanceof Refusal ? error.detail : String(error);
          submit.disabled = false;
        },
      );
    });
    document.body.append(dialog);
    dialog.showModal();
    announce('');
  }
}
