import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { hasCode } from '../errors.js';
import { makeOwnedFolder } from '../process/owned-folder.js';
import { withOwnerLock } from '../process/owner-lock.js';
import { requireFreeSpace } from '../run/disk-space.js';
import type { Log } from './progress.js';

/** Fetched programs live here, outside every checkout, so that all of them share one copy. */
export function cacheFolder(): string {
  const { ENGINES_CACHE, XDG_CACHE_HOME } = process.env;
  if (ENGINES_CACHE) return ENGINES_CACHE;
  return join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'kafka-to-owlmq');
}

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined;
  readonly log: Log;
}

/**
 * The folder `name` of the cache, filled by `fill` if it is not there yet. It appears whole or not at all, two processes
 * do not fetch the same thing at once, and what a killed fetch left is removed by the next.
 * @throws DiskFullError, and whatever `fill` throws.
 */
export async function fetchIntoCache(
  name: string,
  options: FetchOptions,
  fill: (folder: string) => Promise<void>,
): Promise<string> {
  const cache = cacheFolder();
  const wanted = join(cache, name);
  if (existsSync(wanted)) return wanted;
  await requireFreeSpace(cache);
  const lock = {
    waitMs: 15 * 60_000,
    signal: options.signal,
    onWait: ({ pid }: { pid: number }) => {
      options.log(`Process ${pid} is already fetching ${name}: waiting for it.`);
    },
  };
  return withOwnerLock(join(cache, `${name}.lock`), lock, async () => {
    if (existsSync(wanted)) return wanted;
    const partial = await makeOwnedFolder(cache, `${name}.partial`);
    try {
      await fill(partial);
      options.signal?.throwIfAborted();
      await publish(partial, wanted);
    } finally {
      await rm(partial, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    }
    return wanted;
  });
}

async function publish(partial: string, wanted: string): Promise<void> {
  try {
    await rename(partial, wanted);
  } catch (error) {
    // Another process finished the same fetch first: its copy is as good.
    if (!hasCode(error, 'ENOTEMPTY') && !hasCode(error, 'EEXIST')) throw error;
  }
}
