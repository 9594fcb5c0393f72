import { randomInt, randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { execa } from 'execa';
import getPort from 'get-port';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Trial, type TrialReport } from '../../demo/trial.js';
import { checkoutRoot } from '../../engines/checkout.js';
import { startEngines } from '../../engines/start-engines.js';
import { SecureBroker } from '../../packages/kafka-bridge/test/secure-broker.js';
import { LogReader } from '../../packages/kafka-bridge/src/kafka/log-reader.js';
import { ClusterAdmin } from '../../packages/kafka-bridge/src/kafka/cluster-admin.js';
import type { KafkaRole } from '../../packages/kafka-bridge/src/preflight/kafka-roles.js';
import { neededRights } from '../../packages/kafka-bridge/src/preflight/needed-rights.js';
import { textsOf } from '../texts-of.js';
import { TraceReceiver } from '../trace-receiver.js';
import { quickPace } from './quick-pace.js';

// The programs of the fleet and the workflow bundle run as built: `npm test` builds before it tests.

const seed = randomInt(1_000_000);
const name = `secured-${seed}-${Date.now().toString(36)}`;
const topics = { orders: `${name}-orders`, payments: `${name}-payments` };
const groups = [`${name}-payment-service`, `${name}-notification-service`];
/** A name in the value of every message: values are kept nowhere. */
const IN_VALUES = /cents\\*"/;

/** Secrets that must be nowhere but where they are given. */
const secrets = {
  worker: `canary-worker-${randomUUID()}`,
  publisher: `canary-publisher-${randomUUID()}`,
  consumer: `canary-consumer-${randomUUID()}`,
  token: `canary-token-${randomUUID()}`,
  digest: `canary-digest-${randomUUID()}`,
};

let broker: SecureBroker;
let folder: string;

beforeAll(async () => {
  const { worker, publisher, consumer } = secrets;
  broker = await SecureBroker.start({ worker, publisher, consumer });
  folder = await mkdtemp(join(tmpdir(), 'secured-'));
  const request = { topics: Object.values(topics), groups };
  for (const role of ['worker', 'publisher', 'consumer'] as const)
    await broker.grant(role, neededRights(role, request));
});
afterAll(async () => {
  await broker.stop();
  await rm(folder, { recursive: true });
});

/** Settings of a role: files for what may stand in one. */
async function settings(role: KafkaRole): Promise<Record<string, string>> {
  const [ca, password] = [join(folder, 'ca.pem'), join(folder, `${role}.password`)];
  await Promise.all([writeFile(ca, broker.certificates.ca), writeFile(password, secrets[role])]);
  return {
    KAFKA_BROKERS: broker.brokers.sasl.join(','),
    KAFKA_TLS_CA_FILE: ca,
    KAFKA_SASL_MECHANISM: 'scram-sha-512',
    KAFKA_SASL_USERNAME: role,
    KAFKA_SASL_PASSWORD_FILE: password,
  };
}

it('takes a fleet to OwlMQ and back with TLS, SCRAM, no right too many, and secrets that are found nowhere', async () => {
  console.info(`seed ${seed}, migration ${name}`);
  const logs = await mkdtemp(join(tmpdir(), 'secured-logs-'));
  const engines = await startEngines({ want: ['temporal', 'owlmq'] });
  const [metricsAddress, observationsAddress] = [`127.0.0.1:${await getPort()}`, `127.0.0.1:${await getPort()}`];
  const receiver = await TraceReceiver.open();
  const told: string[] = [];
  let asked: Promise<void> | undefined;
  let trial: Trial | undefined;
  try {
    const cli = process.env.TEMPORAL_CLI;
    if (cli === undefined) throw new Error('TEMPORAL_CLI is not set');
    trial = await Trial.prepare({
      temporalCli: cli,
      temporalAddress: engines.temporal.address,
      ...{ migration: name, taskQueue: name, topics, groups, seed, folder: logs },
      ...{ membersPerGroup: 2, producers: 2, partitions: 3, keys: 60, rate: 100, foreignRate: 20 },
      pace: quickPace,
      rollbackAt: 'warm',
      trafficAfterMs: 1_500,
      limitMs: 150_000,
      env: { ...engines.env, KAFKA_BROKERS: broker.open.join(',') },
      envOf: {
        worker: {
          ...(await settings('worker')),
          METRICS_ADDRESS: metricsAddress,
          OBSERVATIONS_ADDRESS: observationsAddress,
          OBSERVATIONS_TOKEN: secrets.token,
          OWLMQ_BRIDGE_DIGEST_KEY: secrets.digest,
          OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
          LOG_LEVEL: 'debug',
        },
        producers: await settings('publisher'),
        consumers: await settings('consumer'),
      },
      log: (line) => told.push(line),
      signal: AbortSignal.timeout(200_000),
      onProgress: ({ status }) => {
        told.push(JSON.stringify(status));
        if (status.phase === 'warm') {
          asked ??= Promise.all(
            [
              `http://${metricsAddress}/metrics`,
              `http://${observationsAddress}/v1/migrations/${name}/routing`,
              `http://${observationsAddress}/v1/nowhere?token=${name}`,
            ].map(async (url) => told.push(await (await fetch(url)).text())),
          ).then(() => undefined);
        }
      },
    });
    const report = await trial.run();
    await asked;
    expectClean(report);
    await trial.stop();
    expectTraced(receiver);
    // No right is missing to see how far groups are behind.
    expect(/^kafka_to_owlmq_group_lag_messages\{.*side="kafka".*\} \d+$/m.test(told.join('\n'))).toBe(true);
    told.push(JSON.stringify(report), JSON.stringify(receiver.spans));
    const evidence = join(checkoutRoot, 'dist', 'rehearsal', 'evidence.js');
    await execa(process.execPath, [evidence, '--workflow-id', name, '--out', logs], { env: engines.env });
    await writeFile(join(logs, 'history.txt'), await history(engines.temporal.address));
    await expectNowhere({ ...secrets, owlmq: engines.env.OWLMQ_API_KEY ?? '' }, told.join('\n'), logs);
  } finally {
    await trial?.stop();
    await receiver.close();
    await engines.stop();
    await rm(logs, { recursive: true, force: true });
  }
}, 240_000);

