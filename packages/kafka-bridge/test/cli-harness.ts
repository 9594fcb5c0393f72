import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CliIo } from '../src/cli/cli-io.js';
import { runCli } from '../src/cli/run-cli.js';

const folder = join(import.meta.dirname, '..');

/** The command as it is installed: it runs what was built. */
export const BIN = join(folder, 'bin', 'kafka-bridge.js');

/** How a command ended. */
export interface CliOutcome {
  code: number | null;
  out: string;
  err: string;
}

/** Runs the command in this process, with a person who answers if `ask` is given. */
export async function runHere(
  args: string[],
  ask?: CliIo['ask'],
  io: Partial<Pick<CliIo, 'reachWithinMs' | 'onInterrupt'>> = {},
): Promise<CliOutcome> {
  const outcome: CliOutcome = { code: null, out: '', err: '' };
  outcome.code = await runCli(args, {
    out: (text) => (outcome.out += text),
    err: (text) => (outcome.err += text),
    columns: undefined,
    ask,
    onInterrupt: () => () => undefined,
    ...io,
  });
  return outcome;
}

/** Ctrl-C for a command that runs in this process. */
export class Interrupt {
  readonly #listeners = new Set<() => void>();

  readonly onInterrupt: CliIo['onInterrupt'] = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  send(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** A command in a process of its own, as a user runs it, without a terminal. */
export class CliProcess {
  readonly ended: Promise<CliOutcome>;
  /** Told of what it prints, as it comes. */
  onOut: (text: string) => void = () => undefined;
  readonly #child: ChildProcess;

  constructor(args: string[], env: NodeJS.ProcessEnv = {}, bin = BIN) {
    if (!existsSync(join(folder, 'dist', 'cli', 'kafka-bridge.js'))) throw new Error('Run npm run build first.');
    this.#child = spawn(process.execPath, [bin, ...args], {
      env: { PATH: process.env['PATH'], KAFKA_BROKERS: process.env['KAFKA_BROKERS'], ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const outcome: CliOutcome = { code: null, out: '', err: '' };
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      outcome.out += chunk.toString();
      this.onOut(chunk.toString());
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => (outcome.err += chunk.toString()));
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code) => {
        resolve({ ...outcome, code });
      });
    });
  }

  /** Ctrl-C. */
  interrupt(): void {
    this.#child.kill('SIGINT');
  }

  /** kill -9. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** Runs the built command to its end. */
export async function runBuilt(args: string[], env: NodeJS.ProcessEnv = {}): Promise<CliOutcome> {
  return await new CliProcess(args, env).ended;
}
