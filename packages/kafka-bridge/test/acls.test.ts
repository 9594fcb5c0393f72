import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kafkaRoles } from '../src/preflight/kafka-roles.js';
import { neededRights } from '../src/preflight/needed-rights.js';
import { runHere, type CliOutcome } from './cli-harness.js';

let folder: string;
let file: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'acls-'));
  file = join(folder, 'migration.json');
  await writeFile(file, JSON.stringify({ topics: ['orders', 'payments'], groups: ['refunds'] }));
});
afterAll(() => rm(folder, { recursive: true }));

const acls = (...args: string[]): Promise<CliOutcome> => runHere(['acls', '--input', file, ...args]);
const BEGIN = 'kafka-acls.sh --bootstrap-server "$KAFKA_BROKERS" --command-config admin.properties --add';

const principal = `'User:CN=ann'\\''s'`;

describe('the rights that a migration needs', () => {
  it('are printed as commands for a shell', async () => {
    expect(await acls('--as', 'consumer', '--principal', "User:CN=ann's")).toEqual({
      code: 0,
      err: '',
      out: [
        `${BEGIN} --allow-principal ${principal} --operation Read --topic orders --topic payments`,
        `${BEGIN} --allow-principal ${principal} --operation Read --group refunds`,
        `${BEGIN} --allow-principal ${principal} --operation Read --topic owlmq-bridge.routing`,
        `${BEGIN} --allow-principal ${principal} --operation Read --operation Write --topic owlmq-bridge.members`,
        `${BEGIN} --allow-principal ${principal} --operation Write --topic owlmq-bridge.observations`,
        '',
      ].join('\n'),
    });
  });

  it('are those of a service alone where its topics are named', async () => {
    const { out } = await acls('--as', 'publisher', '--topics', 'orders', '--output', 'json');
    expect(JSON.parse(out)).toMatchObject({
      role: 'publisher',
      rights: [{ operation: 'Write', names: ['orders'] }, {}, {}, {}],
    });
    expect(out).not.toContain('payments');
  });

  it('are not printed for wrong input, all of which is told', async () => {
    const { code, err } = await acls('--principal', 'worker', '--topics', 'others');
    expect(code).toBe(2);
    for (const part of ['--principal must be', 'the worker needs all', 'the input has no others'])
      expect(err).toContain(part);
    expect((await acls('--as', 'nobody')).err).toContain('--as must be one of worker, publisher, consumer');
  });

  it('are those of the documentation', async () => {
    const text = await readFile(join(import.meta.dirname, '..', '..', '..', 'docs', 'security.md'), 'utf8');
    const documented = [...text.matchAll(/^\| (worker|publisher|consumer) +\|.*$/gm)].map(([row]) =>
      row
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
    const needed = kafkaRoles.flatMap((role) =>
      neededRights(role, { topics: ['TOPIC'], groups: ['GROUP'], noise: true }).map((right) => [
        role,
        right.operation,
        `${right.resource} \`${right.names.join(', ')}${right.pattern === 'prefixed' ? '*' : ''}\``,
        right.why,
      ]),
    );
    expect(documented).toEqual(needed);
  });
});
