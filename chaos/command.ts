import { randomInt } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { Command, Option } from 'commander';
import { positive, runProgram, untilInterrupted, whole } from '../demo/command-line.js';
import { DiskFullError, EngineStartError, EngineUnavailableError } from '../engines/errors.js';
import type { Log } from '../engines/fetch/progress.js';
import { makeOwnedFolder } from '../engines/process/owned-folder.js';
import { ChaosDisplay } from './display.js';
import type { RunEvent } from './run-log.js';

/** What every run is given. */
export interface RunBasics {
  readonly seed: number;
  /** Faults go on for at least this long. */
  readonly forMs: number;
  /** Data, logs and outcomes go there. */
  readonly folder: string;
  readonly log: Log;
  /** Told what the harness does. */
  readonly onEvent: (event: RunEvent) => void;
  /** Told each second how the run goes. */
  readonly onProgress: (elapsedMs: number, parts: readonly string[]) => void;
  /** Ends the run at once. */
  readonly signal: AbortSignal;
}

export interface ChaosCommand<O, R> {
  readonly name: string;
  readonly description: string;
  /** Adds the options that the run has beside the common ones. */
  readonly options: (program: Command) => Command;
  readonly run: (basics: RunBasics, options: O) => Promise<R>;
  readonly text: (report: R) => string;
}

/** Runs chaos from the command line; the exit code is 1 when anything was found. */
export async function chaosCommand<O, R extends { readonly clean: boolean }>(
  command: ChaosCommand<O, R>,
): Promise<void> {
  const display = new ChaosDisplay();
  const log = (line: string): void => {
    display.line(line);
  };
  const signal = untilInterrupted(log);

  const action = async (
    options: O & { minutes: number; seed: number; json?: string; keep: boolean; verbose: boolean },
  ): Promise<void> => {
    const { minutes, seed, json, keep, verbose } = options;
    const folder = await makeOwnedFolder(tmpdir(), `kafka-to-owlmq-${command.name}`);
    let keepFolder = true;
    try {
      log(`seed ${seed}; data, logs and outcomes: ${folder}`);
      const basics: RunBasics = {
        ...{ seed, forMs: minutes * 60_000, folder, log, signal },
        onEvent: (event) => {
          if (verbose) display.event(event);
        },
        onProgress: (elapsedMs, parts) => {
          display.progress(elapsedMs, parts);
        },
      };
      const report = await command.run(basics, options);
      log(command.text(report));
      if (json !== undefined) await writeFile(json, `${JSON.stringify(report, null, 2)}\n`);
      if (!report.clean) process.exitCode = 1;
      keepFolder = keep || !report.clean;
    } finally {
      if (keepFolder && !signal.aborted) log(`All that was written down is in ${folder} until the next run.`);
      else await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    }
  };

  const program = command
    .options(new Command(command.name).description(command.description))
    .option('--minutes <n>', 'how long faults go on', positive, 5)
    .option('--seed <n>', 'seed of messages, decisions and faults', whole, randomInt(1_000_000))
    .addOption(new Option('--json <file>', 'write the report to a file'))
    .option('--keep', 'keep data, logs and outcomes also when nothing was found', false)
    .option('--verbose', 'show each step and fault', false)
    .action(action);
  await runProgram(program, { signal, expected: [EngineUnavailableError, EngineStartError, DiskFullError], log });
}
