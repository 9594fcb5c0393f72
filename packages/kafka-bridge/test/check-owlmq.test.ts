import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startOwlmqLocal, type OwlmqLocal } from '../../owlmq-local/src/index.js';
import type { ContractReport } from '../src/cli/check-owlmq/report.js';
import { allChecks } from '../src/contract-check/all-checks.js';
import { OwlmqClient } from '../src/owlmq/owlmq-client.js';
import { BrokenOwlmq, type Fault } from './broken-owlmq.js';
import { CliProcess, runBuilt, runHere, type CliOutcome } from './cli-harness.js';
import { until } from './publisher-fixture.js';

const KEY = 'a-key-that-nobody-may-see';
const root = join(import.meta.dirname, '..', '..', '..');
/** What nothing at a fresh endpoint that is well lets see. */
const UNSEEN = ['read.before-begin', 'errors.retry-after'];

let folder: string;
let server: OwlmqLocal;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'check-owlmq-'));
  await writeFile(join(folder, 'key'), `${KEY}\n`);
  server = await startOwlmqLocal({ data: join(folder, 'data'), apiKeys: [KEY] });
});

afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

/** In this process; the key comes from a file. */
function check(url: string, ...args: string[]): Promise<CliOutcome> {
  return runHere(argsFor(url, ...args));
}

function argsFor(url: string, ...args: string[]): string[] {
  const connection = ['--owlmq-url', url, '--owlmq-api-key-file', join(folder, 'key')];
  return ['check-owlmq', '--output', 'json', '--lease', '400', ...connection, ...args];
}

function parsed({ out, err }: CliOutcome): ContractReport {
  expect(out, err).not.toBe('');
  return JSON.parse(out) as ContractReport;
}

function resultOf(report: ContractReport, name: string): string {
  const found = report.checks.find((one) => one.name === name);
  return `${found?.result ?? 'not there'}: ${found?.seen ?? ''}`;
}

/** A sound server with a fault in front of it. */
async function broken(fault: Fault): Promise<BrokenOwlmq> {
  const faulty = await BrokenOwlmq.to(server.url, fault);
  onTestFinished(() => faulty.close());
  return faulty;
}

async function listening(own: Server): Promise<string> {
  own.listen(0, '127.0.0.1');
  await once(own, 'listening');
  onTestFinished(() => {
    own.close();
  });
  return `http://127.0.0.1:${(own.address() as AddressInfo).port}`;
}