/** All that Temporal keeps of the run. */
async function history(address: string): Promise<string> {
  const connection = await Connection.connect({ address });
  try {
    const { events } = await new Client({ connection }).workflow.getHandle(name).fetchHistory();
    return textsOf(events).join('\n');
  } finally {
    await connection.close();
  }
}

function expectClean({ problems, outcome, phases, hold, check, comparisons, foreign }: TrialReport): void {
  expect(problems).toEqual([]);
  expect(outcome).toBe('rolled-back');
  expect([...new Set(phases.map(({ phase }) => phase))]).toEqual([
    ...['preflight', 'dual-write', 'shadow-soak', 'ready', 'cutover', 'warm', 'rolling-back'],
  ]);
  expect(hold.rollbackMs).toBeGreaterThan(0);
  expect(check.published.acknowledged).toBeGreaterThan(200);
  expect(comparisons).toBeGreaterThan(100);
  expect(foreign?.forwarded).toBeGreaterThan(0);
  expect(Object.keys(check.groups)).toHaveLength(2);
  const clean = { lost: 0, duplicated: 0, reordered: 0, invented: 0, altered: 0, legSwitches: 2 };
  for (const group of Object.values(check.groups)) {
    expect(group).toMatchObject(clean);
    // Both sides of the migration have done some of the work.
    expect(group.onKafka).toBeGreaterThan(0);
    expect(group.onOwlmq).toBeGreaterThan(0);
  }
}

/** One trace goes through the run of the workflow, its steps as it decided them, and as they were done. */
function expectTraced({ spans }: TraceReceiver): void {
  const run = spans.find(({ name }) => name === 'RunWorkflow:migrateKafkaToOwlmq');
  const ofRun = spans.filter(({ traceId }) => traceId === run?.traceId);
  for (const step of ['applyRouting', 'watchFleet', 'watchSoak', 'awaitDrained', 'watchWarm', 'proveLeg']) {
    const decided = ofRun.filter(({ name }) => name === `StartActivity:${step}`);
    const done = ofRun.filter(({ name }) => name === `RunActivity:${step}`);
    expect(decided.length, step).toBeGreaterThan(0);
    expect(done.length, step).toBeGreaterThan(0);
    for (const { parentSpanId } of decided) expect(parentSpanId).toBe(run?.spanId);
    const parents = new Set(decided.map(({ spanId }) => spanId));
    for (const { parentSpanId } of done) expect(parents).toContain(parentSpanId);
  }
}

async function expectNowhere(wanted: Record<string, string>, told: string, logs: string): Promise<void> {
  const places = new Map([['what the CLI, the metrics and the endpoint answered', told]]);
  for (const file of await readdir(logs, { recursive: true, withFileTypes: true })) {
    if (file.isFile()) places.set(file.name, await readFile(join(file.parentPath, file.name), 'utf8'));
  }
  const { bridge: inTopics, values } = await recordsInKafka();
  for (const [topic, text] of inTopics) places.set(topic, text);
  // What is searched is what was meant to be: a place that is empty would hide all.
  expect([...places.keys()]).toEqual(
    expect.arrayContaining(['worker.log', 'producer-1.log', `${groups[0] ?? ''}-1.log`, `evidence-${name}.md`]),
  );
  expect(places.get('history.txt')).toContain('rolled-back');
  expect(values).toMatch(IN_VALUES);
  for (const topic of ['routing', 'members', 'observations'])
    expect(inTopics.get(`owlmq-bridge.${topic}`)?.length, topic).toBeGreaterThan(0);
  expect(places.get('worker.log')).toContain('worker is running');
  expect(told).toContain('kafka_to_owlmq_audit_messages');
  for (const [place, text] of places) {
    expect(IN_VALUES.test(text), `a value of a message in ${place}`).toBe(false);
    for (const [secret, value] of Object.entries(wanted)) {
      expect(value.length).toBeGreaterThan(10);
      const found = [value, Buffer.from(value).toString('base64').replace(/=+$/, '')].some((one) => text.includes(one));
      expect(found, `secret ${secret} in ${place}`).toBe(false);
    }
  }
}

/** Every record of the bridge's own topics, as text; and the values of a topic that was migrated. */
async function recordsInKafka(): Promise<{ bridge: Map<string, string>; values: string }> {
  const connection = { brokers: broker.open };
  const admin = new ClusterAdmin(connection, { clientId: 'secured-test' });
  const reader = new LogReader(connection, { clientId: 'secured-test' });
  const textOf = async (topic: string): Promise<string> => {
    const texts: string[] = [];
    for (let partition = 0; partition < (await reader.partitionCount(topic)); partition++) {
      for await (const { key, value, headers } of reader.readToEnd(topic, partition, 'begin'))
        texts.push(`${String(key)} ${String(value)} ${textsOf(headers).join(' ')}`);
    }
    return texts.join('\n');
  };
  try {
    const bridge = new Map<string, string>();
    for (const topic of await admin.listTopics())
      if (topic.startsWith('owlmq-bridge.')) bridge.set(topic, await textOf(topic));
    return { bridge, values: await textOf(topics.orders) };
  } finally {
    await Promise.all([admin.close(), reader.close()]);
  }
}
