import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import getPort from 'get-port';
import { Kafka, logLevel, type Admin } from 'kafkajs';
import { startOwlmqLocal, type OwlmqLocal } from '@owlmq/owlmq-local';
import { DualPublisher, OwlmqClient } from '@owlmq/kafka-bridge';
import { LogReader } from '@owlmq/kafka-bridge/operations';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Progress } from '../../engines/fetch/progress.js';
import { findKafka } from '../../engines/find/kafka.js';
import { GuardedProcess } from '../../engines/process/guarded-process.js';
import { kafkaPlan } from '../../engines/run/kafka.js';

const PARTITIONS = 4;
const KEYS = 12;
const program = await findKafka(new Progress(() => undefined));

/** Two brokers: the first is the controller too, the second can be killed and started again. */
class TwoBrokers {
  static async start(): Promise<TwoBrokers> {
    const folder = await mkdtemp(join(tmpdir(), 'publisher-brokers-'));
    const ports = await Promise.all(['first', 'controller', 'second'].map(() => getPort({ host: '127.0.0.1' })));
    const [first = 0, controller = 0, second = 0] = ports;
    const brokers = new TwoBrokers(folder, first, controller, second);
    await brokers.#startFirst();
    await brokers.startSecond();
    return brokers;
  }

  readonly #processes = new Map<string, GuardedProcess>();

  private constructor(
    readonly folder: string,
    readonly first: number,
    readonly controller: number,
    readonly second: number,
  ) {}

  get addresses(): string[] {
    return [`127.0.0.1:${this.first}`, `127.0.0.1:${this.second}`];
  }

  async #startFirst(): Promise<void> {
    const folder = join(this.folder, 'first');
    await mkdir(folder);
    await this.#run('first', folder, { broker: this.first, controller: this.controller });
  }

  /** As the first, but for its number and its duties. */
  async startSecond(): Promise<void> {
    const folder = join(this.folder, 'second');
    await mkdir(join(folder, 'data'), { recursive: true });
    const clusterId = (await readFile(join(this.folder, 'first', 'cluster-id'), 'utf8')).trim();
    const meta = ['version=1', `cluster.id=${clusterId}`, 'node.id=2', `directory.id=${directoryId()}`];
    await writeFile(join(folder, 'data', 'meta.properties'), `${meta.join('\n')}\n`, { flag: 'wx' }).catch(
      (error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      },
    );
    await this.#run('second', folder, { broker: this.second, controller: this.controller }, (properties) =>
      properties
        .replace('process.roles=broker,controller', 'process.roles=broker')
        .replace('node.id=1', 'node.id=2')
        .replace(/,CONTROLLER:.*$/m, ''),
    );
  }

  async killSecond(): Promise<void> {
    const second = this.#processes.get('second');
    if (second === undefined) throw new Error('It does not run.');
    process.kill(second.id.pid, 'SIGKILL');
    await second.ended;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#processes.values()].map((each) => each.stop()));
    await rm(this.folder, { recursive: true, force: true });
  }

  async #run(
    name: string,
    folder: string,
    ports: { broker: number; controller: number },
    change: (properties: string) => string = (properties) => properties,
  ): Promise<void> {
    const plan = kafkaPlan(program, folder);
    const command = await plan.command(ports, undefined);
    const file = join(folder, 'server.properties');
    await writeFile(file, change(await readFile(file, 'utf8')));
    const logFile = join(folder, 'kafka.log');
    this.#processes.set(name, await GuardedProcess.start(command, { name, logFile, graceMs: 3_000 }));
    await until(`the ${name} broker answers`, () => plan.probe(ports));
  }
}

function directoryId(): string {
  return Buffer.from(randomUUID().replaceAll('-', ''), 'hex').toString('base64url').replace(/^-/, 'A');
}

/** Repeats what throws, or gives false. */
async function until(what: string, condition: () => unknown, timeoutMs = 60_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      if ((await condition()) !== false) return;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`Not within ${timeoutMs} ms: ${what}`, { cause: last });
    await delay(50);
  }
}

