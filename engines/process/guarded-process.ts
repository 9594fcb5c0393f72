import { spawn } from 'node:child_process';
import { open, rename } from 'node:fs/promises';
import { Socket } from 'node:net';
import { dirname } from 'node:path';
import { finished } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineStartError, hasCode } from '../errors.js';
import { identify, isAlive, type ProcessId } from './process-identity.js';

/** What to run. Secrets go into `env`, never into `args`. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface GuardOptions {
  /** Name for errors. */
  readonly name: string;
  /** Both output streams go here; the log of the run before is kept beside it with the suffix `.1`. */
  readonly logFile: string;
  /** How long a stop waits between SIGTERM and SIGKILL. */
  readonly graceMs: number;
  /** Folder that the guard removes when this process dies; its parent too if that leaves it empty. */
  readonly removeIfOrphaned?: string | undefined;
}

/** How a process ended. */
export type Ending = { readonly code: number } | { readonly signal: NodeJS.Signals };

/**
 * The program is its own process group, with a small shell in it that reads from a pipe whose other end only this
 * process holds. When this process ends in any way, SIGKILL included, the system closes the pipe and the shell ends the
 * group: SIGTERM, then SIGKILL after the grace. The word `release` on the pipe lets the program live on by itself, `end`
 * ends what the program may have left in its group.
 * `$$` stays the program's pid after `exec`, and that number cannot be given to another process while the group has a
 * member, which the guard is.
 */
const guardScript = `
(
  trap '' HUP INT TERM
  PATH=/usr/bin:/bin
  if read -r word <&3; then
    if [ "$word" = release ]; then exit 0; fi
    GUARD_REMOVE=
  fi
  kill -s TERM -- -$$ 2>/dev/null
  waited=0
  while kill -0 $$ 2>/dev/null && [ "$waited" -lt "$GUARD_GRACE_TENTHS" ]; do sleep 0.1; waited=$((waited + 1)); done
  kill -s KILL $$ 2>/dev/null
  if [ -n "$GUARD_REMOVE" ]; then rm -rf -- "$GUARD_REMOVE"; rmdir -- "$GUARD_REMOVE_PARENT" 2>/dev/null; fi
  kill -s KILL -- -$$
) &
exec 3<&-
unset GUARD_GRACE_TENTHS GUARD_REMOVE GUARD_REMOVE_PARENT
exec "$@"`;

/** A program that never outlives this process, unless it is released. */
export class GuardedProcess {
  private constructor(
    readonly id: ProcessId,
    /** Settles when the program has ended. */
    readonly ended: Promise<Ending>,
    private readonly pipe: Socket,
    private readonly options: GuardOptions,
  ) {}

  /** @throws EngineStartError when the program cannot be run at all. */
  static async start(command: Command, options: GuardOptions): Promise<GuardedProcess> {
    await keepPreviousLog(options.logFile);
    const log = await open(options.logFile, 'a', 0o600);
    try {
      const child = spawn('/bin/sh', ['-c', guardScript, 'guard', command.file, ...command.args], {
        detached: true,
        cwd: command.cwd,
        stdio: ['ignore', log.fd, log.fd, 'pipe'],
        env: {
          ...process.env,
          ...command.env,
          GUARD_GRACE_TENTHS: String(Math.ceil(options.graceMs / 100)),
          GUARD_REMOVE: options.removeIfOrphaned ?? '',
          GUARD_REMOVE_PARENT: options.removeIfOrphaned === undefined ? '' : dirname(options.removeIfOrphaned),
        },
      });
      const ended = new Promise<Ending>((resolve, reject) => {
        child.once('error', reject);
        child.once('exit', (code, signal) => {
          resolve(signal === null ? { code: code ?? 0 } : { signal });
        });
      });
      const pipe = child.stdio[3];
      const id = child.pid === undefined ? undefined : await identify(child.pid);
      if (id === undefined || !(pipe instanceof Socket)) {
        const cause = await ended.then(
          () => undefined,
          (error: unknown) => error,
        );
        throw new EngineStartError(options.name, 'could not be run', await readLog(options.logFile), { cause });
      }
      // The guard's end closes when it has done its work; what is lost then is only a pipe that no one needs.
      pipe.on('error', () => undefined);
      // Neither handle keeps this process alive: one that forgets to stop its engines ends, and they with it.
      child.unref();
      pipe.unref();
      const guarded = new GuardedProcess(id, ended, pipe, options);
      ended.then(
        () => pipe.end('end\n'),
        () => pipe.end('end\n'),
      );
      return guarded;
    } finally {
      await log.close();
    }
  }

  /** Lets the program outlive this process. */
  async release(): Promise<void> {
    this.pipe.end('release\n');
    await finished(this.pipe, { readable: false });
  }

  /** The last lines of the log. */
  async log(): Promise<{ file: string; tail: string }> {
    return readLog(this.options.logFile);
  }

  /** Signals the program, if it still lives; the guard goes on watching. */
  async signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    if (await isAlive(this.id)) ignoringEnded(() => process.kill(this.id.pid, signal));
  }

  /** Ends the program: SIGTERM, then SIGKILL after the grace. Safe to call more than once. */
  async stop(): Promise<void> {
    await stopGroup(this.id, this.options.graceMs);
    if (!this.pipe.writableEnded) this.pipe.end('end\n');
  }
}

/** Ends a process started as a group leader, if it still lives: SIGTERM, then SIGKILL after `graceMs`. */
export async function stopGroup(id: ProcessId, graceMs: number): Promise<void> {
  if (!(await isAlive(id))) return;
  signalGroup(id.pid, 'SIGTERM');
  if (await endsWithin(id, graceMs)) return;
  signalGroup(id.pid, 'SIGKILL');
  if (!(await endsWithin(id, 10_000))) throw new Error(`process ${id.pid} is still there 10 s after SIGKILL`);
}

async function endsWithin(id: ProcessId, ms: number): Promise<boolean> {
  const until = performance.now() + ms;
  while (await isAlive(id)) {
    if (performance.now() >= until) return false;
    await delay(25);
  }
  return true;
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  ignoringEnded(() => process.kill(-pid, signal));
}

function ignoringEnded(send: () => void): void {
  try {
    send();
  } catch (error) {
    // It ended by itself in between, which is what was wanted.
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}

async function keepPreviousLog(logFile: string): Promise<void> {
  try {
    await rename(logFile, `${logFile}.1`);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}

async function readLog(file: string): Promise<{ file: string; tail: string }> {
  const log = await open(file);
  try {
    const { size } = await log.stat();
    const length = Math.min(size, 8_192);
    const { buffer } = await log.read(Buffer.alloc(length), 0, length, size - length);
    return { file, tail: buffer.toString('utf8').trimEnd().split('\n').slice(-20).join('\n') };
  } finally {
    await log.close();
  }
}
