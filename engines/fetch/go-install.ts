import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { onPath, runLong } from '../process/run-command.js';

/** A program of a Go module. */
export interface GoProgram {
  readonly module: string;
  /** Its folder in the module; the last part is the program's name. */
  readonly program: string;
  readonly version: string;
  /** For the linker, besides those that drop debug information. */
  readonly ldflags: string;
}

/**
 * Builds a program into `folder` with the user's own Go: its proxy and cache apply.
 * @throws Error when there is no Go, or it fails.
 */
export async function installWithGo(what: GoProgram, folder: string, signal?: AbortSignal): Promise<void> {
  const go = await onPath('go');
  if (go === undefined) throw new Error('Go is not on PATH');
  const logFile = join(folder, 'go.log');
  await runLong(
    {
      file: go,
      args: ['install', '-ldflags', `-s -w ${what.ldflags}`, `${what.module}/${what.program}@v${what.version}`],
      env: { GOBIN: folder, CGO_ENABLED: '0' },
      cwd: folder,
    },
    { name: 'go install', logFile, signal, timeoutMs: 20 * 60_000, removeIfKilled: folder },
  );
  await rm(logFile);
}
