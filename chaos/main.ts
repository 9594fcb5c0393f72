#!/usr/bin/env node
import { randomInt } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DiskFullError, EngineStartError, EngineUnavailableError } from '../engines/errors.js';
import { makeOwnedFolder } from '../engines/process/owned-folder.js';
import { runChaos } from './chaos-run.js';
import { ChaosDisplay } from './display.js';
import { longPace } from './pace.js';
import { reportText } from './report.js';

interface ChaosCommand {
  minutes: number;
  seed: number;
  publishers: number;
  rate: number;
  audit: boolean;
  json?: string;
  keep: boolean;
  verbose: boolean;
}

const display = new ChaosDisplay();

async function chaos({ minutes, json, keep, verbose, ...options }: ChaosCommand, signal: AbortSignal): Promise<void> {
  const folder = await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq-chaos');
  let keepFolder = true;
  try {
    display.line(`seed ${options.seed}; data, logs and outcomes: ${folder}`);
    const report = await runChaos({
      ...options,
      ...{ forMs: minutes * 60_000, pace: longPace, folder, signal },
      log: (line) => {
        display.line(line);
      },
      onEvent: (event) => {
        if (verbose) display.event(event);
      },
      onProgress: (progress) => {
        display.progress(progress);
      },
    });
    display.line(reportText(report));
    if (json !== undefined) await writeFile(json, `${JSON.stringify(report, null, 2)}\n`);
    if (!report.clean) process.exitCode = 1;
    keepFolder = keep || !report.clean;
  } finally {
    if (keepFolder && !signal.aborted) display.line(`All that was written down is in ${folder} until the next run.`);
    else await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('must be a number above 0.');
  return value;
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('must be a whole number from 0.');
  return value;
}

class Interrupted extends Error {
  override readonly name = 'Interrupted';
  constructor(readonly signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP') {
    super(`ended by ${signal}`);
  }
}

const abort = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // A terminal sends its Ctrl-C to npm too, which passes it on: it may come twice.
  process.on(signal, () => {
    if (!abort.signal.aborted) display.line('Ending everything that was started …');
    abort.abort(new Interrupted(signal));
  });
}

const program = new Command('chaos')
  .description('Publishers in processes of their own under seeded faults, on engines of its own, with a checker.')
  .option('--minutes <n>', 'how long faults go on', positive, 5)
  .option('--seed <n>', 'seed of messages, routing states and faults', whole, randomInt(1_000_000))
  .option('--publishers <n>', 'publisher processes', positive, 3)
  .option('--rate <n>', 'messages a second of all publishers together', positive, 400)
  .option('--no-audit', 'run no audit: the checker must then find copies missing')
  .addOption(new Option('--json <file>', 'write the report to a file'))
  .option('--keep', 'keep data, logs and outcomes also when nothing was found', false)
  .option('--verbose', 'show each routing state and fault', false)
  .action((options: ChaosCommand) => chaos(options, abort.signal));

const expected = [EngineUnavailableError, EngineStartError, DiskFullError];
try {
  await program.parseAsync();
} catch (error) {
  // What was asked for is the reason, whichever wait it cut short.
  const reason: unknown = abort.signal.aborted ? abort.signal.reason : error;
  if (!(reason instanceof Interrupted)) {
    const known = expected.some((type) => reason instanceof type);
    display.line(
      reason instanceof Error ? ((known ? reason.message : reason.stack) ?? reason.message) : String(reason),
    );
  }
  process.exitCode = reason instanceof Interrupted ? 128 + constants.signals[reason.signal] : 1;
}
if (abort.signal.aborted) display.line('Nothing is left running.');
