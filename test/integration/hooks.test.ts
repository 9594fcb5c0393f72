import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { Kafka, logLevel, type Consumer } from 'kafkajs';
import { DualConsumer, DualPublisher } from '@owlmq/kafka-bridge';
import { readProvenance, type OwlmqApi } from '@owlmq/kafka-bridge/operations';
import type { MigrationInput } from '@owlmq/kafka-bridge/playbook';
import { expect, it, onTestFinished } from 'vitest';
import { Bench, until } from '../../packages/kafka-bridge/test/consumer-harness.js';
import { createActivities } from '../../src/activities/index.js';
import type { CallHookRequest } from '../../src/activities/migration-activities.js';
import type { migrateKafkaToOwlmq } from '../../src/workflows/playbook.js';
import type { MigrationStatus } from '../../src/workflows/status.js';
import { newHookSecret, receiveHooks, signatureOf } from '../hook-receiver.js';
import { bundleWorkflowSources } from '../workflow/workflow-bundle.js';
import { workerConnections } from './worker-connections.js';
import { installQuietRuntime } from '../../rehearsal/quiet-runtime.js';

interface Side {
  /** Consumes up to the offsets, commits, and leaves the group; at once without them. */
  stop(upTo: number[] | undefined): Promise<void>;
}

/** A service that knows nothing of the library: it consumes with a client of its own where it is told to. */
class PlainService {
  /** Ids of messages in the order in which they were applied, and the leg they came from. */
  readonly applied: { id: string; leg: 'kafka' | 'owlmq' }[] = [];
  #side: Side | undefined;

  constructor(
    private readonly brokers: string[],
    private readonly owlmq: OwlmqApi,
    private readonly topic: string,
    readonly group: string,
  ) {}

  async consume(leg: 'kafka' | 'owlmq'): Promise<void> {
    this.#side ??= leg === 'kafka' ? await this.#fromKafka() : this.#fromOwlmq();
  }

  async stop(upTo: number[] | undefined): Promise<void> {
    const side = this.#side;
    this.#side = undefined;
    await side?.stop(upTo);
  }

  async #fromKafka(): Promise<Side> {
    const { topic } = this;
    const kafka = new Kafka({ brokers: this.brokers, logLevel: logLevel.NOTHING });
    const consumer: Consumer = kafka.consumer({ groupId: this.group, maxWaitTimeInMs: 100 });
    const committed = new Map<number, number>();
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        this.applied.push({ id: readProvenance(message.headers).id ?? '', leg: 'kafka' });
        const next = Number(message.offset) + 1;
        await consumer.commitOffsets([{ topic, partition, offset: String(next) }]);
        committed.set(partition, next);
      },
    });
    return {
      stop: async (upTo) => {
        const drained = (): true | undefined => {
          const behind = (upTo ?? []).some(
            (offset, partition) => offset > 0 && (committed.get(partition) ?? 0) < offset,
          );
          return behind ? undefined : true;
        };
        await until(drained);
        await consumer.disconnect();
      },
    };
  }

  #fromOwlmq(): Side {
    const ending = new AbortController();
    const until = { offsets: undefined as number[] | undefined, ending: ending.signal };
    const running = this.#consumeOwlmq(until);
    return {
      stop: async (upTo) => {
        until.offsets = upTo;
        if (upTo === undefined) ending.abort();
        await running;
      },
    };
  }

  /** Until it is at the offsets that it is told, once it is. */
  async #consumeOwlmq(until: { offsets: number[] | undefined; ending: AbortSignal }): Promise<void> {
    const { topic, group, owlmq } = this;
    const join = { topics: [topic], clientId: 'plain', sessionTimeoutMs: 10_000, offsetReset: 'earliest' as const };
    let joined = await owlmq.joinGroup(group, join);
    const { memberId } = joined;
    while (joined.state !== 'stable') joined = await owlmq.joinGroup(group, { ...join, memberId });
    const { generation, assignment } = joined;
    const positions = new Map(assignment.map(({ partition, offset }) => [partition, offset]));
    const done = (): boolean =>
      until.ending.aborted ||
      until.offsets?.every((offset, partition) => (positions.get(partition) ?? 0) >= offset) === true;
    while (!done()) {
      const at = [...positions].map(([partition, offset]) => ({ topic, partition, offset }));
      const { partitions } = await owlmq.fetch(group, memberId, generation, { positions: at, waitMs: 50 });
      for (const { partition, records } of partitions) {
        for (const record of records) {
          const { id = '' } = readProvenance(Object.fromEntries(record.headers));
          this.applied.push({ id, leg: 'owlmq' });
          await owlmq.commit(group, memberId, generation, [{ topic, partition, offset: record.offset + 1 }]);
          positions.set(partition, record.offset + 1);
        }
      }
    }
    await owlmq.leaveGroup(group, memberId);
  }
}

