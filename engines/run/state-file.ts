import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { EngineConfigError, hasCode } from '../errors.js';

const serverState = z.object({
  id: z.string(),
  title: z.string(),
  pid: z.int().positive(),
  startedAt: z.string(),
  ports: z.record(z.string(), z.int()),
  fingerprint: z.string(),
  graceMs: z.number(),
  logFile: z.string(),
  /** Wall clock, ISO 8601, for people. */
  since: z.string(),
});

const stateFile = z.object({ version: z.literal(1), servers: z.array(serverState) });

/** A server that was started in a data folder, and may or may not still run. */
export type ServerState = z.infer<typeof serverState>;

/** The servers started in a data folder, in the order they were started. Holds no secret. */
export class StateFile {
  private readonly file: string;
  /** Changes follow one another: each rewrites what the one before has written. */
  private last: Promise<void> = Promise.resolve();

  constructor(folder: string) {
    this.file = join(folder, 'state.json');
  }

  /** @throws EngineConfigError when the file is there but not one of ours. */
  async read(): Promise<ServerState[]> {
    let text: string;
    try {
      text = await readFile(this.file, 'utf8');
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return [];
      throw error;
    }
    try {
      return stateFile.parse(JSON.parse(text)).servers;
    } catch (cause) {
      throw new EngineConfigError(`${this.file} is damaged: end what it lists by hand, then delete it.`, { cause });
    }
  }

  async put(server: ServerState): Promise<void> {
    await this.change((servers) => [...servers.filter(({ id }) => id !== server.id), server]);
  }

  async remove(id: string): Promise<void> {
    await this.change((servers) => servers.filter((server) => server.id !== id));
  }

  private change(edit: (servers: ServerState[]) => ServerState[]): Promise<void> {
    const changed = this.last.then(async () => this.write(edit(await this.read())));
    this.last = changed.catch(() => undefined); // The caller sees the failure; the next change starts from the file.
    return changed;
  }

  private async write(servers: ServerState[]): Promise<void> {
    if (servers.length === 0) {
      await rm(this.file, { force: true });
      return;
    }
    // A reader, or the next run after a crash, sees the old file or the new one, never half of one.
    const next = `${this.file}.next`;
    await writeFile(next, JSON.stringify({ version: 1, servers }, null, 2));
    await rename(next, this.file);
  }
}
