import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

/** Writes a generated file. With --check it writes nothing, and the process fails when the file is stale. */
export async function writeGenerated(file, text) {
  if (!process.argv.includes('--check')) {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
    return;
  }
  const present = await readFile(file, 'utf8').catch(() => '');
  if (present === text) return;
  process.stderr.write(
    `${basename(file)} is stale: run \`npm run build && npm run generate\` and commit the result.\n`,
  );
  process.exitCode = 1;
}