it(
  'moves a group that knows nothing of the library over and back by a webhook, without loss or double',
  { timeout: 120_000 },
  async () => {
    installQuietRuntime();
    const bench = await Bench.open(2);
    onTestFinished(() => bench.close());
    const { connection, migration, topic, group, owlmq } = bench;
    const external = `plain-${bench.suffix}`;

    const service = new PlainService(connection.brokers, owlmq, topic, external);
    onTestFinished(() => service.stop(undefined));
    const { secret, key } = newHookSecret();
    const work = new Map<string, Promise<void>>();
    const receiver = await receiveHooks((response, call, nth) => {
      if (call.headers['webhook-signature'] !== signatureOf(key, call)) return response.writeHead(401).end();
      const { id, event, leg, offsets } = JSON.parse(call.body) as CallHookRequest & { id: string };
      const doIt = (): Promise<void> =>
        event === 'stop-consumers' ? service.stop(offsets?.[topic]) : service.consume(leg ?? 'kafka');
      const doing = work.get(id) ?? doIt();
      work.set(id, doing);
      doing.then(
        // Done, and the answer is lost: it is asked again.
        () => (nth === 1 ? response.destroy() : response.writeHead(204).end()),
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
      return undefined;
    });
    onTestFinished(() => receiver.close());

    const applied: string[] = [];
    const consumer = new DualConsumer<string>({
      ...bench.options(),
      process: ({ id }) => id,
      apply: (id) => {
        applied.push(id);
      },
    });
    await consumer.start();
    onTestFinished(() => consumer.stop());
    await service.consume('kafka');
    const { kafka, owlmq: owlmqOptions } = bench.options();
    const publisher = new DualPublisher({ kafka, owlmq: owlmqOptions, migration });
    const published: string[] = [];
    const stopPublishing = new AbortController();
    const publishing = (async () => {
      for (let count = 0; !stopPublishing.signal.aborted; count += 1) {
        const { id } = await publisher.publish(topic, { key: `k${count % 20}`, value: String(count) });
        published.push(id);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    onTestFinished(async () => {
      stopPublishing.abort();
      await publishing;
      await publisher.close();
    });
    // Preflight looks for groups that have consumed.
    await until(() => (service.applied.length > 10 && applied.length > 10 ? true : undefined));

    const address = process.env['TEMPORAL_ADDRESS'] ?? '';
    const [native, temporal] = [await NativeConnection.connect({ address }), await Connection.connect({ address })];
    onTestFinished(async () => {
      await temporal.close();
      await native.close();
    });
    const worker = await Worker.create({
      connection: native,
      taskQueue: migration,
      workflowBundle: await bundleWorkflowSources(),
      activities: createActivities({
        ...(await workerConnections(connection, 'hooks-test')),
        owlmq,
        webhooks: new Map([['plain', { url: receiver.url, secrets: [secret] }]]),
      }),
      maxHeartbeatThrottleInterval: '200 milliseconds',
      defaultHeartbeatThrottleInterval: '200 milliseconds',
    });
    const input: MigrationInput = {
      topics: [topic],
      groups: [group, external],
      ramp: { step: 1, interval: 300 },
      soak: { duration: '1 second', minComparisons: 20, lateness: '5 seconds' },
      cutover: { window: '20 seconds', backOff: 500, maxAttempts: 5 },
      warm: { duration: '1 hour' },
      audit: { grace: '1 second' },
      lease: '5 seconds',
      hooks: [
        {
          ...{ name: 'plain', kind: 'webhook', groups: [external], timeout: '20 seconds' },
          at: ['stop-consumers', 'resume-on-owlmq', 'resume-on-kafka'],
        },
      ],
    };
    const status = await worker.runUntil(async () => {
      const client = new Client({ connection: temporal });
      const handle = await client.workflow.start<typeof migrateKafkaToOwlmq>('migrateKafkaToOwlmq', {
        ...{ taskQueue: migration, workflowId: migration, args: [input] },
      });
      const warm = await until(async () => {
        const now = await handle.query<MigrationStatus>('status');
        if (now.blocked !== null) throw new Error(JSON.stringify(now.blocked));
        return now.phase === 'warm' ? now : undefined;
      });
      expect(warm.hooks.slice(-2)).toMatchObject([
        { event: 'stop-consumers', state: 'done', answer: 'HTTP 204' },
        { event: 'resume-on-owlmq', state: 'done', answer: 'HTTP 204' },
      ]);
      const onOwlmq = () => service.applied.filter(({ leg }) => leg === 'owlmq').length;
      await until(() => (onOwlmq() > 50 ? true : undefined));
      await handle.signal('rollback', { reason: 'test' });
      return await handle.result();
    });
    expect(status.phase).toBe('rolled-back');
    const before = published.length;
    await until(() => (published.length > before + 50 ? true : undefined));
    stopPublishing.abort();
    await publishing;
    await until(() =>
      service.applied.length >= published.length && applied.length >= published.length ? true : undefined,
    );

    // Each once, on Kafka, on OwlMQ, and on Kafka again.
    const ids = service.applied.map(({ id }) => id);
    expect(ids.length).toBe(published.length);
    expect(new Set(ids)).toEqual(new Set(published));
    const legs = service.applied.map(({ leg }) => leg);
    expect(legs.filter((leg, index) => leg !== legs[index - 1])).toEqual(['kafka', 'owlmq', 'kafka']);
    // The one whose answer was lost is the same as the one after it.
    expect(receiver.calls.map(({ headers }) => headers['webhook-id'])[1]).toBe(
      receiver.calls[0]?.headers['webhook-id'],
    );
  },
);
