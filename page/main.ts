import { isLoggedIn, logout } from './api.js';
import { byId, el } from './dom.js';
import { showList } from './list-page.js';
import { askForLogin } from './login.js';
import { showMigration } from './migration-page.js';

/** What the address names; the list of all at the root. */
function migrationOfAddress(): string | undefined {
  const name = /^\/migrations\/([^/]+)$/.exec(location.pathname)?.[1];
  return name === undefined ? undefined : decodeURIComponent(name);
}

async function show(): Promise<void> {
  for (;;) {
    if (!(await isLoggedIn())) await askForLogin();
    byId('logout').hidden = false;
    const migration = migrationOfAddress();
    // Both come back when the login is over.
    await (migration === undefined ? showList() : showMigration(migration));
  }
}

byId('logout').addEventListener('click', () => {
  logout().then(
    () => {
      location.reload();
    },
    (error: unknown) => {
      byId('connection').textContent = String(error);
    },
  );
});

show().catch((error: unknown) => {
  byId('main').replaceChildren(
    el(
      'p',
      { class: 'card problem', role: 'alert' },
      `${error instanceof Error ? error.message : String(error)} Load the page again.`,
    ),
  );
});
