import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { hasCode } from '../errors.js';

const run = promisify(execFile);

/** A process that is told apart from a later one that got the same pid. */
export interface ProcessId {
  readonly pid: number;
  /** When the process started, in the system's own notation; never compared across machines. */
  readonly startedAt: string;
}

/** Identity of a live process; undefined when there is none (a zombie has ended, so it counts as none). */
export async function identify(pid: number): Promise<ProcessId | undefined> {
  const startedAt = process.platform === 'linux' ? await startedAtOnLinux(pid) : await startedAtElsewhere(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** Whether this very process, and not a later one with its pid, is alive. */
export async function isAlive(process: ProcessId): Promise<boolean> {
  return (await identify(process.pid))?.startedAt === process.startedAt;
}

/** Identity of the process that runs this code. */
export async function identifySelf(): Promise<ProcessId> {
  const self = await identify(process.pid);
  if (self === undefined) throw new Error('the system does not show this process');
  return self;
}

async function startedAtOnLinux(pid: number): Promise<string | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH')) return undefined;
    throw error;
  }
  // The second field is the program's name in brackets and may contain anything; the fixed fields follow the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, ticks] = [fields[0], fields[19]];
  if (state === 'Z' || state === 'X' || ticks === undefined) return undefined;
  // Ticks count from boot: without the boot's id a process of before a reboot could look like one of today.
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  return `${boot}/${ticks}`;
}

async function startedAtElsewhere(pid: number): Promise<string | undefined> {
  try {
    const { stdout } = await run('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { timeout: 10_000 });
    const line = stdout.trim();
    return line === '' || line.startsWith('Z') ? undefined : line.replace(/^\S+\s+/, '');
  } catch (error) {
    // `ps` exits 1 when no process has this pid.
    if (error instanceof Error && 'code' in error && error.code === 1) return undefined;
    throw error;
  }
}
