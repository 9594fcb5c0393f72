import { createHash } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { identify, identifySelf } from './process-identity.js';

let made = 0;

/**
 * Makes a folder in `parent` whose name says which process it belongs to, so that a later run can tell whether that one
 * is dead. Folders of the same prefix whose owners are dead are removed first.
 */
export async function makeOwnedFolder(parent: string, prefix: string): Promise<string> {
  await removeOrphans(parent, prefix);
  const { pid, startedAt } = await identifySelf();
  const folder = join(parent, `${prefix}-${pid}-${shortHash(startedAt)}-${++made}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}

async function removeOrphans(parent: string, prefix: string): Promise<void> {
  for (const entry of await readdir(parent)) {
    const [pid, hash, count] = entry.startsWith(`${prefix}-`) ? entry.slice(prefix.length + 1).split('-') : [];
    if (!/^\d+$/.test(pid ?? '') || count === undefined) continue;
    const owner = await identify(Number(pid));
    if (owner !== undefined && shortHash(owner.startedAt) === hash) continue;
    await rm(join(parent, entry), { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}
