import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CompareModuleError, loadCompareModule } from '../src/compare-module.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'compare-module-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function load(name: string, code: string, errors: unknown[] = []) {
  const file = path.join(folder, `${name}.mjs`);
  await writeFile(file, code);
  return await loadCompareModule(file, (error) => errors.push(error));
}

describe('a module that compares outputs', () => {
  const about = { group: 'g', topic: 't', id: 'i' };

  it('says which of them mean the same', async () => {
    const compare = await load(
      'tolerant',
      `export const compare = (a, b, { group }) => group === 'g' && Math.abs(a.price - b.price) < 0.01;`,
    );
    expect(compare({ price: 1 }, { price: 1.001 }, about)).toBe(true);
    expect(compare({ price: 1 }, { price: 1.1 }, about)).toBe(false);
    expect(compare({ price: 1 }, { price: 1.001 }, { ...about, group: 'other' })).toBe(false);
  });

  it('excuses nothing by failing, or by a promise', async () => {
    const errors: unknown[] = [];
    const failing = await load('failing', `export const compare = () => { throw new Error('no'); };`, errors);
    expect([failing(1, 2, about), failing(1, 2, about)]).toEqual([false, false]);
    expect(errors).toHaveLength(1);
    const later = await load('later', `export const compare = async () => true;`);
    expect(later(1, 2, about)).toBe(false);
  });

  it('is refused where it cannot be used', async () => {
    await expect(load('empty', `export const other = 1;`)).rejects.toThrow(/does not export a function `compare`/);
    await expect(load('broken', `export const = 1;`)).rejects.toThrow(CompareModuleError);
    await expect(loadCompareModule(path.join(folder, 'absent.mjs'), () => undefined)).rejects.toThrow(
      /cannot be loaded/,
    );
  });
});
