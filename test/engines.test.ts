import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, readdir, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import kafkajs from 'kafkajs';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { checkoutRoot } from '../engines/checkout.js';
import {
  DiskFullError,
  EngineConfigError,
  EngineStartError,
  EngineUnavailableError,
  FolderBusyError,
} from '../engines/errors.js';
import { fetchIntoCache } from '../engines/fetch/cache.js';
import { Progress } from '../engines/fetch/progress.js';
import { findTemporalCli } from '../engines/find/temporal-cli.js';
import { findTestServer } from '../engines/find/test-server.js';
import { findToxiproxy } from '../engines/find/toxiproxy.js';
import { identify } from '../engines/process/process-identity.js';
import { onPath } from '../engines/process/run-command.js';
import { requireFreeSpace } from '../engines/run/disk-space.js';
import { runningServers, stopEngines } from '../engines/running-engines.js';
import { startEngines } from '../engines/start-engines.js';

vi.setConfig({ testTimeout: 240_000 });

const run = promisify(execFile);
const cli = join(checkoutRoot, 'dist', 'engines', 'cli.js');
const quiet = new Progress(undefined);

/** Everything of one test lives below this folder, so that a process of the test shows it in its arguments. */
let folder: string;
const children: ChildProcess[] = [];

beforeAll(() => {
  // Child processes run the built code: `npm test` builds first.
  expect(existsSync(cli), `${cli} is missing: npm run build`).toBe(true);
});

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'engines-test-')));
  // The engines of the whole test run must not answer for those that are tested here.
  for (const name of ['TEMPORAL_ADDRESS', 'KAFKA_BROKERS', 'OWLMQ_URL', 'OWLMQ_API_KEY', 'ENGINES_DATA']) {
    vi.stubEnv(name, undefined);
  }
});

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await stopEngines(join(folder, 'data'), { reset: true, log: () => undefined });
  await vi.waitFor(async () => {
    expect(await processesOfTest()).toEqual([]);
  }, patience);
  await rm(folder, { recursive: true, force: true });
});

/** Several JVMs may share two cores with other work: far longer than it takes on an idle machine. */
const patience = { timeout: 90_000, interval: 50 };

/** `PID COMMAND` of every process that names the test's folder. */
async function processesOfTest(): Promise<string[]> {
  const { stdout } = await run('ps', ['-ww', '-eo', 'pid=,stat=,args='], { maxBuffer: 64 * 1024 ** 2 });
  return stdout.split('\n').filter((line) => line.includes(folder) && !/^\s*\d+\s+Z/.test(line));
}

function inBackground(args: readonly string[], env: Record<string, string | undefined> = {}) {
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  let output = '';
  const collect = (chunk: Buffer) => {
    output += chunk.toString();
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('exit', (code, signal) => {
      resolve(signal ?? code);
    });
  });
  return { child, ended, output: () => output };
}

async function engines(...args: string[]) {
  const { ended, output } = inBackground([cli, ...args]);
  return { code: await ended, output: output() };
}

/** A folder with these programs only, to be PATH. */
async function pathOf(programs: Record<string, string>): Promise<string> {
  const bin = join(folder, 'bin');
  await mkdir(bin);
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, name), 0o755);
  }
  return bin;
}

async function topics(brokers: readonly string[]): Promise<string[]> {
  const admin = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    return await admin.listTopics();
  } finally {
    await admin.disconnect();
  }
}

