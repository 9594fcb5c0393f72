import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kafka, logLevel, type Producer } from 'kafkajs';
import { v7 as uuidv7 } from 'uuid';
import { startOwlmqLocal } from '../../owlmq-local/src/index.js';
import { ServerProcess } from '../../owlmq-local/test/server-process.js';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { LogReader, UnknownTopicError } from '../src/kafka/log-reader.js';
import { MemberRoster } from '../src/members/member-roster.js';
import type { ConsumerReport } from '../src/members/member-report.js';
import { formatPosition, HEADER } from '../src/message/headers.js';
import { OwlmqClient } from '../src/owlmq/owlmq-client.js';
import type { RoutingState } from '../src/routing/routing-state.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';

const API_KEY = 'test-key';

/** A message that was written. */
export interface Written {
  id: string;
  key: string;
  partition: number;
  kafka: number;
}

/** A topic on the test run's Kafka and on an OwlMQ of its own, and a migration over it. */
export class Bench {
  readonly connection: { brokers: string[]; logLevel: logLevel };
  readonly suffix = randomBytes(4).toString('hex');
  readonly topic = `orders-${this.suffix}`;
  readonly group = `payments-${this.suffix}`;
  readonly migration = `migration-${this.suffix}`;
  readonly admin: ClusterAdmin;
  readonly reader: LogReader;
  readonly writer: RoutingWriter;
  readonly roster: MemberRoster;
  readonly producer: Producer;
  state: RoutingState | undefined;
  #owlmqStopped = false;

  private constructor(
    readonly owlmq: OwlmqClient,
    private readonly server: { url: string; close: () => Promise<unknown> },
    private readonly folder: string,
    readonly partitions: number,
  ) {
    const brokers = process.env['KAFKA_BROKERS'];
    if (brokers === undefined) throw new Error('KAFKA_BROKERS is not set.');
    this.connection = { brokers: brokers.split(','), logLevel: logLevel.NOTHING };
    const clientId = `bench-${this.suffix}`;
    this.admin = new ClusterAdmin(this.connection, { clientId });
    this.reader = new LogReader(this.connection, { clientId });
    this.writer = new RoutingWriter({ connection: this.connection, clientId });
    this.roster = new MemberRoster({ connection: this.connection, clientId });
    this.producer = new Kafka(this.connection).producer();
  }

  /** @param owlmqIn `process`: in a process of its own, which `stopOwlmq` kills with SIGKILL. */
  static async open(partitions = 3, owlmqIn: 'test' | 'process' = 'test'): Promise<Bench> {
    const folder = await mkdtemp(join(tmpdir(), 'owlmq-consumer-test-'));
    const server =
      owlmqIn === 'process' ? await killable(folder) : await startOwlmqLocal({ data: folder, apiKeys: [API_KEY] });
    const owlmq = new OwlmqClient({ url: server.url, apiKey: API_KEY });
    const bench = new Bench(owlmq, server, folder, partitions);
    await bench.writer.ensureTopics();
    await bench.admin.createTopic(bench.topic, { partitions });
    await owlmq.createTopic(bench.topic, partitions);
    await Promise.all([bench.producer.connect(), bench.roster.start()]);
    // A new topic is not at once known to the broker that clients ask.
    await until(async () => {
      try {
        return await bench.reader.partitionCount(bench.topic);
      } catch (error) {
        if (error instanceof UnknownTopicError) return undefined;
        throw error;
      }
    });
    // A broker that was just started loads its group coordinators first.
    let loading: unknown;
    await until(
      async () => {
        try {
          return await bench.admin.groupOffsets(bench.group, { [bench.topic]: partitions });
        } catch (error) {
          loading = error;
          return undefined;
        }
      },
      () => String(loading),
    );
    return bench;
  }

  /** What a DualConsumer of the bench is made with; add `process` and `apply`. */
  options() {
    return {
      kafka: this.connection,
      owlmq: { url: this.server.url, apiKey: API_KEY },
      groupId: this.group,
      topics: [this.topic],
      migration: this.migration,
      fromBeginning: true,
    };
  }

