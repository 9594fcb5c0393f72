import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const page = join(import.meta.dirname, '..', 'docs', 'metrics.md');

/** The names that docs/metrics.md has in the tables of a section. */
export async function documentedMetrics(
  section: 'Worker' | 'Publishers and consumers' | 'owlmq-local',
): Promise<string[]> {
  const text = await readFile(page, 'utf8');
  const [, rest = ''] = text.split(`\n## ${section}\n`);
  const [body = ''] = rest.split(/^## /m);
  return [...body.matchAll(/^\| `([a-z_]+)`/gm)].map(([, name = '']) => name).sort();
}

/** The names in what a process serves to Prometheus, by a beginning. */
export function exposedMetrics(text: string, prefix: string): string[] {
  const names = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name = '']) => name);
  return [...new Set(names)].filter((name) => name.startsWith(prefix)).sort();
}
