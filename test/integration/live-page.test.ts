import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AxeResults } from 'axe-core';
import { chromium, type BrowserContext, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Progress } from '../../engines/fetch/progress.js';
import { findChromium } from '../../engines/find/chromium.js';
import { CliProcess, runBuilt, runHere } from '../../packages/kafka-bridge/test/cli-harness.js';
import { startLiveMigration, type LiveMigration } from './live-migration.js';

// A whole fleet on real engines, its worker as built, and a real browser. The tests are one story, in their order.

const within = { timeout: 90_000 };

let migration: LiveMigration;
let browser: BrowserContext;
let profile: string;
let page: Page;
/** What the browser has complained of, its content security policy among it. */
const complaints: string[] = [];
let axe: string;

beforeAll(async () => {
  const log = (line: string): void => {
    console.info(line);
  };
  const [executablePath, started] = await Promise.all([
    findChromium(new Progress(log)),
    startLiveMigration({
      ramp: { step: 0.5, interval: '3 seconds' },
      soak: { duration: '4 minutes', minComparisons: 50, lateness: '5 seconds' },
      cutover: { trigger: 'approval' },
      audit: { grace: '1 second' },
    }),
  ]);
  migration = started;
  profile = await mkdtemp(join(tmpdir(), 'kafka-to-owlmq-chromium-'));
  browser = await chromium.launchPersistentContext(profile, {
    executablePath,
    viewport: { width: 1_200, height: 900 },
    colorScheme: 'light',
    args: [
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      ...['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
    ],
  });
  page = await browser.newPage();
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
});

afterAll(async () => {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
  await migration.stop();
});

/** What axe finds wrong with the page as it is. */
async function axeFindings(): Promise<string[]> {
  await page.evaluate(axe);
  const { violations } = await page.evaluate<AxeResults>('axe.run()');
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

async function overflow(): Promise<number> {
  return await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
}

async function fact(name: string): Promise<string> {
  return (await page.locator('dt', { hasText: name }).locator('xpath=following-sibling::dd').textContent()) ?? '';
}

const api = async (path: string, init: RequestInit = {}): Promise<Response> => {
  const headers = { authorization: `Bearer ${migration.token}`, ...(init.headers as Record<string, string>) };
  return await fetch(`${migration.url}/api${path}`, { ...init, headers });
};

describe('the live page', within, () => {
  it('lets nobody in without the token, and then lists the migrations of its worker alone', async () => {
    await page.goto(migration.url);
    await page.getByLabel('Token').fill('a-token-of-something-else');
    await page.getByRole('button', { name: 'Log in' }).click();
    await expect.poll(() => page.getByRole('alert').textContent()).toContain('no token of the page');
    expect(complaints.splice(0).join()).toMatch(/401/);
    expect(await axeFindings()).toEqual([]);
    await page.getByLabel('Token').fill(migration.token);
    await page.keyboard.press('Enter');
    await page.getByText('No migration was started on the task queue of this worker.').waitFor();
    await migration.begin();
    await page.getByRole('link', { name: migration.name }).waitFor();
    expect(await page.getByRole('row').count()).toBe(2);
    expect(await axeFindings()).toEqual([]);
  });

  it('follows a migration: phases, ratio, throughput, lag, members, events', async () => {
    await page.getByRole('link', { name: migration.name }).click();
    await page.locator('[data-phase="dual-write"][aria-current="step"]').waitFor();
    await expect.poll(() => fact('Ratio'), within).toMatch(/(50|100)% wanted/);
    await page.locator('[data-phase="shadow-soak"][aria-current="step"]').waitFor();
    await page.locator('li.done[data-phase="dual-write"]').waitFor();
    expect(await page.getByRole('status').first().textContent()).toContain('Phase shadow-soak');
    // Both legs have grown, and the soak has compared.
    await expect
      .poll(async () => Number(await page.locator('.chart').getAttribute('data-samples')), within)
      .toBeGreaterThan(3);
    await expect.poll(() => page.locator('.legend').textContent(), within).toMatch(/Kafka [1-9][\d.]*\/s +OwlMQ [1-9]/);
    expect(await inked()).toBeGreaterThan(100);
    const group = page.getByRole('row', { name: migration.group }).first();
    await expect
      .poll(async () => Number(await group.getByRole('cell').nth(3).textContent()), within)
      .toBeGreaterThan(0);
    expect(await group.getByRole('cell').first().textContent()).toMatch(/^\d/);
    expect(await group.getByRole('cell').nth(2).textContent()).toMatch(/^\d/);
    const { epoch } = await migration.status();
    await expect
      .poll(() => page.getByRole('row', { name: 'publisher' }).textContent())
      .toContain(`publishing${epoch}now`);
    expect(await page.locator('.events li').first().textContent()).toBeTruthy();
  });

  it('is for everybody: light and dark, wide and narrow', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      for (const width of [1_200, 360]) {
        await page.setViewportSize({ width, height: 800 });
        expect(await axeFindings(), `${colorScheme}, ${width} px`).toEqual([]);
        expect(await overflow(), `${width} px`).toBeLessThanOrEqual(0);
      }
    }
    await page.setViewportSize({ width: 1_200, height: 900 });
    await page.emulateMedia({ colorScheme: 'light' });
  });

  it('pauses by a button, with name and reason, and says what was refused', async () => {
    await page.getByRole('button', { name: 'Pause' }).click();
    expect(await axeFindings()).toEqual([]);
    await page.getByLabel('Your name').fill('ann');
    await page.getByLabel('Reason').fill('<img src=x onerror=alert(1)> a look');
    await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('heading', { name: 'Paused by ann' }).waitFor();
    await page.getByText('<img src=x onerror=alert(1)> a look').first().waitFor();
    const { paused } = await migration.status();
    expect(paused).toMatchObject({ by: 'ann', reason: '<img src=x onerror=alert(1)> a look' });
    expect(await page.getByRole('button', { name: 'Pause' }).isDisabled()).toBe(true);
    const again = await api(`/migrations/${migration.name}/requests`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ action: 'pause', by: 'bob', reason: 'me too' }),
    });
    expect(again.status).toBe(409);
    expect(await again.json()).toMatchObject({
      type: 'refused',
      detail: expect.stringContaining('paused already') as string,
    });
  });

  it('takes no word from elsewhere', async () => {
    const path = `${migration.url}/api/migrations/${migration.name}/requests`;
    const cookie = (await browser.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
    expect(await browser.cookies()).toMatchObject([{ httpOnly: true, sameSite: 'Strict' }]);
    const { csrf } = (await (await fetch(`${migration.url}/api/session`, { headers: { cookie } })).json()) as {
      csrf: string;
    };
    const post = async (headers: Record<string, string>): Promise<number> =>
      (
        await fetch(path, {
          method: 'POST',
          headers: { 'content-type': 'application/json', cookie, ...headers },
          body: JSON.stringify({ action: 'rollback', by: 'eve', reason: 'mine' }),
        })
      ).status;
    expect(await post({})).toBe(403);
    expect(await post({ 'x-csrf-token': `${csrf}x` })).toBe(403);
    expect(await post({ 'x-csrf-token': csrf, origin: 'https://evil.example' })).toBe(403);
    expect(await post({ 'x-csrf-token': csrf, origin: 'http://127.0.0.1:1' })).toBe(403);
    expect(await post({ 'x-csrf-token': csrf, 'sec-fetch-site': 'cross-site' })).toBe(403);
    expect(await post({ 'x-csrf-token': csrf, cookie: cookie.slice(0, -3) })).toBe(401);
    // The router knows more spellings of a path than one.
    const spelled = `${migration.url}/%61pi/migrations`;
    expect((await fetch(spelled)).status).toBe(401);
    const body = JSON.stringify({ action: 'rollback', by: 'eve', reason: 'mine' });
    const unsigned = { method: 'POST', headers: { 'content-type': 'application/json' }, body };
    expect((await fetch(`${spelled}/${migration.name}/requests`, unsigned)).status).toBe(401);
    const { hostname, port, host } = new URL(migration.url);
    const [answer] = (await once(
      get({ hostname, port, path: `${migration.url}/api/migrations`, headers: { host } }),
      'response',
    )) as [IncomingMessage];
    answer.resume();
    expect(answer.statusCode).toBe(401);
    expect((await migration.status()).rollback).toBeNull();
    // As a page of another origin would, in the same browser.
    const other = await browser.newPage();
    await other.route('http://localhost:1/', (route) =>
      route.fulfill({ contentType: 'text/html', body: '<p>elsewhere' }),
    );
    await other.goto('http://localhost:1/');
    const read = `fetch(${JSON.stringify(`${migration.url}/api/session`)}, {credentials: 'include'}).then(() => 'read', () => 'refused')`;
    expect(await other.evaluate(read)).toBe('refused');
    await other.close();
    // Neither endpoint lets another origin read, and no page may frame this one.
    for (const url of [
      `${migration.url}/api/session`,
      `${migration.observationsUrl}/v1/migrations/${migration.name}/routing`,
    ]) {
      const answer = await fetch(url, { method: 'OPTIONS', headers: { origin: 'https://evil.example' } });
      expect(answer.headers.get('access-control-allow-origin')).toBeNull();
      expect(answer.ok).toBe(false);
    }
    const { headers } = await fetch(migration.url);
    expect(headers.get('content-security-policy')).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
    expect(headers.get('cache-control')).toBe('no-store');
  });

  it('shows the same in a terminal', async () => {
    const env = { PAGE_URL: migration.url, PAGE_TOKEN: migration.token };
    const shown = await runBuilt(['status', migration.name], env);
    expect(shown.err).toBe('');
    expect(shown.out).toContain('[shadow-soak]');
    expect(shown.out).toMatch(/PAUSED +by ann/);
    expect(shown.out).toContain(migration.group);
    expect(shown.code).toBe(0);
    const watch = new CliProcess(['status', migration.name, '--watch', '1'], env);
    let lines = '';
    watch.onOut = (text) => (lines += text);
    await expect.poll(() => lines.split('[shadow-soak]').length, within).toBeGreaterThan(2);
    watch.interrupt();
    expect((await watch.ended).code).toBe(130);
  });

  it('says in a terminal what to do when nothing can be shown', async () => {
    const ask = async (args: string[], env: Record<string, string> = {}) => {
      for (const [name, value] of Object.entries({ PAGE_URL: migration.url, PAGE_TOKEN: migration.token, ...env })) {
        vi.stubEnv(name, value);
      }
      const outcome = await runHere(['status', ...args]);
      vi.unstubAllEnvs();
      return outcome;
    };
    const json = await ask([migration.name, '--output', 'json']);
    expect(JSON.parse(json.out)).toMatchObject({ phase: 'shadow-soak', paused: { by: 'ann' } });
    expect((await ask([])).out).toContain(migration.name);
    const told = async (...given: Parameters<typeof ask>): Promise<[number | null, string]> => {
      const { code, err } = await ask(...given);
      return [code, err];
    };
    expect(await told(['no-such-migration'])).toEqual([4, expect.stringContaining('its name is the workflow id')]);
    const { name } = migration;
    expect(await told([name], { PAGE_TOKEN: 'not-the-token-of-it' })).toEqual([
      5,
      expect.stringContaining('PAGE_TOKEN'),
    ]);
    expect(await told([name], { PAGE_URL: 'http://127.0.0.1:1' })).toEqual([
      5,
      expect.stringContaining('PAGE_ADDRESS'),
    ]);
    expect(await told([name], { PAGE_URL: 'http://page.example' })).toEqual([2, expect.stringContaining('in clear')]);
    expect(await told([name], { PAGE_URL: '', PAGE_TOKEN: '' })).toEqual([
      2,
      expect.stringMatching(/PAGE_URL[\s\S]*PAGE_TOKEN/),
    ]);
  });

  it('rolls back by keyboard alone', async () => {
    for (let presses = 0; (await page.evaluate('document.activeElement?.textContent')) !== 'Roll back'; presses++) {
      expect(presses).toBeLessThan(30);
      await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Enter');
    // The name is still there from before; without a reason nothing goes.
    await page.keyboard.press('Enter');
    expect((await migration.status()).rollback).toBeNull();
    await page.keyboard.type('error rate');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.locator('p[data-phase="rolled-back"]').waitFor();
    const { rollback, phase } = await migration.status();
    expect(rollback).toMatchObject({ by: 'ann', reason: 'error rate', from: 'shadow-soak' });
    expect(phase).toBe('rolled-back');
    expect(await page.locator('li[data-phase="shadow-soak"]').getAttribute('class')).toBe('left');
    for (const name of ['Pause', 'Resume', 'Approve', 'Roll back']) {
      expect(await page.getByRole('button', { name }).isDisabled()).toBe(true);
    }
    expect(await axeFindings()).toEqual([]);
  });

  it('broke no rule of its own, and gave the token to nobody', async () => {
    expect(complaints).toEqual([]);
    const sources = await Promise.all(
      ['/', '/assets/main.js', '/assets/api.js'].map(async (path) => await (await fetch(migration.url + path)).text()),
    );
    const stored = await page.evaluate<string>('JSON.stringify([localStorage, sessionStorage, document.cookie])');
    const cookies = JSON.stringify(await browser.cookies());
    const log = await migration.workerLog();
    expect(log).toContain('asked on the live page');
    for (const text of [...sources, await page.content(), stored, cookies, log])
      expect(text).not.toContain(migration.token);
    // The last: it makes the login wait for a minute.
    const attempts = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const body = JSON.stringify({ token: 'a-guess-of-sixteen' });
        const headers = { 'content-type': 'application/json' };
        return (await fetch(`${migration.url}/api/login`, { method: 'POST', headers, body })).status;
      }),
    );
    expect(attempts).toContain(429);
  });
});

/** How much of the chart is drawn on. */
async function inked(): Promise<number> {
  return await page.evaluate<number>(`(() => {
    const canvas = document.querySelector('.chart canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, index) => index % 4 === 3 && value > 0).length;
  })()`);
}
