import { execa } from 'execa';
import getPort from 'get-port';
import { randomBytes } from 'node:crypto';
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { documentedCommands, type DocumentedCommand } from './documented-commands.js';

// What documents tell people to type is typed here, on a Kafka, a Temporal and an owlmq-local with the worker and sample
// traffic, as `npm run up` starts them; what takes minutes is typed with one flag too many, which must be its only fault.

const root = path.join(import.meta.dirname, '..');
const engines = path.join(root, 'dist/engines/cli.js');

/** What is done with a command that matches; the first that does counts. */
interface Rule {
  matches: RegExp;
  /** `run`: its exit code is one of these. `until`: it is ended once it has printed this. `flags`: they are known. */
  run?: readonly number[];
  until?: RegExp;
  flags?: true;
  /** Why it is not typed here: the test that does it, or what it would take. */
  elsewhere?: string;
  /** After all others, as the migration is over then. */
  last?: true;
}

/** Of `kafka-bridge`: 0, or what it found. */
const FOUND = [0, 3, 4];

const rules: readonly Rule[] = [
  { matches: /^npm (install|ci|test)\b|^npx vitest|FUZZ_/, elsewhere: 'npm test' },
  { matches: /^npm run (up|down)\b/, elsewhere: 'beforeAll here, and test/engines.test.ts' },
  { matches: /^(npm pack|cd) |npm install .*\.tgz$/, elsewhere: 'packages/kafka-bridge/test/tarball.test.ts' },
  { matches: /^docker compose/, elsewhere: 'needs Docker' },
  { matches: /^npm run (audit|sbom)/, elsewhere: 'asks a registry' },
  { matches: /--codec-endpoint/, elsewhere: 'test/workflow/encrypted-history.test.ts' },
  { matches: /kafka-to-owlmq-rehearsal/, elsewhere: 'test/workflow/rehearsal.test.ts' },
  { matches: /worker deployment|^gzip/, elsewhere: 'test/workflow/upgrade.test.ts' },
  { matches: /npm run (worker|codec-server)$/, until: /is running|answers at|listening/ },
  { matches: /^npx owlmq-local/, until: /"url"/ },
  { matches: /^curl /, run: [0] },
  { matches: /name rollback|name skip/, run: [0, 1], last: true },
  { matches: /--name confirmHook/, run: [1] },
  { matches: /^(npm run (--silent )?)?temporal /, run: [0] },
  { matches: /^npm run \S+/, flags: true },
  { matches: /check-owlmq (?!.*--list)|--direction both (?!.*--grace)/, flags: true },
  { matches: /--(follow|watch)/, until: /\S/ },
  { matches: /kafka-bridge/, run: FOUND },
  { matches: /^(export|since=|umask|for |openssl|key=|\{ printf)/, run: [0] },
];

let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'documented-commands-'));
  const data = path.join(folder, 'engines');
  const [page, token] = [`127.0.0.1:${await getPort()}`, path.join(folder, 'token')];
  await writeFile(token, 'the-token-of-this-test');
  await writeFile(path.join(folder, 'payload-keys'), `2026-11=${randomBytes(32).toString('base64')}`);
  const settings = { PAGE_ADDRESS: page, PAGE_TOKEN_FILE: token };
  await execa(process.execPath, [engines, 'up', '--data', data], { env: settings });
  const exported = await readFile(path.join(data, 'env'), 'utf8');
  const addresses = [...exported.matchAll(/^export (\w+)='(.*)'$/gm)].map(([, name = '', value = '']) => [name, value]);
  env = {
    ...(Object.fromEntries(addresses) as Record<string, string>),
    ENGINES_DATA: data,
    PATH: `${path.join(folder, 'bin')}:${path.join(root, 'node_modules/.bin')}:${process.env.PATH ?? ''}`,
    // What would set positions says what it would set.
    KAFKA_BRIDGE_DRY_RUN: 'true',
    KAFKA_BRIDGE_GRACE: '1',
    PAGE_URL: `http://${page}`,
    PAGE_TOKEN_FILE: token,
    // Of hooks.md.
    SECRET: `whsec_${Buffer.from('a secret of a test').toString('base64')}`,
    WEBHOOK_ID: 'msg_1',
    WEBHOOK_TIMESTAMP: '1790000000',
  };
  await mkdir(path.join(folder, 'bin'));
  const shim = `#!/bin/sh\nexec ${process.execPath} ${engines} temporal "$@"\n`;
  await writeFile(path.join(folder, 'bin/temporal'), shim, { mode: 0o755 });
}, 240_000);

