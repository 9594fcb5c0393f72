import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { FolderBusyError, hasCode } from '../errors.js';
import { identifySelf, isAlive, type ProcessId } from './process-identity.js';

export interface LockOptions {
  /** How long to wait for another live owner; 0 refuses at once. */
  readonly waitMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Called once when another owner holds the lock. */
  readonly onWait?: (owner: ProcessId) => void;
}

/**
 * Runs `work` while a lock file names this process as its owner. A lock whose owner is dead is taken over.
 * Should a process die in the instant in which it takes over, two of those that come next at once can both enter: the
 * work must stay correct then, and only be wasteful.
 * @throws FolderBusyError when another live process holds it past `waitMs`.
 */
export async function withOwnerLock<T>(file: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  const self = await identifySelf();
  const until = performance.now() + options.waitMs;
  let told = false;
  while (!(await acquire(file, self))) {
    let owner = await ownerOf(file);
    if (owner === 'dead') owner = await removeDeadLock(file, self);
    if (owner === 'nobody') continue;
    if (performance.now() >= until) throw new FolderBusyError(`process ${owner.pid} is at work there (${file})`);
    if (!told) options.onWait?.(owner);
    told = true;
    await delay(200, undefined, { signal: options.signal });
  }
  try {
    return await work();
  } finally {
    await rm(file, { force: true });
  }
}

async function acquire(file: string, self: ProcessId): Promise<boolean> {
  try {
    await writeFile(file, JSON.stringify(self), { flag: 'wx' });
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/**
 * Takes a dead owner's lock away, one process at a time: a lock that was found dead may have been taken over since, and
 * then it is another's.
 *
 * @returns whom to wait for: nobody, or the process that takes it away just now.
 */
async function removeDeadLock(file: string, self: ProcessId): Promise<ProcessId | 'nobody'> {
  const guard = `${file}.takeover`;
  if (!(await acquire(guard, self))) {
    const other = await ownerOf(guard);
    if (other !== 'dead') return other;
    await rm(guard, { force: true });
    return 'nobody';
  }
  try {
    if ((await ownerOf(file)) === 'dead') await rm(file, { force: true });
    return 'nobody';
  } finally {
    await rm(guard, { force: true });
  }
}

/** The living owner that a lock file names; nobody where there is no file, dead where it was never written out, too. */
async function ownerOf(file: string): Promise<ProcessId | 'nobody' | 'dead'> {
  const owner = await writtenOwner(file);
  if (owner === undefined) return 'dead';
  return owner === 'nobody' || (await isAlive(owner)) ? owner : 'dead';
}

async function writtenOwner(file: string): Promise<ProcessId | 'nobody' | undefined> {
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      const text = await readFile(file, 'utf8');
      if (text !== '') return JSON.parse(text) as ProcessId;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return 'nobody';
      if (!(error instanceof SyntaxError)) throw error;
    }
    // Created, not yet written: its owner is between two system calls, or died there.
    await delay(50);
  }
  return undefined;
}