  async close(): Promise<void> {
    await Promise.all([this.producer.disconnect(), this.roster.stop(), this.writer.close()]);
    await Promise.all([this.admin.close(), this.reader.close(), this.owlmq.close()]);
    if (!this.#owlmqStopped) await this.server.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Ends the OwlMQ server for good. */
  async stopOwlmq(): Promise<void> {
    this.#owlmqStopped = true;
    await this.server.close();
  }

  /** Writes the next epoch, made of the last one and what changes. */
  async route(change: Partial<RoutingState>, drop: (keyof RoutingState)[] = []): Promise<RoutingState> {
    const base: RoutingState = this.state ?? {
      version: 1,
      migration: this.migration,
      epoch: 0,
      topics: [this.topic],
      groups: [this.group],
      ratio: 1,
      primary: 'kafka',
      mirror: true,
      live: 'kafka',
      shadow: 'off',
      leaseMs: 10_000,
      writtenAt: new Date().toISOString(),
      reason: 'test',
    };
    const kept = Object.fromEntries(
      Object.entries(base).filter(([name]) => !drop.includes(name as keyof RoutingState)),
    ) as RoutingState;
    this.state = { ...kept, ...change, epoch: base.epoch + 1 };
    await this.writer.write(this.state);
    return this.state;
  }

  /** Writes to Kafka and copies to OwlMQ, as a publisher at ratio 1 does. */
  async publish(messages: { key: string; value: string }[], options: { copy?: boolean } = {}): Promise<Written[]> {
    const copy = options.copy ?? true;
    const ids = messages.map(() => uuidv7());
    const timestamp = Date.now();
    const byPartition = new Map<number, number[]>();
    messages.forEach((message, index) => {
      const partition = Number.parseInt(message.key.replace(/\D/g, ''), 10) % this.partitions;
      byPartition.set(partition, [...(byPartition.get(partition) ?? []), index]);
    });
    const headersOf = (index: number): Record<string, string> => ({
      [HEADER.id]: ids[index] ?? '',
      [HEADER.copied]: copy ? '1' : '0',
      [HEADER.epoch]: '1',
      trace: 'abc',
    });
    const written: Written[] = [];
    for (const [partition, indexes] of byPartition) {
      const [sent] = await this.producer.send({
        topic: this.topic,
        acks: -1,
        messages: indexes.map((index) => ({
          partition,
          key: messages[index]?.key ?? '',
          value: messages[index]?.value ?? '',
          timestamp: String(timestamp),
          headers: headersOf(index),
        })),
      });
      const base = Number(sent?.baseOffset);
      indexes.forEach((index, at) => {
        written.push({ id: ids[index] ?? '', key: messages[index]?.key ?? '', partition, kafka: base + at });
      });
      if (!copy) continue;
      const results = await this.owlmq.publish(
        this.topic,
        indexes.map((index, at) => ({
          partition,
          id: ids[index] ?? '',
          key: Buffer.from(messages[index]?.key ?? ''),
          value: Buffer.from(messages[index]?.value ?? ''),
          timestamp,
          headers: [
            ...Object.entries(headersOf(index)).map(([name, value]): [string, Buffer] => [name, Buffer.from(value)]),
            [HEADER.source, Buffer.from(formatPosition({ leg: 'kafka', partition, offset: base + at }))],
          ],
        })),
      );
      for (const result of results) if (!result.ok) throw new Error(result.detail);
    }
    return written;
  }

  /** The consumers' last reports. */
  async reports(): Promise<ConsumerReport[]> {
    await this.roster.readToEnd();
    return this.roster
      .members(this.migration)
      .flatMap(({ report }) => (report.role === 'consumer' && report.state !== 'left' ? [report] : []));
  }

  async untilReports(count: number, holds: (report: ConsumerReport) => boolean): Promise<ConsumerReport[]> {
    let last: ConsumerReport[] = [];
    return await until(
      async () => {
        last = await this.reports();
        return last.length === count && last.every(holds) ? last : undefined;
      },
      () => JSON.stringify(last),
    );
  }
}

async function killable(folder: string): Promise<{ url: string; close: () => Promise<unknown> }> {
  const server = await ServerProcess.start(folder, API_KEY);
  return { url: server.url, close: () => server.end('SIGKILL') };
}

/** Waits until something is there; fails after a minute, with what was seen instead. */
export async function until<T>(look: () => Promise<T | undefined> | T | undefined, seen = () => ''): Promise<T> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`Not within a minute. Last seen: ${seen()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A seeded source of numbers from 0 to 1 (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
