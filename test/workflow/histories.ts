import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';

const folder = path.join(import.meta.dirname, '..', 'histories');

type History = ReturnType<typeof historyFromJSON>;

/**
 * Stores a run's history, as JSON that the CLI writes too, for later versions of the code to replay. Only when
 * RECORD_HISTORIES is set: a history belongs to the version of the code that made it.
 */
export async function recordHistory(name: string, json: string): Promise<void> {
  if (process.env['RECORD_HISTORIES'] === undefined) return;
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, `${name}.json.gz`), gzipSync(json, { level: 9 }));
}

/** Every stored history by its name. */
export async function storedHistories(): Promise<{ name: string; history: History }[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.json.gz')).sort();
  return await Promise.all(
    files.map(async (file) => {
      const json: unknown = JSON.parse(gunzipSync(await readFile(path.join(folder, file))).toString());
      return { name: file.replace('.json.gz', ''), history: historyFromJSON(json) };
    }),
  );
}
