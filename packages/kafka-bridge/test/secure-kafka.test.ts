import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { execa } from 'execa';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Progress } from '../../../engines/fetch/progress.js';
import { findConsoleTools } from '../../../engines/find/kafka-tools.js';
import { startOwlmqLocal, type OwlmqLocal } from '../../owlmq-local/src/index.js';
import { rootMessages } from '../src/async/causes.js';
import { kafkaFromSettings } from '../src/environment/connection-settings.js';
import { CANARY_TOPIC } from '../src/kafka/canary.js';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import type { KafkaConnection } from '../src/kafka/kafka-connection.js';
import { LogReader } from '../src/kafka/log-reader.js';
import { aclCommands } from '../src/preflight/acl-commands.js';
import type { Finding } from '../src/preflight/finding.js';
import { kafkaRoles, type KafkaRole } from '../src/preflight/kafka-roles.js';
import { neededRights } from '../src/preflight/needed-rights.js';
import { ensureBridgeTopics } from '../src/routing/bridge-topics.js';
import { runHere } from './cli-harness.js';
import { SecureBroker, unsecuredToken } from './secure-broker.js';

/** Runs printed commands of kafka-acls.sh, each with the class that the script runs. */
async function runAclTool(commands: string, brokers: string, adminFile: string): Promise<void> {
  const { java, libs } = await findConsoleTools(new Progress(undefined));
  for (const command of commands.trim().split('\n')) {
    const words = command.replace('"$KAFKA_BROKERS"', brokers).replace('admin.properties', adminFile).split(' ');
    expect(words.shift()).toBe('kafka-acls.sh');
    await execa(java, [
      '-XX:TieredStopAtLevel=1',
      '-cp',
      join(libs, '*'),
      'org.apache.kafka.tools.AclCommand',
      ...words,
    ]);
  }
}

const password = `password-${randomUUID()}`;
const TOPIC = 'orders';
const configs = { 'retention.ms': '-1' };

let broker: SecureBroker;
let owlmq: OwlmqLocal;
let folder: string;
let ca: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'secure-kafka-'));
  owlmq = await startOwlmqLocal({ data: join(folder, 'owlmq'), apiKeys: ['test-key'] });
  broker = await SecureBroker.start({ ann: password, worker: password, publisher: password, consumer: password });
  ca = await file('ca.pem', broker.certificates.ca);
  await asSuperUser((admin) => admin.createTopic(TOPIC, { partitions: 1, configs }));
  const rights = neededRights('worker', { topics: [TOPIC], groups: [] });
  for (const user of ['ann', 'certified', 'bearer']) await broker.grant(user, rights);
  await ensureBridgeTopics({ brokers: broker.open }, 'super-user');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await Promise.all([broker.stop(), owlmq.close()]);
  await rm(folder, { recursive: true });
});

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

async function asSuperUser<T>(work: (admin: ClusterAdmin) => Promise<T>): Promise<T> {
  const admin = new ClusterAdmin({ brokers: broker.open }, { clientId: 'super-user' });
  try {
    return await work(admin);
  } finally {
    await admin.close();
  }
}

function connection(settings: Record<string, string>): KafkaConnection {
  const problems: string[] = [];
  const found = kafkaFromSettings(
    { KAFKA_BROKERS: broker.brokers.sasl.join(','), KAFKA_TLS_CA_FILE: ca, ...settings },
    'secure-test',
    { add: (problem) => problems.push(problem) },
  );
  expect(problems).toEqual([]);
  if (found === undefined) throw new Error('no connection');
  return found;
}