describe('starting', () => {
  test('data survives stop and start, though the ports change', async () => {
    const dataDir = join(folder, 'data');
    const want = ['kafka', 'temporal', 'owlmq'] as const;
    const first = await startEngines({ want, dataDir });
    const admin = new kafkajs.Kafka({ brokers: [...first.kafka.brokers] }).admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'kept', numPartitions: 3 }] });
    await admin.disconnect();
    const connection = await Connection.connect({ address: first.temporal.address });
    await new Client({ connection }).workflow.start('nobodyRunsThis', { taskQueue: 'none', workflowId: 'kept' });
    await connection.close();
    await first.stop();
    await first.stop(); // A second stop finds nothing to do.

    const second = await startEngines({ want, dataDir });
    try {
      expect(second.kafka.brokers).not.toEqual(first.kafka.brokers);
      expect(await topics(second.kafka.brokers)).toContain('kept');
      const again = await Connection.connect({ address: second.temporal.address });
      const { status } = await new Client({ connection: again }).workflow.getHandle('kept').describe();
      await again.close();
      expect(status.name).toBe('RUNNING');
      expect(second.owlmq.apiKey).toBe(first.owlmq.apiKey);
      expect((await stat(join(dataDir, 'owlmq', 'api-key'))).mode & 0o777).toBe(0o600);
      expect(await readFile(join(dataDir, 'state.json'), 'utf8')).not.toContain(second.owlmq.apiKey);
      expect((await processesOfTest()).join('\n')).not.toContain(second.owlmq.apiKey);
    } finally {
      await second.stop();
    }
  });

  test('a well-known port in use gives way to the next free one, and that is said', async () => {
    const squatter = createServer();
    await new Promise<void>((resolve) => {
      squatter.once('error', () => {
        resolve(); // Someone else has it, which serves as well.
      });
      squatter.listen(8085, '127.0.0.1', resolve);
    });
    const said: string[] = [];
    try {
      const started = await startEngines({
        want: ['owlmq'],
        dataDir: join(folder, 'data'),
        ports: 'preferred',
        log: (line) => said.push(line),
      });
      expect(Number(new URL(started.owlmq.url).port)).toBeGreaterThan(8085);
      expect(said).toEqual([expect.stringMatching(/^OwlMQ: port 8085 is in use, taking \d+/)]);
      await started.stop();
    } finally {
      squatter.close();
    }
  });

  test('a server that ends early is reported with the end of its log, and nothing stays', async () => {
    const dataDir = join(folder, 'data');
    await mkdir(join(dataDir, 'owlmq'), { recursive: true });
    await writeFile(join(dataDir, 'owlmq', 'data'), 'a file where a folder must be');
    const failure = await startEngines({ want: ['owlmq', 'temporal'], dataDir }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(EngineStartError);
    expect(failure).toMatchObject({ engine: 'OwlMQ', log: { file: join(dataDir, 'owlmq', 'owlmq.log') } });
    expect((failure as EngineStartError).log?.tail).not.toBe('');
    expect(await runningServers(dataDir)).toEqual([]);
  });

  test('programs run on the engines, with their addresses in the environment', async () => {
    const script = join(folder, 'program.mjs');
    await writeFile(script, `console.log('up at', process.env.OWLMQ_URL); setInterval(() => {}, 1000);`);
    const programs = [{ id: 'program', script, readyLine: /^up at http/ }];
    const started = await startEngines({ want: ['owlmq'], dataDir: join(folder, 'data'), programs });
    expect(await readFile(join(folder, 'data', 'program', 'program.log'), 'utf8')).toContain(started.owlmq.url);
    await started.stop();
    expect(await runningServers(join(folder, 'data'))).toEqual([]);
  });

  test('an aborted start leaves nothing', async () => {
    const abort = new AbortController();
    const start = startEngines({ want: ['kafka', 'owlmq'], dataDir: join(folder, 'data'), signal: abort.signal });
    const failure = expect(start).rejects.toThrow('enough');
    await vi.waitFor(async () => {
      expect(await runningServers(join(folder, 'data'))).not.toEqual([]);
    }, patience);
    abort.abort(new Error('enough'));
    await failure;
    expect(await runningServers(join(folder, 'data'))).toEqual([]);
  });

  test('little disk space is refused before anything starts', async () => {
    await expect(requireFreeSpace(folder, 1e9)).rejects.toThrow(DiskFullError);
    await expect(requireFreeSpace(folder, 1e9)).rejects.toThrow(/GiB free, 1000000000 GiB are needed/);
  });
});

