#!/usr/bin/env node
import { randomInt } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { Command, Option } from 'commander';
import { positive, runProgram, untilInterrupted, whole } from '../../demo/command-line.js';
import { DiskFullError, EngineStartError, EngineUnavailableError } from '../../engines/errors.js';
import { makeOwnedFolder } from '../../engines/process/owned-folder.js';
import { runChaos } from './run.js';
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
const log = (line: string): void => {
  display.line(line);
};

async function chaos({ minutes, json, keep, verbose, ...options }: ChaosCommand, signal: AbortSignal): Promise<void> {
  const folder = await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq-chaos');
  let keepFolder = true;
  try {
    log(`seed ${options.seed}; data, logs and outcomes: ${folder}`);
    const report = await runChaos({
      ...options,
      ...{ forMs: minutes * 60_000, pace: longPace, folder, log, signal },
      onEvent: (event) => {
        if (verbose) display.event(event);
      },
      onProgress: (progress) => {
        display.progress(progress);
      },
    });
    log(reportText(report));
    if (json !== undefined) await writeFile(json, `${JSON.stringify(report, null, 2)}\n`);
    if (!report.clean) process.exitCode = 1;
    keepFolder = keep || !report.clean;
  } finally {
    if (keepFolder && !signal.aborted) log(`All that was written down is in ${folder} until the next run.`);
    else await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

const signal = untilInterrupted(log);
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
  .action((options: ChaosCommand) => chaos(options, signal));

const expected = [EngineUnavailableError, EngineStartError, DiskFullError];
await runProgram(program, { signal, expected, log });
