import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Log } from './fetch/progress.js';
import { stopGroup } from './process/guarded-process.js';
import { withOwnerLock } from './process/owner-lock.js';
import { isAlive } from './process/process-identity.js';
import { StateFile, type ServerState } from './run/state-file.js';

/** A server that was started in a data folder. */
export type RunningServer = Pick<ServerState, 'id' | 'title' | 'pid' | 'ports' | 'since' | 'logFile'> & {
  /** False when it has ended without having been stopped. */
  readonly alive: boolean;
};

/** What was started in a data folder and not stopped since, in the order of starting. */
export async function runningServers(dataDir: string): Promise<RunningServer[]> {
  const servers = await new StateFile(resolve(dataDir)).read();
  return Promise.all(servers.map(async (server) => ({ ...server, alive: await isAlive(server) })));
}

/**
 * Ends what runs on a data folder, last started first. With `reset` its data goes too.
 * @throws FolderBusyError when a start is under way there
 */
export async function stopEngines(dataDir: string, options: { reset: boolean; log: Log }): Promise<void> {
  const folder = resolve(dataDir);
  if (!existsSync(folder)) return;
  await withOwnerLock(join(folder, 'lock'), { waitMs: 0 }, async () => {
    const state = new StateFile(folder);
    for (const server of (await state.read()).reverse()) {
      const alive = await isAlive(server);
      await stopGroup(server, server.graceMs);
      await state.remove(server.id);
      options.log(alive ? `${server.title} stopped.` : `${server.title} had already ended.`);
    }
    if (options.reset) await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  });
}