describe('addresses given by environment', () => {
  test('are used as they are', async () => {
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    vi.stubEnv('KAFKA_BROKERS', `127.0.0.1:1,127.0.0.1:${port}`);
    const given = await startEngines({ want: ['kafka'] });
    expect(given.kafka.brokers).toEqual(['127.0.0.1:1', `127.0.0.1:${port}`]);
    await given.stop();
    server.close();
  });

  test('must answer, and come with a key where one is needed', async () => {
    vi.stubEnv('TEMPORAL_ADDRESS', '127.0.0.1:1');
    const dead = startEngines({ want: ['temporal'] });
    await expect(dead).rejects.toThrow(EngineStartError);
    await expect(dead).rejects.toThrow(/TEMPORAL_ADDRESS=127.0.0.1:1/);
    vi.stubEnv('OWLMQ_URL', 'http://127.0.0.1:1');
    const keyless = startEngines({ want: ['owlmq'] });
    await expect(keyless).rejects.toThrow(EngineConfigError);
    await expect(keyless).rejects.toThrow(/OWLMQ_API_KEY/);
  });
});

describe('leftovers of an earlier run', () => {
  test('a live server is used again, a dead one is started anew', async () => {
    const dataDir = join(folder, 'data');
    const said: string[] = [];
    const start = () => startEngines({ want: ['owlmq'], dataDir, keepRunning: true, log: (line) => said.push(line) });
    await start();
    const [first] = await runningServers(dataDir);
    await start();
    expect((await runningServers(dataDir)).map(({ pid }) => pid)).toEqual([first?.pid]);
    await expect(startEngines({ want: ['owlmq'], dataDir })).rejects.toThrow(FolderBusyError);
    expect(said).toEqual([]);

    process.kill(first?.pid ?? 0, 'SIGKILL');
    await vi.waitFor(async () => {
      expect(await runningServers(dataDir)).toMatchObject([{ alive: false }]);
    }, patience);
    await start();
    expect(said).toEqual([expect.stringContaining(`process ${String(first?.pid)} of an earlier run has ended`)]);
    expect(await runningServers(dataDir)).toMatchObject([{ alive: true }]);
    await stopEngines(dataDir, { reset: false, log: () => undefined });
    expect(await runningServers(dataDir)).toEqual([]);
  });

  test('a process that got the pid of a dead server is left alone', async () => {
    const dataDir = join(folder, 'data');
    await startEngines({ want: ['owlmq'], dataDir, keepRunning: true });
    const state = join(dataDir, 'state.json');
    const recorded = await readFile(state, 'utf8');
    await stopEngines(dataDir, { reset: false, log: () => undefined });
    const bystander = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
    children.push(bystander);
    await writeFile(state, recorded.replace(/"pid": \d+/, `"pid": ${String(bystander.pid)}`));
    expect(await runningServers(dataDir)).toMatchObject([{ pid: bystander.pid, alive: false }]);
    await stopEngines(dataDir, { reset: false, log: () => undefined });
    expect(bystander.kill(0)).toBe(true);
    expect(bystander.signalCode).toBeNull();
  });
});

