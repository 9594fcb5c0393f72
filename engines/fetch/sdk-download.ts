import { chmod, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { checkoutRoot } from '../checkout.js';
import { runLong } from '../process/run-command.js';

/** A download that brings no byte for so long is given up: a closed network must not hold anyone up. */
const STALL_MS = 20_000;

/**
 * Puts a server that the Temporal SDK can download into `folder` under the name `program`.
 * @throws Error when the SDK cannot download it, or the download stalls.
 */
export async function downloadWithSdk(
  kind: 'local' | 'time-skipping',
  version: string,
  folder: string,
  program: string,
  signal?: AbortSignal,
): Promise<void> {
  const download = join(folder, 'download');
  const logFile = join(folder, 'download.log');
  await mkdir(download);
  const script = join(checkoutRoot, 'engines', 'fetch', 'sdk-download.mjs');
  let size = 0;
  let lastGrowth = performance.now();
  const stalled = async () => {
    const now = await sizeOf(download);
    if (now > size) lastGrowth = performance.now();
    size = now;
    const silent = performance.now() - lastGrowth >= STALL_MS;
    return silent ? `was given up: nothing came for ${STALL_MS / 1_000} s` : undefined;
  };
  await runLong(
    { file: process.execPath, args: [script, kind, download, `v${version}`] },
    { name: 'the download', logFile, signal, timeoutMs: 10 * 60_000, giveUp: stalled, removeIfKilled: folder },
  );
  const [file, ...others] = await readdir(download);
  if (file === undefined || others.length > 0) throw new Error(`the SDK left ${others.length + 1} files, not one`);
  await rename(join(download, file), join(folder, program));
  await chmod(join(folder, program), 0o755);
  await Promise.all([rm(download, { recursive: true }), rm(logFile)]);
}

async function sizeOf(folder: string): Promise<number> {
  const sizes = (await readdir(folder)).map(async (file) => (await stat(join(folder, file))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
