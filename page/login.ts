import { login, Refusal } from './api.js';
import { byId, el } from './dom.js';

/** Asks for the token; resolves once somebody is in. */
export async function askForLogin(): Promise<void> {
  const input = el('input', {
    ...{ id: 'token', type: 'password', name: 'token', required: true, autocomplete: 'current-password' },
    'aria-describedby': 'login-problem login-help',
  });
  const problem = el('p', { id: 'login-problem', class: 'problem', role: 'alert' });
  const form = el(
    'form',
    { class: 'card login' },
    el('h1', {}, 'Log in'),
    el('label', { for: 'token' }, 'Token'),
    input,
    el(
      'p',
      { id: 'login-help', class: 'faint' },
      'The worker has it in PAGE_TOKEN, or in the file of PAGE_TOKEN_FILE.',
    ),
    problem,
    el('button', { type: 'submit' }, 'Log in'),
  );
  byId('logout').hidden = true;
  byId('main').replaceChildren(form);
  document.title = 'Log in – Kafka to OwlMQ';
  input.focus();
  await new Promise<void>((resolve) => {
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      login(input.value.trim()).then(resolve, (error: unknown) => {
        problem.textContent = error instanceof Refusal ? error.detail : String(error);
        input.select();
      });
    });
  });
}