describe('death of the parent', () => {
  test('SIGKILL of a process with private engines leaves neither processes nor data', async () => {
    const api = join(checkoutRoot, 'dist', 'engines', 'start-engines.js');
    const script = `
      import { startEngines } from ${JSON.stringify(api)};
      await startEngines({ want: ['kafka', 'temporal', 'owlmq'] });
      console.log('started');
      setInterval(() => {}, 1000);`;
    const parent = inBackground(['--input-type=module', '--eval', script], { TMPDIR: folder });
    await vi.waitFor(() => {
      expect(parent.output()).toContain('started');
    }, patience);
    for (const program of ['kafka.Kafka', 'start-dev', 'owlmq-local.js']) {
      expect((await processesOfTest()).join('\n')).toContain(program);
    }
    parent.child.kill('SIGKILL');
    expect(await parent.ended).toBe('SIGKILL');
    await vi.waitFor(async () => {
      expect(await processesOfTest()).toEqual([]);
      expect(await readdir(folder)).toEqual([]);
    }, patience);
  });

  test.each(['SIGINT', 'SIGKILL'] as const)('%s of `up` half way leaves nothing running', async (signal) => {
    const data = join(folder, 'data');
    const up = inBackground([cli, 'up', '--data', data]);
    await vi.waitFor(async () => {
      expect(await runningServers(data)).not.toEqual([]);
    }, patience);
    up.child.kill(signal);
    expect(await up.ended).toBe(signal === 'SIGINT' ? 130 : signal);
    await vi.waitFor(async () => {
      expect(await processesOfTest()).toEqual([]);
    }, patience);
    expect((await runningServers(data)).filter(({ alive }) => alive)).toEqual([]);
    if (signal === 'SIGINT') expect(up.output()).toContain('Nothing is left running.');
  });

  test.each(['SIGINT', 'SIGKILL'] as const)('%s of `up` during a fetch leaves nothing half-fetched', async (signal) => {
    const cache = join(folder, 'cache');
    const temporal = (await onPath('temporal')) ?? process.env.TEMPORAL_CLI ?? '';
    const java = dirname((await onPath('java')) ?? '');
    // A Maven that takes for ever, in a process below it: a slow network that can be had anywhere.
    const below = join(folder, 'below');
    const bin = await pathOf({ mvn: `echo half > half.jar; sleep 300 & echo $! > '${below}'; wait` });
    const up = inBackground([cli, 'up', '--data', join(folder, 'data')], {
      PATH: [bin, java, '/usr/bin', '/bin'].join(':'),
      TEMPORAL_CLI: temporal,
      ENGINES_CACHE: cache,
      KAFKA_HOME: undefined,
    });
    await vi.waitFor(async () => {
      const files = await readdir(cache, { recursive: true });
      expect(files, up.output()).toContainEqual(expect.stringMatching(/\.partial-.*half\.jar$/));
      expect(await identify(Number(await readFile(below, 'utf8')))).toBeDefined();
    }, patience);
    up.child.kill(signal);
    expect(await up.ended).toBe(signal === 'SIGINT' ? 130 : signal);
    await vi.waitFor(async () => {
      expect(await processesOfTest()).toEqual([]);
      expect(await identify(Number(await readFile(below, 'utf8')))).toBeUndefined();
      // The lock of a killed owner stays until the next fetch takes it over.
      expect(await readdir(cache)).toEqual(signal === 'SIGINT' ? [] : ['kafka-4.3.0.lock']);
    }, patience);
  });
});

describe('the cache', () => {
  test('fetches at once fetch once, and what a killed one left is cleared away', async () => {
    vi.stubEnv('ENGINES_CACHE', folder);
    const ended = spawn('true', { stdio: 'ignore' });
    const { pid } = ended;
    await once(ended, 'exit');
    await mkdir(join(folder, `thing.partial-${String(pid)}-0badcafe-1`));
    await writeFile(join(folder, 'thing.lock'), JSON.stringify({ pid, startedAt: 'long ago' }));
    let fills = 0;
    const fetch = () =>
      fetchIntoCache('thing', { log: () => undefined }, async (partial) => {
        fills++;
        await writeFile(join(partial, 'program'), '');
      });
    const fetched = await Promise.all(Array.from({ length: 8 }, fetch));
    expect(fetched).toEqual(fetched.map(() => join(folder, 'thing')));
    expect(fills).toBe(1);
    expect(await readdir(folder)).toEqual(['thing']);
  });

  test('a fetch that fails leaves nothing and can be repeated', async () => {
    vi.stubEnv('ENGINES_CACHE', folder);
    const options = { log: () => undefined };
    await expect(fetchIntoCache('thing', options, () => Promise.reject(new Error('cut')))).rejects.toThrow('cut');
    expect(await readdir(folder)).toEqual([]);
    await fetchIntoCache('thing', options, () => Promise.resolve());
    expect(await readdir(folder)).toEqual(['thing']);
  });
});