afterAll(async () => {
  await execa(process.execPath, [engines, 'down', '--reset', '--data', path.join(folder, 'engines')]);
  await rm(folder, { recursive: true, force: true });
});

/** As a person would, in the checkout, with the addresses of this machine. */
function type({ text }: DocumentedCommand) {
  const here = text
    .replaceAll('kafka:9092', env.KAFKA_BROKERS ?? '')
    .replaceAll('https://owlmq.example', env.OWLMQ_URL ?? '')
    .replaceAll('http://127.0.0.1:8686', env.OWLMQ_URL ?? '')
    .replaceAll('--input migration.json', '--input examples/migration.json')
    .replaceAll('/run/secrets', folder)
    .replaceAll('./owlmq-data', path.join(folder, 'owlmq-data'))
    // What is written goes elsewhere than into the checkout.
    .replace(/(> |--checkpoint )(?=[\w-]+\.json|\.env)/, `$&${folder}/`)
    .replace(/routing set .*/, '$& --dry-run')
    .replaceAll('$since', new Date(Date.now() - 60_000).toISOString());
  return execa('bash', ['-c', here], { cwd: root, env, reject: false, all: true, timeout: 60_000, detached: true });
}

async function obey(rule: Rule, command: DocumentedCommand): Promise<void> {
  if (rule.run !== undefined) {
    const { exitCode, all } = await type(command);
    expect(exitCode, all).toBeOneOf([...rule.run]);
  } else if (rule.until !== undefined) {
    const { until } = rule;
    const running = type(command);
    let said = '';
    running.all.on('data', (chunk: Buffer) => (said += chunk.toString()));
    try {
      await vi.waitUntil(() => until.test(said) || running.exitCode !== null, { timeout: 30_000 });
    } finally {
      if (running.pid !== undefined && running.exitCode === null) process.kill(-running.pid, 'SIGINT');
    }
    const { exitCode } = await running;
    expect({ exitCode, said }).toMatchObject({ said: expect.stringMatching(until) as unknown });
  } else if (rule.flags === true) {
    const { exitCode, all } = await type({ ...command, text: `${await asBuilt(command.text)} --no-such-flag` });
    expect(exitCode, all).not.toBe(0);
    expect(all).toMatch(/unknown option '?--no-such-flag/i);
  }
}

/** What `npm run` comes to, without a build before each. */
async function asBuilt(text: string): Promise<string> {
  const { scripts } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  return text.replace(/^npm run (\S+)( --)?/, (_, name: string) =>
    (scripts[name] ?? `no script ${name}`).replace('npm run --silent build && ', ''),
  );
}

it('has a rule for every command, and a command for every rule', async () => {
  const commands = await documentedCommands();
  expect(commands.length).toBeGreaterThan(100);
  expect(commands.filter(({ text }) => ruleOf(text) === undefined)).toEqual([]);
  expect(rules.filter((rule) => !commands.some(({ text }) => ruleOf(text) === rule))).toEqual([]);
});

function ruleOf(text: string): Rule | undefined {
  return rules.find(({ matches }) => matches.test(text));
}

it('are accepted by what they are typed for', { timeout: 600_000 }, async () => {
  const commands = await documentedCommands();
  const due = commands.flatMap((command) => ({ command, rule: ruleOf(command.text) ?? { matches: /$/ } }));
  // The README's start comes first, so that there is a migration to ask about, and what ends it behind all that asks.
  const order = ({ command: { text }, rule }: (typeof due)[number]): number => {
    if (text.includes('workflow start')) return 0;
    if (rule.last === true) return 3;
    return text.includes('--name rollback') ? 2 : 1;
  };
  const failures: string[] = [];
  for (const { command, rule } of due.sort((one, other) => order(one) - order(other))) {
    await obey(rule, command).catch((error: unknown) => {
      failures.push(`${command.file}: ${command.text}\n${String(error)}`);
    });
  }
  expect(failures.join('\n\n')).toBe('');
});