// The second broker shares the first one's network, which containers do not.
describe.skipIf(program.kind === 'docker')('DualPublisher on two brokers, under load', () => {
  let brokers: TwoBrokers;
  let owlmqServer: OwlmqLocal;
  let owlmq: OwlmqClient;
  let admin: Admin;
  let reader: LogReader;

  beforeAll(async () => {
    brokers = await TwoBrokers.start();
    const connection = { brokers: brokers.addresses };
    owlmqServer = await startOwlmqLocal({ data: join(brokers.folder, 'owlmq'), apiKeys: ['test-key'] });
    owlmq = new OwlmqClient({ url: owlmqServer.url, apiKey: 'test-key' });
    admin = new Kafka({ ...connection, logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    reader = new LogReader(connection, { clientId: 'publisher-brokers' });
  });

  afterAll(async () => {
    await Promise.all([admin.disconnect(), reader.close(), owlmq.close()]);
    await owlmqServer.close();
    await brokers.stop();
  });

  /** A topic whose partitions are led by one broker, and have no other replica. */
  async function topicOn(broker: number): Promise<string> {
    const topic = `orders-${randomUUID()}`;
    const replicaAssignment = Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, replicas: [broker] }));
    await until('both brokers have registered', async () => (await admin.describeCluster()).brokers.length === 2);
    await admin.createTopics({ topics: [{ topic, replicaAssignment }], waitForLeaders: true });
    await owlmq.createTopic(topic, PARTITIONS);
    return topic;
  }

  async function move(topic: string, broker: number): Promise<void> {
    const partitionAssignment = Array.from({ length: PARTITIONS }, (_, partition) => ({
      partition,
      replicas: [broker],
    }));
    await admin.alterPartitionReassignments({ topics: [{ topic, partitionAssignment }] });
    await until('they have moved', async () => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      return topics[0]?.partitions.every(({ leader }) => leader === broker);
    });
  }

  /** Publishes numbers by key without a pause while `disturb` runs; then checks both legs against the outcomes. */
  async function expectKept(topic: string, disturb: () => Promise<void>): Promise<{ unknown: number }> {
    const publisher = new DualPublisher({
      kafka: { brokers: brokers.addresses },
      owlmq: { url: owlmqServer.url, apiKey: 'test-key' },
      ratio: 1,
    });
    const acknowledged = new Map<string, number[]>();
    const unknown = new Set<string>();
    let stopped = false;
    const traffic = Array.from({ length: KEYS }, async (_, key) => {
      for (let n = 0; !stopped; n++) {
        const call = publisher.publish(topic, String(n), { key: `key-${key}`, id: `${key}/${n}` });
        await call.then(
          () => acknowledged.set(`key-${key}`, [...(acknowledged.get(`key-${key}`) ?? []), n]),
          (error: unknown) => {
            expect(error).toMatchObject({ code: 'publish-outcome-unknown' });
            unknown.add(`${key}/${n}`);
          },
        );
        await delay(1);
      }
    });
    const settled = (): number => publisher.status().kafka.messages;
    const flows = async (): Promise<void> => {
      const before = settled();
      await until('traffic flows', () => settled() > before + 200);
    };
    try {
      await flows();
      await disturb();
      await flows();
      stopped = true;
      await Promise.all(traffic);
      await publisher.flush();
      expect(publisher.status()).toMatchObject({ unsettled: 0, backlog: 0, dropped: 0 });
      console.info(`${settled()} acknowledged, ${unknown.size} unknown`);
      for (const [leg, values] of [
        ['Kafka', await kafkaValues(topic)],
        ['OwlMQ', await owlmqValues(topic)],
      ] as const) {
        for (const [key, numbers] of acknowledged) {
          const found = (values.get(key) ?? []).filter((n) => !unknown.has(`${key.slice(4)}/${n}`));
          expect({ leg, key, found }).toEqual({ leg, key, found: numbers });
        }
      }
      return { unknown: unknown.size };
    } finally {
      stopped = true;
      await publisher.close();
    }
  }

  async function kafkaValues(topic: string): Promise<Map<string, number[]>> {
    const records: { key: Buffer | null; value: Buffer | null }[] = [];
    for (let partition = 0; partition < PARTITIONS; partition++) {
      for await (const record of reader.readToEnd(topic, partition, 0)) records.push(record);
    }
    return numbersByKey(records);
  }

  async function owlmqValues(topic: string): Promise<Map<string, number[]>> {
    const records: { key: Buffer | null; value: Buffer | null }[] = [];
    for (let partition = 0; partition < PARTITIONS; partition++) {
      for (let offset = 0, end = 1; offset < end;) {
        const page = await owlmq.read(topic, partition, offset);
        records.push(...page.records);
        end = page.endOffset;
        offset = (page.records.at(-1)?.offset ?? end) + 1;
      }
    }
    return numbersByKey(records);
  }

  it('loses, repeats and reorders nothing when leaders change', async () => {
    const topic = await topicOn(1);
    const { unknown } = await expectKept(topic, async () => {
      for (const broker of [2, 1, 2, 1]) await move(topic, broker);
    });
    expect(unknown).toBe(0);
  });

  it('loses no acknowledged message and keeps the order of each key when a broker is killed and comes back', async () => {
    const topic = await topicOn(2);
    await expectKept(topic, async () => {
      await brokers.killSecond();
      await brokers.startSecond();
    });
  });
});

function numbersByKey(records: readonly { key: Buffer | null; value: Buffer | null }[]): Map<string, number[]> {
  const byKey = new Map<string, number[]>();
  for (const { key, value } of records) {
    const name = key?.toString() ?? '';
    byKey.set(name, [...(byKey.get(name) ?? []), Number(value)]);
  }
  return byKey;
}