describe('when nothing works', () => {
  beforeEach(() => {
    vi.stubEnv('PATH', join(folder, 'empty'));
    vi.stubEnv('ENGINES_CACHE', join(folder, 'cache'));
    for (const name of [
      'GOBIN',
      'KAFKA_HOME',
      'JAVA_HOME',
      'TEMPORAL_CLI',
      'TEMPORAL_TEST_SERVER',
      'TOXIPROXY_SERVER',
    ]) {
      vi.stubEnv(name, undefined);
    }
    vi.stubEnv('GOPATH', join(folder, 'go'));
    // No network for the SDK's downloader, whatever this machine has.
    vi.stubEnv('HTTPS_PROXY', 'http://127.0.0.1:9');
  });

  test('Kafka: the error lists what was tried and what to install', async () => {
    const failure = await startEngines({ want: ['kafka'] }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(EngineUnavailableError);
    const { attempts, message } = failure as EngineUnavailableError;
    expect(attempts.map(({ way }) => way)).toEqual([
      '`kafka-server-start.sh` on PATH',
      `cache ${join(folder, 'cache')}`,
      'Maven, org.apache.kafka:kafka_2.13:4.3.0',
      'Docker, apache/kafka:4.3.0',
    ]);
    for (const { way, outcome } of attempts) expect(message).toContain(`${way}: ${outcome}`);
    expect(message).toMatch(/no Java 17 or later[\s\S]*apt install/);
  });

  test('Java without Maven: the error says so', async () => {
    const bin = await pathOf({ java: `echo 'openjdk version "17.0.1" 2021-10-19'` });
    vi.stubEnv('PATH', bin);
    await expect(startEngines({ want: ['kafka'] })).rejects.toThrow(/Maven \(mvn\) is not on PATH[\s\S]*maven/);
  });

  test('Temporal CLI and test server: every way is listed, quickly', async () => {
    const failures = await Promise.all([
      findTemporalCli(quiet).catch((error: unknown) => error),
      findTestServer(quiet).catch((error: unknown) => error),
    ]);
    for (const failure of failures) expect(failure).toBeInstanceOf(EngineUnavailableError);
    const [temporal, testServer] = (failures as EngineUnavailableError[]).map(({ attempts }) =>
      attempts.map(({ way }) => way),
    );
    expect(temporal).toEqual([
      '`temporal` on PATH',
      "`temporal` 1.5.1 among Go's programs",
      `cache ${join(folder, 'cache')}`,
      'download of 1.5.1 by the Temporal SDK',
      'go install github.com/temporalio/cli/cmd/temporal@v1.5.1',
    ]);
    expect(testServer?.at(-1)).toBe('Maven, io.temporal:temporal-test-server:1.35.0');
    expect(await readdir(join(folder, 'cache'))).toEqual([]);
  });

  test('Toxiproxy: one that is too old is not taken, and the error says what to install', async () => {
    vi.stubEnv('PATH', await pathOf({ 'toxiproxy-server': 'echo toxiproxy-server version 2.1.4' }));
    const failure = await findToxiproxy(quiet).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(EngineUnavailableError);
    expect((failure as EngineUnavailableError).attempts).toMatchObject([
      { way: '`toxiproxy-server` on PATH', outcome: expect.stringContaining('older than') as string },
      { way: `cache ${join(folder, 'cache')}` },
      { way: 'go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0', outcome: 'Go is not on PATH' },
    ]);
    expect((failure as Error).message).toContain('TOXIPROXY_SERVER');
  });
});

test('the command: up, up again, status, temporal, down, down --reset', async () => {
  const data = join(folder, 'data');
  expect(await engines('status', '--data', data)).toMatchObject({ code: 1, output: 'Nothing runs.\n' });
  const first = await engines('up', '--data', data, '--no-worker', '--no-traffic');
  expect(first).toMatchObject({
    code: 0,
    output: expect.stringContaining('npm run temporal -- workflow start') as string,
  });
  const started = await runningServers(data);
  expect(started.map(({ id }) => id).sort()).toEqual(['kafka', 'owlmq', 'temporal']);
  expect((await engines('up', '--data', data, '--no-worker', '--no-traffic')).code).toBe(0);
  expect((await runningServers(data)).map(({ pid }) => pid)).toEqual(started.map(({ pid }) => pid));
  expect((await engines('status', '--data', data)).code).toBe(0);

  vi.stubEnv('ENGINES_DATA', data);
  const listed = await engines('temporal', 'operator', 'search-attribute', 'list', '--output', 'json');
  expect(listed).toMatchObject({ code: 0, output: expect.stringContaining('MigrationPhase') as string });
  expect((await engines('temporal', 'workflow', 'describe', '--workflow-id', 'nope')).code).toBe(1);

  expect((await engines('down')).code).toBe(0);
  expect(await processesOfTest()).toEqual([]);
  expect(existsSync(join(data, 'temporal', 'temporal.db'))).toBe(true);
  expect((await engines('down', '--reset')).code).toBe(0);
  expect(existsSync(data)).toBe(false);
  expect((await engines('down')).code).toBe(0);
});