describe('check-owlmq', () => {
  it('finds that owlmq-local keeps the contract, over a SIGKILL too, and leaves nothing without its prefix', async () => {
    const { url, command, stop } = await killable();
    onTestFinished(stop);
    const report = parsed(await check(url, '--prefix', 'whole', '--restart-command', command));
    const others = report.checks.filter(({ result }) => result !== 'kept');
    expect(others.map(({ name, result }) => `${name} ${result}`)).toEqual(UNSEEN.map((name) => `${name} skipped`));
    expect(report).toMatchObject({ complete: true, broken: 0, skipped: 2, kept: allChecks.length - 2 });
    expect(resultOf(report, 'restart.acknowledged')).toMatch(/^kept: [1-9]\d* records were acknowledged/);
    const client = new OwlmqClient({ url, apiKey: KEY });
    const topics = (await client.listTopics()).map(({ name }) => name);
    const groups = await client.listGroups();
    await client.close();
    expect(topics).toEqual(report.leftBehind.topics);
    // Groups without offsets are gone with their last member.
    expect(report.leftBehind.groups).toEqual(expect.arrayContaining(groups));
    expect([...topics, ...groups].filter((name) => !name.startsWith('whole.'))).toEqual([]);
  });

  it('shows a table to a person, with flags and variables of a user', async () => {
    const variables = { OWLMQ_URL: server.url, OWLMQ_API_KEY: KEY, KAFKA_BRIDGE_ONLY: 'publish' };
    const { code, out, err } = await runBuilt(['check-owlmq'], variables);
    expect(out).toMatch(/^CHECK +RESULT +TIME +CONTRACT\n/);
    expect(out).toMatch(/^publish\.malformed +kept +\d\.\d\d s +Records$/m);
    expect(out).toMatch(/ 0 broken, 0 skipped, in /);
    expect(out).toMatch(/left \d+ topics? and 0 groups behind, whose names begin with owlmq-check-[0-9a-f]{8}:/);
    expect(out).not.toMatch(/^(read|members)\./m);
    expect(out + err).not.toContain(KEY);
    expect(code).toBe(0);
  });

  it('tells what is broken, and what that hides', async () => {
    const { url } = await broken(async (request, pass) => {
      const reply = await pass(request);
      if (request.path !== '/v1/limits') return reply;
      const body = Buffer.from(reply.body.toString().replace(/"maxWaitMs":\d+/, '"maxWaitMs":"long"'));
      return { ...reply, body };
    });
    const { code, out } = await check(url, '--only', 'limits', '--output', 'table');
    expect(out).toContain('limits.form (getLimits)');
    expect(out).toMatch(/expected: the server says its limits.*\n +seen: +getLimits: maxWaitMs: .*"long"/);
    expect(out).toMatch(/limits\.batch-records, limits\.batch-bytes, .*: needs limits\.form, which is broken/);
    expect(code).toBe(3);
  });

  it('ends at Ctrl-C with what was found so far', async () => {
    let asked = false;
    const { url } = await broken((request, pass) => {
      if (!request.path.endsWith('/lookup')) return pass(request);
      asked = true;
      return new Promise(() => undefined);
    });
    const process = new CliProcess(argsFor(url, '--only', 'lookup,ids'));
    await until('it looks up', () => Promise.resolve(asked));
    process.interrupt();
    const ended = await process.ended;
    const report = parsed(ended);
    expect(resultOf(report, 'publish.offsets')).toMatch(/^kept: /);
    expect(resultOf(report, 'lookup.places')).toBe('skipped: it was ended meanwhile');
    expect(resultOf(report, 'lookup.unknown-topic')).toBe('skipped: it was ended before');
    expect(report).toMatchObject({ complete: false, broken: 0 });
    expect(ended.code).toBe(130);
  });

  it('bounds each check, and all of them', async () => {
    const { url } = await broken((request, pass) =>
      request.path.endsWith('/lookup') ? new Promise(() => undefined) : pass(request),
    );
    const [one, all] = await Promise.all([
      check(url, '--only', 'lookup.places,errors.form', '--check-timeout', '1'),
      check(url, '--only', 'lookup.places,errors.form', '--timeout', '2'),
    ]);
    expect(resultOf(parsed(one), 'lookup.places')).toBe('broken: not done within 1 s');
    expect(resultOf(parsed(one), 'errors.form')).toMatch(/^kept: /);
    expect(one.code).toBe(3);
    expect(resultOf(parsed(all), 'errors.form')).toBe('skipped: the time over all was over before');
    expect(parsed(all)).toMatchObject({ complete: false });
    expect(all).toMatchObject({ code: 4, err: expect.stringContaining('--timeout') as string });
  });

  it('does not go on with an endpoint that is gone', async () => {
    const faulty = await broken((request, pass) => {
      if (!request.path.endsWith('/lookup')) return pass(request);
      faulty.stopListening();
      return Promise.reject(new Error('gone'));
    });
    const outcome = await check(faulty.url, '--only', 'lookup,errors', '--check-timeout', '1');
    const report = parsed(outcome);
    expect(resultOf(report, 'lookup.places')).toMatch(/^broken: lookup: no answer: /);
    expect(resultOf(report, 'errors.form')).toBe('skipped: the endpoint has not answered since lookup.places');
    expect(outcome.code).toBe(3);
  });

  it('says what is there where it is no OwlMQ', async () => {
    const page = createHttpServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Welcome</html>');
    });
    const moved = createHttpServer((_request, response) => {
      response.writeHead(301, { location: 'https://elsewhere.example/' }).end();
    });
    const other = createHttpServer((_request, response) => {
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"no such route"}');
    });
    const closed = createServer();
    const closedUrl = await listening(closed);
    closed.close();
    await once(closed, 'close');
    const garbled = createServer((socket) => socket.end('220 mail.example ESMTP\r\n'));
    const refused = await broken((request, pass) =>
      pass({ ...request, headers: { ...request.headers, authorization: 'Bearer other' } }),
    );
    const cases: [string, RegExp][] = [
      [await listening(page), /text\/html.*no OwlMQ, but a page for people/s],
      [await listening(moved), /sends to https:\/\/elsewhere\.example\//],
      [await listening(other), /HTTP 404 .*That is no OwlMQ/],
      [closedUrl, /Nothing that speaks HTTP answers at .*ECONNREFUSED/],
      [await listening(garbled), /Nothing that speaks HTTP answers at/],
      [await listening(createServer()), /did not answer within 1 s/],
      [refused.url, /HTTP 401 .*Check OWLMQ_API_KEY/],
    ];
    const started = performance.now();
    const outcomes = await Promise.all(cases.map(([url]) => check(url, '--timeout', '1')));
    expect(performance.now() - started).toBeLessThan(10_000);
    outcomes.forEach(({ code, out, err }, index) => {
      expect(err).toMatch(cases[index]?.[1] ?? /^$/);
      expect({ code, out }).toEqual({ code: 5, out: '' });
      expect(err).not.toContain(KEY);
    });
  });

  it('refuses wrong input all at once, and a prefix that is taken', async () => {
    const { code, out, err } = await runHere([
      ...['check-owlmq', '--only', 'publish,nothing', '--prefix', 'a b', '--timeout', '0', '--lease', '1.5'],
      ...['--restart', '--restart-command', 'true', '--output', 'xml'],
    ]);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    for (const problem of ['nothing', '--prefix', '--timeout', '--lease', '--restart', '--output', 'OWLMQ_URL']) {
      expect(err).toContain(problem);
    }
    expect(await check(server.url, '--restart')).toMatchObject({
      code: 2,
      err: expect.stringContaining('there is none: give --restart-command') as string,
    });
    const args = ['--only', 'topics.create', '--prefix', 'taken'];
    expect(await check(server.url, ...args)).toMatchObject({ code: 0 });
    expect(await check(server.url, ...args)).toMatchObject({
      code: 4,
      out: '',
      err: expect.stringContaining('give another --prefix') as string,
    });
  });

  it('asks a person for the restart, and does without when there was none', async () => {
    const data = join(folder, 'asked');
    let own = await startOwlmqLocal({ data, apiKeys: [KEY] });
    onTestFinished(() => own.close());
    const port = Number(new URL(own.url).port);
    const args = argsFor(own.url, '--only', 'restart', '--restart');
    const declined = parsed(await runHere(args, () => Promise.resolve('')));
    expect(resultOf(declined, 'restart.answers')).toBe('skipped: the answer was not "done"');
    expect(resultOf(declined, 'restart.members')).toBe('skipped: needs restart.answers, which is skipped');
    const done = await runHere(args, async (question) => {
      expect(question).toContain('Restart OwlMQ now');
      await own.close();
      own = await startOwlmqLocal({ data, apiKeys: [KEY], port });
      return 'done';
    });
    expect(parsed(done)).toMatchObject({ broken: 0, skipped: 0 });
    expect(done.code).toBe(0);
    const failed = parsed(await check(own.url, '--only', 'restart', '--restart-command', 'exit 7'));
    expect(resultOf(failed, 'restart.answers')).toMatch(/^broken: .*exit code 7$/);
  });

  it('lists its checks, each with the place in the contract that it comes from', async () => {
    const { code, out } = await runHere(['check-owlmq', '--list', '--only', 'ids', '--output', 'json']);
    expect(code).toBe(0);
    expect((JSON.parse(out) as { name: string }[]).map(({ name }) => name)).toEqual(
      expect.arrayContaining(['topics.create', 'publish.written', 'ids.concurrent']),
    );
    const contract = await readFile(join(root, 'openapi', 'owlmq.yaml'), 'utf8');
    for (const { name, section, expected } of allChecks) {
      const place = new RegExp(`^ +(## ${section}(:.*)?|operationId: ${section}|${section}:)$`, 'm');
      expect(contract, name).toMatch(place);
      expect(expected, name).toMatch(/^[^A-Z].*[^.]$/);
    }
    expect(new Set(allChecks.map(({ name }) => name)).size).toBe(allChecks.length);
  });
});

/** An owlmq-local in a process of its own, with the command that kills it and starts it again at the same address. */
async function killable(): Promise<{ url: string; command: string; stop: () => Promise<void> }> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  const [pidFile, script] = [join(folder, 'pid'), join(folder, 'start.sh')];
  const bin = join(root, 'packages', 'owlmq-local', 'bin', 'owlmq-local.js');
  const start = `'${process.execPath}' '${bin}' --port ${port} --data '${join(folder, 'killed')}' --log-level silent`;
  await writeFile(script, `OWLMQ_API_KEY=${KEY} ${start} >/dev/null 2>&1 &\necho $! > '${pidFile}'\n`);
  await promisify(execFile)('sh', [script]);
  const url = `http://127.0.0.1:${port}`;
  await until('owlmq-local answers', async () => (await fetch(`${url}/healthz`).catch(() => undefined))?.ok === true);
  const stop = async (): Promise<void> => {
    process.kill(Number(await readFile(pidFile, 'utf8')), 'SIGKILL');
  };
  return { url, command: `kill -KILL $(cat '${pidFile}'); sh '${script}'`, stop };
}
