import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { kafkaFromSettings, owlmqFromSettings } from '../src/environment/connection-settings.js';
import { CliProcess, runBuilt } from './cli-harness.js';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..', '..');

describe('the package', () => {
  it('has the command in the checkout and in the packed tarball', async () => {
    const { stdout } = await run('npx', ['--no', '--', 'kafka-bridge', 'audit', '--help'], { cwd: root });
    expect(stdout).toContain('Exit codes:');

    const folder = await mkdtemp(join(tmpdir(), 'kafka-bridge-package-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const pack = ['pack', '--silent', '-w', 'packages/kafka-bridge', '--pack-destination', folder];
    const tarball = (await run('npm', pack, { cwd: root })).stdout.trim();
    await run('tar', ['-xzf', join(folder, tarball), '-C', folder]);
    // In place of an installation, which would need a registry.
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
    const bin = join(folder, 'package', 'bin', 'kafka-bridge.js');
    const { code, out } = await new CliProcess(['--version'], {}, bin).ended;
    expect(code).toBe(0);
    expect(out.trim()).toBe('0.1.0');
    const help = await new CliProcess(['routing', 'set', '--help'], {}, bin).ended;
    expect(help).toMatchObject({ code: 0, err: '' });
    expect(help.out).toContain('--back-to-kafka');
  });

  it('helps, and checks OwlMQ, without loading the Kafka clients, which take a second', async () => {
    const refusing = `export const resolve = (name, context, next) => {
      if (/^(kafkajs|@platformatic\\/kafka)$/.test(name)) throw new Error('loads ' + name);
      return next(name, context);
    };`;
    const hook = `import { register } from 'node:module'; register(${JSON.stringify(asUrl(refusing))});`;
    const env = { NODE_OPTIONS: `--import=${asUrl(hook)}` };
    for (const args of [['--help'], ['migrate-offsets', '--help'], ['check-owlmq', '--list']]) {
      expect(await runBuilt(args, env)).toMatchObject({ code: 0, err: '' });
    }
  });
});

describe('connection settings', () => {
  function read(settings: Record<string, string>) {
    const problems: string[] = [];
    const add = (problem: string) => problems.push(problem);
    const kafka = kafkaFromSettings(settings, 'client', { add });
    return { kafka, problems };
  }

  it('reads TLS and SASL, and secrets from files', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kafka-bridge-settings-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const [password, ca, key] = ['password', 'ca.pem', 'key'].map((name) => join(folder, name));
    if (password === undefined || ca === undefined || key === undefined) throw new Error('Three files were named.');
    await Promise.all([writeFile(password, 'secret\n'), writeFile(ca, 'PEM'), writeFile(key, ' key \n')]);
    const sasl = { KAFKA_SASL_MECHANISM: 'scram-sha-512', KAFKA_SASL_USERNAME: 'ann' };
    const { kafka, problems } = read({
      ...{ KAFKA_BROKERS: 'a:9092, [::1]:9093', KAFKA_TLS: 'true', KAFKA_TLS_CA_FILE: ca },
      ...{ ...sasl, KAFKA_SASL_PASSWORD_FILE: password },
    });
    expect(problems).toEqual([]);
    expect(kafka).toEqual({
      ...{ clientId: 'client', brokers: ['a:9092', '[::1]:9093'], ssl: { ca: 'PEM' } },
      sasl: { mechanism: 'scram-sha-512', username: 'ann', password: 'secret' },
    });
    expect(read({ KAFKA_BROKERS: 'a:9092', KAFKA_TLS: 'false' }).kafka?.ssl).toBeUndefined();
    expect(read({ KAFKA_BROKERS: 'a:9092', KAFKA_TLS: 'true' }).kafka?.ssl).toBe(true);
    const settings = { OWLMQ_URL: 'http://owlmq:1', OWLMQ_API_KEY_FILE: key };
    const owlmq = owlmqFromSettings(settings, { add: (problem) => problems.push(problem) });
    expect(owlmq).toEqual({ url: 'http://owlmq:1', apiKey: 'key' });
  });

  it('tells every problem, and takes empty settings for none', () => {
    expect(read({ KAFKA_BROKERS: '' }).problems).toEqual([expect.stringContaining('KAFKA_BROKERS is not set')]);
    const wrong = { KAFKA_BROKERS: 'a:9092,b', KAFKA_TLS: 'yes', KAFKA_TLS_CA_FILE: '/nowhere/ca' };
    expect(read({ ...wrong, KAFKA_SASL_USERNAME: 'ann' }).problems).toEqual([
      expect.stringContaining('"b" is none'),
      expect.stringContaining('KAFKA_TLS is none of true, false'),
      expect.stringContaining('KAFKA_TLS_CA_FILE cannot be read'),
      expect.stringContaining('KAFKA_SASL_MECHANISM is not set, and KAFKA_SASL_USERNAME is'),
    ]);
    const halfSasl = { KAFKA_BROKERS: 'a:9092', KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_USERNAME: 'ann' };
    expect(read(halfSasl).problems).toEqual([expect.stringContaining('KAFKA_SASL_PASSWORD')]);
    const problems: string[] = [];
    expect(owlmqFromSettings({ OWLMQ_URL: 'owlmq:1' }, { add: (problem) => problems.push(problem) })).toBeUndefined();
    expect(problems).toEqual([
      expect.stringContaining('OWLMQ_URL is no http or https address'),
      expect.stringContaining('OWLMQ_API_KEY_FILE'),
    ]);
  });
});

function asUrl(script: string): string {
  return `data:text/javascript,${encodeURIComponent(script)}`;
}
