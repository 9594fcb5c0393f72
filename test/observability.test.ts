import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parser } from '@prometheus-io/lezer-promql';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { documentedMetrics } from './documented-metrics.js';

const root = join(import.meta.dirname, '..');

const rulesSchema = z.object({
  groups: z.array(
    z.object({
      rules: z.array(
        z.union([
          z.strictObject({ record: z.string(), expr: z.string() }),
          z.strictObject({
            alert: z.string(),
            expr: z.string(),
            for: z.string().optional(),
            labels: z.strictObject({ severity: z.enum(['warning', 'critical']) }),
            annotations: z.object({ summary: z.string(), runbook: z.string() }),
          }),
        ]),
      ),
    }),
  ),
});

const dashboardSchema = z.object({
  templating: z.object({ list: z.array(z.object({ query: z.object({ query: z.string() }) })) }),
  panels: z.array(z.object({ title: z.string(), targets: z.array(z.object({ expr: z.string() })) })),
});

async function fileOf(name: string): Promise<string> {
  return await readFile(join(root, name), 'utf8');
}

/** Names of metrics in an expression, and what of it Prometheus would not understand. */
function read(expression: string): { metrics: string[]; wrong: string[] } {
  const found = { metrics: new Array<string>(), wrong: new Array<string>() };
  parser.parse(expression).iterate({
    enter: ({ name, from, to, type }) => {
      const text = expression.slice(from, to);
      if (type.isError) found.wrong.push(`${expression} at ${from}`);
      // The parser has a node for the name, under the selector.
      if (name === 'VectorSelector') found.metrics.push(/^[a-zA-Z_:][\w:]*/.exec(text)?.[0] ?? text);
    },
  });
  return found;
}

describe('what Prometheus and Grafana are given', () => {
  let rules: z.output<typeof rulesSchema>['groups'][number]['rules'];
  let dashboard: z.output<typeof dashboardSchema>;
  let known: Set<string>;

  beforeAll(async () => {
    rules = rulesSchema.parse(parse(await fileOf('observability/alerts.yml'))).groups.flatMap((group) => group.rules);
    dashboard = dashboardSchema.parse(JSON.parse(await fileOf('observability/grafana/kafka-to-owlmq.json')));
    const documented = await Promise.all(
      (['Worker', 'Publishers and consumers', 'owlmq-local'] as const).map((section) => documentedMetrics(section)),
    );
    expect(Math.min(...documented.map(({ length }) => length))).toBeGreaterThan(5);
    known = new Set(['up', ...documented.flat(), ...rules.flatMap((rule) => ('record' in rule ? [rule.record] : []))]);
  });

  /** Those of an expression that no page names; Temporal's have a page of their own. */
  function unknown(expression: string): string[] {
    const { metrics, wrong } = read(expression);
    expect(wrong).toEqual([]);
    expect(metrics.length).toBeGreaterThan(0);
    return metrics.filter(
      (name) =>
        !known.has(name) && !known.has(name.replace(/_(bucket|count|sum)$/, '')) && !name.startsWith('temporal_'),
    );
  }

  it('asks for metrics that docs/metrics.md names', () => {
    for (const { expr } of rules) expect(unknown(expr)).toEqual([]);
    for (const { targets } of dashboard.panels) for (const { expr } of targets) expect(unknown(expr)).toEqual([]);
    for (const { query } of dashboard.templating.list) {
      const [, name = ''] = /^label_values\((\w+), migration\)$/.exec(query.query) ?? [];
      expect(known).toContain(name);
    }
  });

  it('would find one that it does not name, and a mistake', () => {
    expect(unknown('rate(kafka_to_owlmq_nothing_total{migration="a"}[1m]) > 0')).toEqual([
      'kafka_to_owlmq_nothing_total',
    ]);
    expect(read('sum by (leg (up)').wrong).not.toEqual([]);
  });

  it('says of every alert in the runbook what to do', async () => {
    const runbook = await fileOf('docs/runbook.md');
    const alerts = rules.flatMap((rule) => ('alert' in rule ? [rule] : []));
    expect(alerts.length).toBeGreaterThanOrEqual(7);
    for (const { alert, annotations } of alerts) {
      expect(annotations.runbook).toBe(`docs/runbook.md#${alert.toLowerCase()}`);
      expect(runbook).toMatch(new RegExp(`^### ${alert}\\n\\n.{80}`, 'm'));
    }
    const described = [...runbook.matchAll(/^### (Migration\w+)$/gm)].map(([, name]) => name);
    expect(described.sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });
});
