#!/usr/bin/env node
import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { Command } from 'commander';
import { InvalidInputError, type MigrationInput, parseMigrationInput } from '@owlmq/kafka-bridge/playbook';
import { runProgram, untilInterrupted, whole } from '../demo/command-line.js';
import { DiskFullError, EngineUnavailableError } from '../engines/errors.js';
import { Progress } from '../engines/fetch/progress.js';
import { findTestServer } from '../engines/find/test-server.js';
import { readVersions, rehearsalReport, writeReport } from './evidence/report.js';
import { installQuietRuntime } from './quiet-runtime.js';
import { rehearse, RehearsalStuckError } from './rehearse.js';
import { runRehearsalWorker } from './rehearsal-worker.js';
import { TooMuchTrafficError } from './traffic.js';

const EXAMPLE: MigrationInput = {
  topics: ['orders.created'],
  groups: ['payment-service', 'notification-service'],
};

/** The file with the input cannot be used. */
class InputFileError extends Error {
  override readonly name = 'InputFileError';
}

interface RehearseCommand {
  input?: string;
  out: string;
  seed: number;
  json: boolean;
  worker: boolean;
}

const log = (line: string): void => {
  console.error(line);
};

async function main({ input: file, out, seed, json, worker }: RehearseCommand, signal: AbortSignal): Promise<void> {
  // Ctrl-C ends everything in order: see `untilInterrupted`.
  installQuietRuntime({ shutdownSignals: [] });
  if (worker) {
    await runRehearsalWorker({ seed, signal, log });
    return;
  }
  const input = file === undefined ? EXAMPLE : await readInput(file);
  // Before anything is fetched or started.
  parseMigrationInput(input);
  const testServer = await findTestServer(new Progress(log), signal);
  log(`seed ${seed}; ${file ?? 'the example of the README'}, every step against a model`);
  const workflowBundle = await bundleWorkflowCode({
    workflowsPath: path.join(import.meta.dirname, '..', 'src', 'workflows', 'index.js'),
    workflowInterceptorModules: [path.join(import.meta.dirname, 'without-heartbeat-timeouts.js')],
    logger: new DefaultLogger('ERROR'),
  });
  const scenarios = await rehearse({ input, seed, testServer, workflowBundle, signal, log });
  const report = rehearsalReport(seed, scenarios, await readVersions());
  const files = await writeReport(out, 'rehearsal', report);
  log(`${report.ok ? 'Passed' : 'NOT PASSED'}: ${files.join(', ')}`);
  if (json) console.log(JSON.stringify(report, null, 2));
  if (!report.ok) process.exitCode = 1;
}

async function readInput(file: string): Promise<MigrationInput> {
  try {
    // Whatever else is in it, its schema says.
    return JSON.parse(await readFile(file, 'utf8')) as MigrationInput;
  } catch (error) {
    throw new InputFileError(`${file}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

const signal = untilInterrupted(log);
const program = new Command('rehearse')
  .description(
    'Runs the whole playbook with your input on a skipped clock against a model, cancels a cutover, rolls back, and writes what happened.',
  )
  .option('--input <file>', "JSON as the workflow takes it; else the README's example")
  .option('--out <folder>', 'where rehearsal.md and rehearsal.json are written', 'rehearsal-report')
  .option('--seed <n>', 'seed of what the model does', whole, randomInt(1_000_000))
  .option('--json', 'print the report to standard output too', false)
  .option('--worker', 'instead serve rehearsals that are started by hand, on the clock of the wall', false)
  .action((options: RehearseCommand) => main(options, signal));

const expected = [InvalidInputError, InputFileError, RehearsalStuckError, TooMuchTrafficError];
await runProgram(program, { signal, expected: [...expected, EngineUnavailableError, DiskFullError], log });