/** Writes with the one client and reads with the other. */
async function roundTrip(given: KafkaConnection): Promise<void> {
  const value = randomUUID();
  const producer = new Kafka({ ...given, logLevel: logLevel.NOTHING }).producer({ idempotent: true });
  const reader = new LogReader(given, { clientId: 'secure-test', retryForMs: 2_000 });
  try {
    await producer.connect();
    const [written] = await producer.send({ topic: TOPIC, acks: -1, messages: [{ value }] });
    const record = await reader.recordAt(TOPIC, { partition: 0, offset: Number(written?.baseOffset) });
    expect(record?.value?.toString()).toBe(value);
  } finally {
    await Promise.all([producer.disconnect(), reader.close()]);
  }
}

describe('a connection with TLS', () => {
  const user = { KAFKA_SASL_USERNAME: 'ann', KAFKA_SASL_PASSWORD: password };

  it.each(['plain', 'scram-sha-256', 'scram-sha-512'])('writes and reads by %s', async (mechanism) => {
    await roundTrip(connection({ ...user, KAFKA_SASL_MECHANISM: mechanism }));
  });

  it('writes and reads by a certificate of its own', async () => {
    const { cert, key } = broker.certificates.client;
    const files = { KAFKA_TLS_CERT_FILE: await file('cert.pem', cert), KAFKA_TLS_KEY_FILE: await file('key.pem', key) };
    await roundTrip(connection({ KAFKA_BROKERS: broker.brokers.mutual.join(','), ...files }));
  });

  it('writes and reads by a token, from a file or a module', async () => {
    const oauth = { KAFKA_SASL_MECHANISM: 'oauthbearer' };
    const token = unsecuredToken('bearer', 60_000);
    await roundTrip(connection({ ...oauth, KAFKA_SASL_OAUTHBEARER_TOKEN_FILE: await file('token', `${token}\n`) }));
    const module = await file('token.mjs', `export const token = async () => ${JSON.stringify(token)};`);
    await roundTrip(connection({ ...oauth, KAFKA_SASL_OAUTHBEARER_MODULE: module }));
  });

  it('is told what is wrong with it', async () => {
    const wrong: [Record<string, string>, RegExp][] = [
      [{ ...user, KAFKA_SASL_MECHANISM: 'scram-sha-512', KAFKA_SASL_PASSWORD: 'wrong' }, /SASL authentication failed/],
      [{ ...user, KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_PASSWORD: 'wrong' }, /SASL authentication failed/],
      [{ KAFKA_TLS_CA_FILE: '', KAFKA_TLS: 'true' }, /certificate/],
      [{ ...user, KAFKA_SASL_MECHANISM: 'plain', KAFKA_TLS_CA_FILE: '' }, /failed|closed|timed out/i],
      [
        {
          KAFKA_SASL_MECHANISM: 'oauthbearer',
          KAFKA_SASL_OAUTHBEARER_TOKEN_FILE: await file('expired', unsecuredToken('bearer', -60_000)),
        },
        /invalid_token/,
      ],
    ];
    for (const [settings, reason] of wrong) {
      const reader = new LogReader(connection(settings), { clientId: 'secure-test', retryForMs: 0 });
      const failed = await reader.bounds(TOPIC).then(
        () => ['nothing is wrong'],
        (error: unknown) => rootMessages(error),
      );
      expect(failed.join('; ')).toMatch(reason);
      await reader.close();
    }
  });

  it('goes on with another token when its session has ended', async () => {
    const path = await file('rotated', unsecuredToken('bearer', 3_000));
    const reader = new LogReader(
      connection({ KAFKA_SASL_MECHANISM: 'oauthbearer', KAFKA_SASL_OAUTHBEARER_TOKEN_FILE: path }),
      { clientId: 'secure-test', retryForMs: 10_000 },
    );
    try {
      await reader.bounds(TOPIC);
      await writeFile(path, unsecuredToken('bearer', 60_000));
      const until = Date.now() + 6_000;
      while (Date.now() < until) await reader.read(TOPIC, [{ partition: 0, offset: 0 }], { maxWaitMs: 200 });
    } finally {
      await reader.close();
    }
  });

  it('names the broker, for proxies that tell brokers apart by it', async () => {
    const asked: string[] = [];
    const { cert, key } = broker.certificates.broker;
    const server = createServer({
      ...{ cert, key },
      SNICallback: (name, done) => {
        asked.push(name);
        done(null);
      },
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const brokers = `localhost:${port}`;
    const reader = new LogReader(connection({ KAFKA_BROKERS: brokers }), { clientId: 'secure-test', retryForMs: 0 });
    await expect(reader.bounds(TOPIC)).rejects.toThrow();
    await reader.close();
    await new Promise((resolve) => server.close(resolve));
    expect(new Set(asked)).toEqual(new Set(['localhost']));
  });
});

describe('rights in Kafka', () => {
  const input = {
    topics: [TOPIC, 'payments'],
    groups: ['payment-service'],
    noise: { duration: '1 hour' },
  };
  const request = { topics: input.topics, groups: input.groups, noise: true };

  beforeAll(async () => {
    await file('migration.json', JSON.stringify(input));
    await asSuperUser(async (admin) => {
      await admin.createTopic('payments', { partitions: 1, configs });
      await admin.setGroupOffsets('payment-service', [{ topic: TOPIC, partition: 0, offset: 0 }]);
    });
  });

  function asUser(role: KafkaRole): string[] {
    vi.stubEnv('KAFKA_SASL_PASSWORD', password);
    return [
      ...['--kafka-brokers', broker.brokers.sasl.join(','), '--kafka-tls-ca-file', ca],
      ...['--kafka-sasl-mechanism', 'scram-sha-256', '--kafka-sasl-username', role],
    ];
  }

  async function preflight(role: KafkaRole): Promise<Finding[]> {
    const { out, err } = await runHere([
      ...['preflight', '--input', join(folder, 'migration.json'), '--output', 'json', '--as', role],
      ...[...asUser(role), '--owlmq-url', owlmq.url, '--owlmq-api-key-file', await file('key', 'test-key')],
    ]);
    expect(err).toBe('');
    return (JSON.parse(out) as { findings: Finding[] }).findings.filter(({ kind }) => kind !== 'warning');
  }

  it('are granted by the commands that are printed, run by the tool of Kafka', { timeout: 120_000 }, async () => {
    const { out } = await runHere([
      ...['acls', '--input', join(folder, 'migration.json'), '--principal', 'User:worker'],
    ]);
    await runAclTool(out, broker.open.join(','), await file('admin.properties', ''));
    expect(await preflight('worker')).toEqual([]);
    await broker.revoke('worker', neededRights('worker', request));
  });

  it.each(kafkaRoles)('of a %s are named one by one where they are missing', { timeout: 120_000 }, async (role) => {
    const rights = neededRights(role, request);
    await broker.grant(role, rights);
    await expect.poll(() => preflight(role), { timeout: 20_000 }).toEqual([]);
    for (const right of rights) {
      const { operation, resource, covers } = right;
      await broker.revoke(role, [right]);
      // The topic of canaries is not there yet: it alone would have to be made.
      const named = covers.filter((name) => (name === CANARY_TOPIC) === (operation === 'Create'));
      await vi.waitFor(
        async () => {
          const findings = await preflight(role);
          expect(findings.map(({ what }) => what)).toEqual([
            expect.stringContaining(`allow User:${role} ${operation} on ${resource} ${named.join(', ')}, needed `),
          ]);
          expect(findings[0]?.todo).toBe(aclCommands([right], `User:${role}`)[0]);
        },
        { timeout: 20_000 },
      );
      await broker.grant(role, [right]);
    }
    await broker.revoke(role, rights);
  });

  it('are all missing of a user without any, and nothing else is said', async () => {
    for (const role of kafkaRoles) {
      const findings = await preflight(role);
      expect(findings).toHaveLength(neededRights(role, request).length);
      for (const { what } of findings) expect(what).toMatch(/^Kafka does not allow User:/);
    }
  });
});
