import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { allChecks, chosenChecks } from '../../contract-check/all-checks.js';
import type { Check } from '../../contract-check/check.js';
import { Endpoint } from '../../contract-check/endpoint.js';
import { recogniseOwlmq, refuseTakenPrefix } from '../../contract-check/recognise.js';
import { runChecks, type FoundByChecks } from '../../contract-check/run-checks.js';
import { parseKey, parseUrl } from '../../owlmq/owlmq-client.js';
import { CliError } from '../cli-error.js';
import type { CliIo } from '../cli-io.js';
import { readOutput, readOwlmq } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { LiveText } from '../live-text.js';
import { textTable } from '../text-table.js';
import { countOf, reportLines, type ContractReport } from './report.js';
import { restartBy } from './restart.js';

interface CheckFlags {
  only?: string;
  list?: boolean;
  prefix?: string;
  restart?: boolean;
  restartCommand?: string;
  lease?: string;
  checkTimeout: string;
  timeout: string;
}

interface CheckRequest {
  checks: readonly Check[];
  prefix: string;
  restartCommand: string | undefined;
  restartByPerson: boolean;
  leaseMs: number | undefined;
  checkTimeoutMs: number;
  timeoutMs: number;
}

const ANSWER_WITHIN_MS = 10_000;

/** What `check-owlmq` does. */
export async function checkOwlmq(command: Command, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const output = readOutput(command, inputs);
  const request = readRequest(command, inputs, io);
  if (command.opts<CheckFlags>().list === true) {
    inputs.settle();
    io.out(listed(request.checks, output));
    return EXIT.ok;
  }
  const owlmq = readOwlmq(command, inputs, io);
  inputs.settle();
  if (owlmq === undefined) return EXIT.input;
  return await run({ ...request, url: parseUrl(owlmq.url), apiKey: parseKey(owlmq.apiKey), output }, io);
}

function readRequest(command: Command, inputs: Inputs, io: CliIo): CheckRequest {
  const given = command.opts<CheckFlags>();
  const only = inputs.list(given.only);
  const { checks, unknown } = only.length === 0 ? { checks: allChecks, unknown: [] } : chosenChecks(only);
  if (unknown.length > 0) inputs.add(`--only names no check: ${unknown.join(', ')}; --list says what there is`);
  const prefix = given.prefix ?? `owlmq-check-${randomBytes(4).toString('hex')}`;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}$/.test(prefix)) {
    inputs.add('--prefix is letters, digits, "-" and "_", up to 100 of them, and begins with a letter or digit');
  }
  const restartByPerson = given.restart === true;
  if (restartByPerson && given.restartCommand !== undefined) {
    inputs.add('--restart and --restart-command exclude each other');
  } else if (restartByPerson && io.ask === undefined) {
    inputs.add('--restart asks on a terminal, and there is none: give --restart-command');
  }
  if (given.restartCommand?.trim() === '') inputs.add('--restart-command is empty');
  const leaseMs = inputs.number('--lease', given.lease, { min: 100, max: 60_000, whole: true });
  const seconds = { min: 1, max: 86_400 };
  const checkTimeoutS = inputs.number('--check-timeout', given.checkTimeout, seconds) ?? 1;
  const timeoutS = inputs.number('--timeout', given.timeout, seconds) ?? 1;
  return {
    ...{ checks, prefix, restartCommand: given.restartCommand, restartByPerson, leaseMs },
    ...{ checkTimeoutMs: checkTimeoutS * 1_000, timeoutMs: timeoutS * 1_000 },
  };
}

function listed(checks: readonly Check[], output: 'table' | 'json'): string {
  if (output === 'json') {
    const all = checks.map(({ name, section, expected, needs }) => ({ name, section, expected, needs }));
    return `${JSON.stringify(all, undefined, 2)}\n`;
  }
  const rows = checks.map(({ name, section, expected }) => [name, section, expected]);
  return `${textTable(['CHECK', 'CONTRACT', 'EXPECTED'], rows).join('\n')}\n`;
}

async function run(
  request: CheckRequest & { url: URL; apiKey: string; output: 'table' | 'json' },
  io: CliIo,
): Promise<ExitCode> {
  const { url, apiKey, prefix, checks, checkTimeoutMs, timeoutMs, output } = request;
  const interrupted = new AbortController();
  const release = io.onInterrupt(() => {
    interrupted.abort();
  });
  const { signal } = interrupted;
  const startedAt = new Date().toISOString();
  const started = performance.now();
  const restart = restartBy({ command: request.restartCommand, person: request.restartByPerson }, io);
  const endpoint = new Endpoint({ url, apiKey, prefix, leaseMs: request.leaseMs, restart });
  const screen = new LiveText(io);
  try {
    await recogniseOwlmq(endpoint, Math.min(ANSWER_WITHIN_MS, timeoutMs), signal);
    await refuseTakenPrefix(endpoint, signal);
    const found = await runChecks({
      ...{ endpoint, checks, checkTimeoutMs, timeoutMs, signal },
      onStart: (check, before) => {
        // A restart asks its question, or shows what its command writes, in the same place.
        if (check.waitsForRestart === true) screen.clear();
        else screen.show([`${before + 1} of ${checks.length}: ${check.name}: ${check.expected}`]);
      },
    });
    screen.clear();
    const report = reportOf(endpoint, found, startedAt, (performance.now() - started) / 1_000);
    if (output === 'json') io.out(`${JSON.stringify(report, undefined, 2)}\n`);
    else io.out(`${reportLines(report).join('\n')}\n`);
    if (signal.aborted) return EXIT.interrupted;
    if (report.broken > 0) return EXIT.differences;
    if (report.complete) return EXIT.ok;
    throw new CliError(EXIT.refused, 'Not all checks had their turn within --timeout: give it more time.');
  } catch (error) {
    if (error === signal.reason) return EXIT.interrupted;
    throw error;
  } finally {
    release();
    await endpoint.close();
  }
}

function reportOf(endpoint: Endpoint, found: FoundByChecks, startedAt: string, seconds: number): ContractReport {
  const { url, prefix, topics, groups } = endpoint;
  const { reports: checks, complete } = found;
  return {
    ...{ url: url.href, prefix, startedAt, seconds, complete },
    ...{ kept: countOf(checks, 'kept'), broken: countOf(checks, 'broken'), skipped: countOf(checks, 'skipped') },
    checks,
    leftBehind: { topics: [...topics].sort(), groups: [...groups].sort() },
  };
}
