import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SettingsError } from '../src/settings.js';
import { readWorkerConfig } from '../src/worker-config.js';

const needed = { KAFKA_BROKERS: '127.0.0.1:9092', OWLMQ_URL: 'http://127.0.0.1:8085', OWLMQ_API_KEY: 'key' };

function problems(environment: NodeJS.ProcessEnv): readonly string[] {
  try {
    readWorkerConfig(environment);
    return [];
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
}

describe("the worker's settings", () => {
  it('open no observation endpoint unless told to, and one with several tokens for several to come', async () => {
    expect(readWorkerConfig(needed).observations).toBeUndefined();
    const [older, newer] = ['0123456789abcdef', 'another-token+of/mine=='];
    const given = { ...needed, OBSERVATIONS_ADDRESS: '[::1]:8087', OWLMQ_BRIDGE_DIGEST_KEY: 'secret' };
    expect(readWorkerConfig({ ...given, OBSERVATIONS_TOKEN: `${older}, ${newer}` }).observations).toEqual({
      ...{ host: '::1', port: 8087, tokens: [older, newer], digestKey: 'secret' },
    });
    const folder = await mkdtemp(join(tmpdir(), 'worker-config-test-'));
    const file = join(folder, 'tokens');
    await writeFile(file, `${older}\n${newer}\n`);
    expect(readWorkerConfig({ ...given, OBSERVATIONS_TOKEN_FILE: file }).observations?.tokens).toEqual([older, newer]);
    await rm(folder, { recursive: true });
    expect(problems({ ...given, OBSERVATIONS_TOKEN_FILE: file }).join()).toContain('OBSERVATIONS_TOKEN_FILE');
  });

  it('open no live page unless told to, and beyond the loopback behind TLS alone', () => {
    expect(readWorkerConfig(needed).page).toBeUndefined();
    const token = { PAGE_TOKEN: '0123456789abcdef' };
    const origin = 'https://migrations.example.com';
    const page = { host: '127.0.0.1', port: 8090, tokens: [token.PAGE_TOKEN], origin: undefined };
    expect(readWorkerConfig({ ...needed, ...token, PAGE_ADDRESS: '127.0.0.1:8090' }).page).toEqual(page);
    const open = { ...needed, ...token, PAGE_ADDRESS: '0.0.0.0:8090' };
    expect(problems(open).join()).toContain('0.0.0.0, which others reach');
    expect(readWorkerConfig({ ...open, PAGE_ORIGIN: origin }).page).toEqual({ ...page, host: '0.0.0.0', origin });
    for (const wrong of ['http://migrations.example.com', `${origin}/page`, 'migrations.example.com']) {
      expect(problems({ ...open, PAGE_ORIGIN: wrong }).join(), wrong).toContain('PAGE_ORIGIN');
    }
    expect(problems({ ...needed, PAGE_ADDRESS: 'localhost:8090' })).toEqual([
      'PAGE_ADDRESS is set, and no token: set PAGE_TOKEN or PAGE_TOKEN_FILE too',
    ]);
  });

  it('name no task queue on which rehearsals must touch no system', () => {
    const named = problems({ ...needed, TEMPORAL_TASK_QUEUE: 'kafka-to-owlmq-rehearsal' });
    expect(named.join()).toContain('TEMPORAL_TASK_QUEUE: is a queue for rehearsals');
  });

  it('say which build a worker is, by deployment and build id together', () => {
    expect(readWorkerConfig(needed).version).toBeUndefined();
    const both = { WORKER_DEPLOYMENT_NAME: 'migrations', WORKER_BUILD_ID: '2026-12-01' };
    expect(readWorkerConfig({ ...needed, ...both }).version).toEqual({
      ...{ deploymentName: 'migrations', buildId: '2026-12-01' },
    });
    expect(problems({ ...needed, WORKER_BUILD_ID: '2026-12-01' }).join()).toContain('belong together');
    // Temporal takes the first dot for the end of the name.
    expect(problems({ ...needed, ...both, WORKER_BUILD_ID: 'v1.2' }).join()).toContain('WORKER_BUILD_ID: must be');
  });

  it('are told all at once, without a secret', () => {
    const told = problems({ OBSERVATIONS_ADDRESS: '8087', OBSERVATIONS_TOKEN: 'short,0123456789abcdef' });
    expect(told).toHaveLength(5);
    expect(told.join('\n')).toMatch(/KAFKA_BROKERS[\s\S]*OWLMQ_URL[\s\S]*OWLMQ_API_KEY[\s\S]*OBSERVATIONS_ADDRESS/);
    expect(told.join('\n')).toContain('OBSERVATIONS_TOKEN: 1 of 2 tokens');
    expect(told.join('\n')).not.toContain('short');
    for (const none of [undefined, '', ' , ']) {
      const given = { ...needed, OBSERVATIONS_ADDRESS: '127.0.0.1:8087', OBSERVATIONS_TOKEN: none };
      expect(problems(given)).toEqual([
        'OBSERVATIONS_ADDRESS is set, and no token: set OBSERVATIONS_TOKEN or OBSERVATIONS_TOKEN_FILE too',
      ]);
    }
  });

  it('name receivers of webhooks, each with a secret that nobody guesses', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'worker-config-test-'));
    const HOOKS_FILE = join(folder, 'hooks.json');
    const hooks = async (of: unknown): Promise<void> => {
      await writeFile(HOOKS_FILE, typeof of === 'string' ? of : JSON.stringify(of));
    };
    const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
    const given = { ...needed, HOOKS_FILE, BILLING_SECRET: secret };
    await writeFile(join(folder, 'new-and-old'), `${secret}\n${secret}\n`);
    await hooks({
      billing: { url: 'https://billing.example/hook', secretVariable: 'BILLING_SECRET' },
      mails: { url: 'http://127.0.0.1:8080/', secretFile: 'new-and-old' },
    });
    expect(readWorkerConfig(needed).webhooks.size).toBe(0);
    expect(Object.fromEntries(readWorkerConfig(given).webhooks)).toEqual({
      billing: { url: 'https://billing.example/hook', secrets: [secret] },
      mails: { url: 'http://127.0.0.1:8080/', secrets: [secret, secret] },
    });

    const secretVariable = 'BILLING_SECRET';
    await hooks({
      plain: { url: 'http://billing.example/hook-path', secretVariable },
      credentials: { url: 'https://ann:hook-path@billing.example/', secretVariable },
      none: { url: 'https://billing.example/hook-path' },
      both: { url: 'https://billing.example/hook-path', secretVariable, secretFile: 'new-and-old' },
      misspelt: { url: 'https://billing.example/hook-path', secretVariable, retries: 3 },
    });
    const told = problems(given).join('\n');
    for (const name of ['plain.url', 'credentials.url', 'none needs', 'both needs', 'retries']) {
      expect(told).toContain(name);
    }
    expect(problems(given).every((problem) => problem.startsWith('HOOKS_FILE: '))).toBe(true);
    expect(told).not.toContain('hook-path');

    const url = 'https://billing.example/';
    await hooks({
      unset: { url, secretVariable: 'NOT_SET' },
      gone: { url, secretFile: 'gone' },
      weak: { url, secretVariable },
    });
    const short = `whsec_${Buffer.alloc(23, 7).toString('base64')}`;
    for (const weak of [short, secret.slice(6), 'whsec_hunter2-hunter2-hunter2-hunter2']) {
      const said = problems({ ...given, BILLING_SECRET: weak });
      expect(said).toHaveLength(3);
      expect(said.join('\n')).not.toContain(weak);
    }
    await hooks(`{"billing": "${secret}`);
    expect(problems(given)).toEqual([`HOOKS_FILE: ${HOOKS_FILE} is no JSON`]);
    expect(problems({ ...needed, HOOKS_FILE: folder })).toEqual([`HOOKS_FILE: ${folder} cannot be read (EISDIR)`]);
    await rm(folder, { recursive: true });
  });
});
