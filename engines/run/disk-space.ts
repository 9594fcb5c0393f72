import { mkdir, statfs } from 'node:fs/promises';
import { DiskFullError } from '../errors.js';

const GIB = 1024 ** 3;

/**
 * Makes the folder, and makes sure that its file system has room for what comes.
 * @throws DiskFullError when less than `gib` (1 unless given) is free.
 */
export async function requireFreeSpace(folder: string, gib = 1): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { bavail, bsize } = await statfs(folder);
  const free = (bavail * bsize) / GIB;
  if (free < gib) {
    throw new DiskFullError(
      `${folder} has ${free.toFixed(2)} GiB free, ${gib} GiB are needed. Free some space, or choose another disk ` +
        '(ENGINES_CACHE for fetched programs, TMPDIR for the data of tests and the demo).',
    );
  }
}
