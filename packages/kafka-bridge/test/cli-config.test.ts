import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { runHere, type CliOutcome } from './cli-harness.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cli-config-'));
});

afterAll(() => rm(folder, { recursive: true }));

beforeEach(() => {
  for (const variable of ['KAFKA_BROKERS', 'OWLMQ_URL', 'OWLMQ_API_KEY']) vi.stubEnv(variable, '');
});

afterEach(() => {
  vi.unstubAllEnvs();
});

/** Runs with this text as the file of flags. Nothing is reached: the input is what is looked at. */
async function withConfig(text: string, ...args: string[]): Promise<CliOutcome> {
  const file = join(folder, `${randomBytes(4).toString('hex')}.yaml`);
  await writeFile(file, text);
  // Wherever it is given.
  return await runHere([...args, '--config', file], undefined, { reachWithinMs: 10 });
}

describe('a file of flags', () => {
  const nowhere = 'kafka-brokers: 127.0.0.1:1\nowlmq-url: http://127.0.0.1:1\n';

  it('serves every command, and says with all else what is wrong with it', async () => {
    vi.stubEnv('SET_TO_NOTHING', '');
    const text = `
kafka-brokers: \${UNSET_BROKERS}
owlmq-url: http://\${SET_TO_NOTHING}:1
group: [payment-service]
repare: true
topics: {orders: 1}
offset-reset: never
`;
    const { code, err } = await withConfig(text, 'migrate-offsets', '--groups', 'a', '--all-groups');
    expect(code).toBe(2);
    for (const part of [
      'kafka-brokers needs the variable UNSET_BROKERS, which is not set',
      'owlmq-url needs the variable SET_TO_NOTHING, which is not set',
      'there is no flag --repare. Did you mean repair',
      'topics must be a text',
      '--offset-reset must be one of earliest, latest; "never"',
      '--all-groups and --groups exclude each other',
      'OWLMQ_API_KEY) is not set',
    ]) {
      expect(err).toContain(part);
    }
    // `group` is a flag of another command.
    expect(err).not.toContain('--group.');
    for (const command of [['audit'], ['routing', 'show'], ['discrepancies', 'list']]) {
      const found = await withConfig('kafka-brokers: nonsense', ...command);
      expect(found).toMatchObject({ code: 2, err: expect.stringContaining('"nonsense" is none') as string });
    }
  });

  it('goes behind the environment, and that behind flags', async () => {
    const verify = ['verify-offsets', '--groups', 'a', '--output', 'json'];
    const text = 'kafka-brokers: from-file\nowlmq-url: from-file\noffset-reset: from-file';
    vi.stubEnv('OWLMQ_URL', 'http://127.0.0.1:1');
    vi.stubEnv('OWLMQ_API_KEY', 'key');
    vi.stubEnv('KAFKA_BRIDGE_OFFSET_RESET', 'from-environment');
    const { err } = await withConfig(text, ...verify);
    expect(err).toContain('"from-file" is none');
    expect(err).toContain('"from-environment" is none of them');
    expect(err).not.toContain('OWLMQ_URL');
    expect((await withConfig(text, ...verify, '--offset-reset', 'typed')).err).toContain('"typed" is none of them');

    // A key in the environment goes before a file with one that the file names.
    vi.stubEnv('KAFKA_BRIDGE_OFFSET_RESET', 'latest');
    const withKeyFile = await withConfig(`${nowhere}owlmq-api-key-file: /nowhere/key`, ...verify);
    expect(withKeyFile).toMatchObject({ code: 5, err: expect.stringContaining('ECONNREFUSED') as string });
    vi.stubEnv('OWLMQ_API_KEY', '');
    const fileAlone = await withConfig(`${nowhere}owlmq-api-key-file: /nowhere/key`, ...verify);
    expect(fileAlone).toMatchObject({ code: 2, err: expect.stringContaining('/nowhere/key') as string });
  });

  it('takes lists, switches and numbers, JSON too, and the variable that names it', async () => {
    const file = join(folder, 'flags.json');
    await writeFile(
      file,
      JSON.stringify({ groups: ['a', 'b'], reverse: true, 'dry-run': false, 'owlmq-api-key': '${KEY}' }),
    );
    vi.stubEnv('KAFKA_BRIDGE_CONFIG', file);
    vi.stubEnv('KEY', 'key');
    vi.stubEnv('OWLMQ_URL', 'http://127.0.0.1:1');
    vi.stubEnv('KAFKA_BROKERS', 'broker');
    const { err } = await runHere(['migrate-offsets']);
    expect(err.split('\n').filter((line) => line.startsWith('  - '))).toEqual([
      expect.stringContaining('"broker" is none'),
    ]);
    expect(err).not.toContain('Warning');
    const audit = await withConfig(`${nowhere}topics: a\nowlmq-api-key: \${KEY}\ngrace: -1`, 'audit');
    expect(audit.err).toContain('--grace must be a number from 0 to 86400; "-1" is none');
  });

  it('warns of a secret in it and shows none, whatever is wrong with the file', async () => {
    const canary = randomBytes(12).toString('hex');
    const literal = await withConfig(`${nowhere}owlmq-api-key: ${canary}`, 'verify-offsets', '--groups', 'a');
    expect(literal.code).toBe(5);
    expect(literal.err).toMatch(/Warning: .* holds a secret, owlmq-api-key.* Write \$\{OWLMQ_API_KEY\}/);
    const broken = await withConfig(`a: b\nowlmq-api-key: |${canary}\n`, 'audit');
    expect(broken).toMatchObject({ code: 2, err: expect.stringContaining('is no YAML at line 2') as string });
    const alias = await withConfig(`owlmq-api-key: *${canary}`, 'audit');
    expect(alias).toMatchObject({ code: 2, err: expect.stringContaining('has aliases that name nothing') as string });
    const list = await withConfig(`- ${canary}`, 'audit');
    expect(list).toMatchObject({ code: 2, err: expect.stringContaining('must have flags by their names') as string });
    for (const { out, err } of [literal, broken, alias, list]) expect(out + err).not.toContain(canary);
    const away = await runHere(['audit', '--config', join(folder, 'nothing')]);
    expect(away).toMatchObject({ code: 2, err: expect.stringContaining('ENOENT') as string });
  });

  it('does not hold what changes a live system unseen', async () => {
    const { code, err } = await withConfig('yes: true\nratio: 1', 'routing', 'set', 'migrate-orders');
    expect(code).toBe(2);
    expect(err).toContain('kafka-bridge routing set takes --yes from the command line alone');
    expect(err).toContain('takes --ratio from the command line alone');
  });
});

describe('a variable that is set to nothing', () => {
  it.each([
    ['migrate-offsets', '--groups', 'a'],
    ['verify-offsets', '--groups', 'a'],
    ['restore-offsets', 'migration', '--yes'],
    ['groups'],
    ['audit', '--topics', 'a'],
    ['discrepancies', 'list', '--migration', 'a'],
    ['routing', 'show'],
    ['check-owlmq'],
  ])('counts as not set: %s', async (...args) => {
    const { out } = await runHere([...args, '--help']);
    const variables = out.match(/\bKAFKA_BRIDGE_[A-Z_]+/g) ?? [];
    expect(variables).toContain('KAFKA_BRIDGE_OUTPUT');
    for (const variable of variables) vi.stubEnv(variable, '');
    vi.stubEnv('KAFKA_BROKERS', '127.0.0.1:1');
    vi.stubEnv('OWLMQ_URL', 'http://127.0.0.1:1');
    vi.stubEnv('OWLMQ_API_KEY', 'key');
    // The input is taken: only nothing is reached.
    const { code, err } = await runHere(args, undefined, { reachWithinMs: 10 });
    expect(err).toContain('ECONNREFUSED');
    expect(code).toBe(5);
  });
});
