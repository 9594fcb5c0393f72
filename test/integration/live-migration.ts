import { randomInt } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import getPort from 'get-port';
import { ClusterAdmin } from '@owlmq/kafka-bridge/operations';
import type { MigrationInput } from '@owlmq/kafka-bridge/playbook';
import { Fleet } from '../../demo/fleet.js';
import { TemporalTrial } from '../../demo/temporal.js';
import { makeOwnedFolder } from '../../engines/process/owned-folder.js';
import { startEngines } from '../../engines/start-engines.js';
import type { MigrationStatus } from '../../src/workflows/status.js';

/** A fleet under traffic, whose worker serves the live page. Programs run as built, see `npm test`. */
export interface LiveMigration {
  readonly name: string;
  readonly group: string;
  /** Of the live page. */
  readonly url: string;
  readonly token: string;
  /** Of the observation endpoint. */
  readonly observationsUrl: string;
  /** Starts its migration. */
  begin(): Promise<void>;
  status(): Promise<MigrationStatus>;
  /** All that the worker has written to its log. */
  workerLog(): Promise<string>;
  stop(): Promise<void>;
}

const RETENTION_MS = 30 * 24 * 3_600_000;

/** Starts engines, worker, one consumer and one producer. */
export async function startLiveMigration(pace: Omit<MigrationInput, 'topics' | 'groups'>): Promise<LiveMigration> {
  const temporalCli = process.env.TEMPORAL_CLI;
  if (temporalCli === undefined) throw new Error('TEMPORAL_CLI is not set: run the tests with npm test');
  const seed = randomInt(1_000_000);
  const name = `live-${seed}-${Date.now().toString(36)}`;
  console.info(`seed ${seed}, migration ${name}`);
  const token = `canary-of-the-live-page-${randomInt(1e12)}`;
  const [port, observationsPort] = [await getPort(), await getPort()];
  const folder = await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq-live-page-test');
  const engines = await startEngines({ want: ['temporal', 'kafka', 'owlmq'] });
  const topics = { orders: `${name}-orders`, payments: `${name}-payments` };
  const group = `${name}-payment-service`;
  const fleet = new Fleet({
    ...{ migration: name, taskQueue: name, topics, groups: [group], membersPerGroup: 1, producers: 1 },
    ...{ rate: 60, keys: 20, seed, folder, signal: AbortSignal.timeout(200_000) },
    env: {
      ...engines.env,
      PAGE_ADDRESS: `127.0.0.1:${port}`,
      PAGE_TOKEN: token,
      OBSERVATIONS_ADDRESS: `127.0.0.1:${observationsPort}`,
      OBSERVATIONS_TOKEN: token,
      LOG_LEVEL: 'debug',
    },
    log: (line) => {
      console.info(line);
    },
  });
  const { address } = engines.temporal;
  const temporal = await TemporalTrial.connect({ cli: temporalCli, address, taskQueue: name, migration: name });
  const stop = async (): Promise<void> => {
    await fleet.stop();
    await temporal.close();
    await engines.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const admin = new ClusterAdmin(
      { brokers: (engines.env.KAFKA_BROKERS ?? '').split(',') },
      { clientId: 'live-page-test' },
    );
    for (const topic of Object.values(topics)) {
      await admin.createTopic(topic, { partitions: 2, configs: { 'retention.ms': String(RETENTION_MS) } });
    }
    await admin.close();
    await Promise.all([fleet.startWorker(), fleet.startConsumers(), fleet.startProducers()]);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ...{ name, group, token, stop, url: `http://127.0.0.1:${port}` },
    observationsUrl: `http://127.0.0.1:${observationsPort}`,
    begin: () => temporal.run(temporal.startCommand({ topics: Object.values(topics), groups: [group], ...pace })),
    status: () => temporal.status(),
    workerLog: async () => {
      const files = (await readdir(folder, { recursive: true })).filter((file) => /worker.*\.log$/.test(file));
      if (files.length === 0) throw new Error(`no log of the worker in ${folder}`);
      return (await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')))).join('');
    },
  };
}
