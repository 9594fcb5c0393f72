import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The checkout's folder: the same whether this file runs from the sources or from dist/. */
export const checkoutRoot = findUp(import.meta.dirname);

function findUp(folder: string): string {
  if (existsSync(join(folder, 'package.json'))) return folder;
  const parent = dirname(folder);
  if (parent === folder) throw new Error(`no package.json above ${import.meta.dirname}`);
  return findUp(parent);
}
