import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Edit } from './plants.js';

/** Module hooks: edits production code as it is loaded, so that a planted fault needs no other switch in it. */

let edits: readonly Edit[] = [];

export function initialize(data: readonly Edit[]): void {
  edits = data;
}

interface Loaded {
  format: string;
  source: unknown;
  shortCircuit?: boolean;
}

export async function load(
  url: string,
  context: object,
  nextLoad: (url: string, context: object) => Promise<Loaded>,
): Promise<Loaded> {
  const own = edits.filter(({ file }) => url.endsWith(file));
  if (own.length === 0) return await nextLoad(url, context);
  let source = await readFile(fileURLToPath(url), 'utf8');
  for (const { find, replace } of own) source = edited(source, find, replace, url);
  return { format: 'module', source, shortCircuit: true };
}

function edited(source: string, find: string, replace: string, url: string): string {
  const literal = find
    .trim()
    .split(/\s+/)
    .map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const pattern = new RegExp(literal.join('\\s+'));
  if (!pattern.test(source)) throw new Error(`Nothing to plant: ${url} does not have "${find}".`);
  return source.replace(pattern, () => replace);
}
