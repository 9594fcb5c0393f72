import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startOwlmqLocal, type OwlmqLocal } from '../../owlmq-local/src/index.js';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { LogReader } from '../src/kafka/log-reader.js';
import type { LogRecord } from '../src/kafka/log-record.js';
import type { PublisherReport } from '../src/members/member-report.js';
import type { OwlmqStoredRecord } from '../src/owlmq/owlmq-api.js';
import { OwlmqClient } from '../src/owlmq/owlmq-client.js';
import type { RoutingState } from '../src/routing/routing-state.js';
import type { DeliveredReport } from '../src/routing/routing-view.js';
import { TcpProxy } from './tcp-proxy.js';

export const API_KEY = 'test-key';

/** The brokers of the test run. */
export function testBrokers(): string[] {
  const brokers = process.env['KAFKA_BROKERS'];
  if (brokers === undefined) throw new Error('KAFKA_BROKERS is not set.');
  return brokers.split(',');
}

export function uniqueName(prefix: string): string {
  return `${prefix}-${randomBytes(5).toString('hex')}`;
}

/** Leases of a follower without a reporter: as if its reports always arrived, from the begin of time. */
export const ALWAYS_REPORTED: DeliveredReport = { sentAt: Infinity, acknowledgedAt: -Infinity, leaseMs: Infinity };

/** A routing state with what a test does not care about. */
export function routingState(change: Partial<RoutingState> & Pick<RoutingState, 'migration' | 'epoch'>): RoutingState {
  return {
    version: 1,
    topics: ['orders'],
    groups: [],
    ratio: 0,
    primary: 'kafka',
    mirror: true,
    live: 'kafka',
    shadow: 'off',
    leaseMs: 10_000,
    writtenAt: '2026-01-01T00:00:00.000Z',
    reason: 'test',
    ...change,
  };
}

/** A member report with what a test does not care about. */
export function publisherReport(
  migration: string,
  instance: string,
  change: Partial<PublisherReport> = {},
): PublisherReport {
  const leg = { messages: 0, bytes: 0 };
  return {
    ...{ version: 1, role: 'publisher', migration, instance, epoch: 0, leaseMs: 10_000, at: '', state: 'publishing' },
    ...{ inFlight: 0, held: 0, longestHoldMs: 0, backlog: 0, dropped: 0, kafka: leg, owlmq: leg },
    ...{ mirrorDegraded: false, topics: [] },
    ...change,
  };
}

/** Waits until the condition holds; fails with what it last saw. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A topic on both legs, with proxies that can break the way to either. */
export class TwoLegs {
  readonly topic = uniqueName('orders');
  readonly migration = uniqueName('migration');
  private constructor(
    readonly partitions: number,
    readonly kafkaLink: TcpProxy,
    readonly owlmqLink: TcpProxy,
    private readonly server: OwlmqLocal,
    private readonly folder: string,
    readonly admin: ClusterAdmin,
    readonly reader: LogReader,
    /** Not through the proxy. */
    readonly owlmq: OwlmqClient,
  ) {}

  static async open(partitions = 4): Promise<TwoLegs> {
    const brokers = testBrokers();
    const folder = await mkdtemp(join(tmpdir(), 'dual-publisher-'));
    const server = await startOwlmqLocal({ data: folder, apiKeys: [API_KEY] });
    const clientId = 'two-legs';
    const legs = new TwoLegs(
      partitions,
      await TcpProxy.to(brokers[0] ?? ''),
      await TcpProxy.to(server.url),
      server,
      folder,
      new ClusterAdmin({ brokers }, { clientId }),
      new LogReader({ brokers }, { clientId }),
      new OwlmqClient({ url: server.url, apiKey: API_KEY }),
    );
    await legs.addTopic(legs.topic);
    return legs;
  }

  async addTopic(topic: string): Promise<void> {
    await this.admin.createTopic(topic, { partitions: this.partitions });
    await this.owlmq.createTopic(topic, this.partitions);
  }

  /** Options of a publisher whose OwlMQ requests go through the proxy. */
  get options() {
    return { kafka: { brokers: testBrokers() }, owlmq: { url: `http://${this.owlmqLink.address}`, apiKey: API_KEY } };
  }

  /** All Kafka records of the topic, partition by partition. */
  async kafkaRecords(topic = this.topic): Promise<LogRecord[]> {
    const records: LogRecord[] = [];
    for (let partition = 0; partition < this.partitions; partition++) {
      for await (const record of this.reader.readToEnd(topic, partition, 0)) records.push(record);
    }
    return records;
  }

  /** All OwlMQ records of the topic, partition by partition. */
  async owlmqRecords(topic = this.topic): Promise<OwlmqStoredRecord[]> {
    const records: OwlmqStoredRecord[] = [];
    for (let partition = 0; partition < this.partitions; partition++) {
      for (let offset = 0, end = 1; offset < end;) {
        const read = await this.owlmq.read(topic, partition, offset);
        end = read.endOffset;
        offset = (read.records.at(-1)?.offset ?? end) + 1;
        records.push(...read.records);
      }
    }
    return records;
  }

  async close(): Promise<void> {
    await Promise.all([this.admin.close(), this.reader.close(), this.owlmq.close()]);
    await Promise.all([this.kafkaLink.close(), this.owlmqLink.close()]);
    await this.server.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Values by key, in the order of the log. */
export function valuesByKey(records: readonly { key: Buffer | null; value: Buffer | null }[]): Map<string, string[]> {
  const byKey = new Map<string, string[]>();
  for (const { key, value } of records) {
    const name = key?.toString() ?? '';
    byKey.set(name, [...(byKey.get(name) ?? []), value?.toString() ?? '']);
  }
  return byKey;
}
