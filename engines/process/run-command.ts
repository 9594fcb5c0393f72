import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { GuardedProcess, type Command } from './guarded-process.js';

/** First program of this name on PATH that may be executed. */
export async function onPath(program: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? '').split(delimiter).filter((entry) => entry !== '')) {
    const file = join(folder, program);
    if (await isExecutable(file)) return file;
  }
  return undefined;
}

/** Whether `file` is a file that may be executed. */
export async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false; // Absent, hidden or forbidden: in each case it is no program for us.
  }
}

/**
 * What a quick command prints, both streams together.
 * @throws Error when it exits non-zero or takes longer than 10 s.
 */
export async function outputOf(file: string, args: readonly string[]): Promise<string> {
  const { all } = await execa(file, args, { all: true, timeout: 10_000, stdin: 'ignore' });
  return all;
}

export interface LongCommandOptions {
  readonly name: string;
  readonly logFile: string;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs: number;
  /** Called every half second; a text ends the command with that text as the reason. */
  readonly giveUp?: () => Promise<string | undefined>;
  /** Removed if this process dies before the command ends. */
  readonly removeIfKilled?: string;
}

/**
 * Runs a command that may take minutes, and ends it with all it started when it takes too long, is aborted, or this
 * process dies.
 * @throws Error with the end of its output when it fails.
 */
export async function runLong(command: Command, options: LongCommandOptions): Promise<void> {
  options.signal?.throwIfAborted();
  const started = await GuardedProcess.start(command, {
    ...options,
    graceMs: 2_000,
    removeIfOrphaned: options.removeIfKilled,
  });
  const deadline = performance.now() + options.timeoutMs;
  try {
    for (;;) {
      const ending = await Promise.race([started.ended, delay(500, undefined, { signal: options.signal })]);
      if (ending !== undefined) {
        if ('code' in ending && ending.code === 0) return;
        const how = 'code' in ending ? `exited with ${ending.code}` : `was ended by ${ending.signal}`;
        throw new Error(`${options.name} ${how}: ${(await started.log()).tail}`);
      }
      const reason =
        performance.now() >= deadline
          ? `took longer than ${Math.round(options.timeoutMs / 1_000)} s`
          : await options.giveUp?.();
      if (reason !== undefined) throw new Error(`${options.name} ${reason}`);
    }
  } finally {
    await started.stop();
  }
}
