import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

/** Names of steps that the workflow may be blocked in, as its code has them. */
async function stepsOf(folder: string): Promise<string[]> {
  const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.ts'));
  const code = (await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')))).join('\n');
  const named = [
    /\bmigration\.(?:step|block)\(\s*'([^']+)'/g,
    /\bpublishersToFollow\(\s*migration,\s*'([^']+)'/g,
    /\bconsumersToBe\(\s*migration,\s*'[^']+',\s*'([^']+)'/g,
    /\bmigration\.step\(\s*shadow \? '([^']+)' : '[^']+'/g,
    /\bmigration\.step\(\s*shadow \? '[^']+' : '([^']+)'/g,
    /\bconst step = \{ name: '([^']+)'/g,
    /\bNOISE_STEP = '([^']+)'/g,
  ].flatMap((pattern) => [...code.matchAll(pattern)].map(([, name = '']) => name));
  // `publishers to apply ${percent(ratio)}`: the runbook has N% in the place of what varies.
  const templates = [...code.matchAll(/\b(?:publishersToFollow|consumersToBe)\(\s*migration,\s*`([^`]+)`/g)];
  named.push(...templates.map(([, name = '']) => name.replaceAll(/\$\{percent\([^}]*\)\}/g, 'N%')));
  const blocks = [...code.matchAll(/\bmigration\.block\(\s*`([^`]+)`/g)];
  named.push(...blocks.map(([, name = '']) => name.replaceAll(/\$\{[^}]*\}/g, 'N')));
  return [...new Set(named)].sort();
}

it('says of every step that a run may be blocked in what to do', async () => {
  const steps = await stepsOf(join(root, 'src/workflows'));
  expect(steps.length).toBeGreaterThan(25);
  const runbook = await readFile(join(root, 'docs/runbook.md'), 'utf8');
  expect(steps.filter((step) => !runbook.includes(`\`${step}\``))).toEqual([]);
});
