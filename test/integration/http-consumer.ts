import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel, type Admin, type Consumer } from 'kafkajs';
import { OwlmqClient, readProvenance } from '@owlmq/kafka-bridge/operations';

/** What the endpoint answers of the routing, as far as a consumer uses it. */
interface Routing {
  epoch: number;
  asOf: number;
  live: 'kafka' | 'owlmq';
  shadow: string;
  shadowFrom?: Record<string, number[]>;
}

/** What a handler of these tests is given. */
export interface SimpleMessage {
  key: Buffer | null;
  value: Buffer | null;
  leg: 'kafka' | 'owlmq';
}

export interface HttpConsumerOptions {
  url: string;
  token: string;
  migration: string;
  group: string;
  topic: string;
  side: 'live' | 'shadow';
  brokers: string[];
  owlmq: { url: string; apiKey: string };
  /** The output, as JSON text. */
  process: (message: SimpleMessage) => string;
}

const REPORT_EVERY_MS = 150;

/**
 * A consumer that knows nothing of the library but the API of the endpoint: on one side of a group, as one in another
 * language would be.
 */
export class HttpConsumer {
  readonly instance: string;
  observed = 0;
  readonly #options: HttpConsumerOptions;
  readonly #stop = new AbortController();
  readonly #positions = new Map<number, number>();
  readonly #watermarks = new Map<number, number>();
  #routing: Routing = { epoch: 0, asOf: 0, live: 'kafka', shadow: 'off' };
  #asked = 0;
  #joined = false;
  #applied = 0;
  #work: Promise<unknown>[] = [];
  #kafka: { consumer: Consumer; admin: Admin } | undefined;

  constructor(options: HttpConsumerOptions) {
    this.#options = options;
    this.instance = `${options.side}-${Math.random().toString(36).slice(2)}`;
  }

  async start(): Promise<void> {
    await this.#ask('GET', 'routing');
    await this.#report();
    if (this.#options.side === 'live') await this.#startKafka();
    else this.#work.push(this.#runShadow());
    this.#work.push(this.#reportOnAndOn());
  }

  /** As when the process dies: nothing is said to anybody. */
  async kill(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#work);
    await Promise.all([this.#kafka?.consumer.disconnect(), this.#kafka?.admin.disconnect()]);
  }

  async leave(): Promise<void> {
    await this.kill();
    await request(this.#options, 'DELETE', `members/${this.instance}`);
  }

  async #startKafka(): Promise<void> {
    const { brokers, group, topic } = this.#options;
    const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING });
    const consumer = kafka.consumer({ groupId: group, sessionTimeout: 10_000, maxWaitTimeInMs: 100 });
    const admin = kafka.admin();
    this.#kafka = { consumer, admin };
    await Promise.all([consumer.connect(), admin.connect()]);
    await consumer.subscribe({ topic, fromBeginning: true });
    const joined = new Promise<void>((resolve) => {
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
        // The only member: what it had done before it joined again is done.
        for (const partition of payload.memberAssignment[topic] ?? []) {
          this.#positions.set(partition, this.#positions.get(partition) ?? 0);
        }
        this.#joined = true;
        resolve();
      });
    });
    await consumer.run({
      eachBatch: async (payload) => {
        const { batch } = payload;
        const observations = batch.messages.flatMap((record) => {
          this.#applied += 1;
          const provenance = readProvenance(record.headers);
          return this.#observe(batch.partition, Number(record.offset), undefined, record, provenance);
        });
        await this.#post(observations);
        const last = batch.messages.at(-1);
        if (last === undefined) return;
        payload.resolveOffset(last.offset);
        this.#done(batch.partition, Number(last.offset) + 1, Number(last.timestamp));
        await payload.heartbeat();
      },
    });
    await joined;
  }

  async #runShadow(): Promise<void> {
    const { group, topic, owlmq: options } = this.#options;
    const owlmq = new OwlmqClient(options);
    const { signal } = this.#stop;
    const join = {
      topics: [topic],
      clientId: this.instance,
      sessionTimeoutMs: 10_000,
      offsetReset: 'earliest' as const,
    };
    let memberId: string | undefined;
    try {
      while (!signal.aborted) {
        if (this.#routing.shadow !== 'compare') {
          await sleep(20);
          continue;
        }
        const membership = await owlmq.joinGroup(
          `${group}.shadow`,
          { ...join, ...(memberId === undefined ? {} : { memberId }) },
          { signal },
        );
        memberId = membership.memberId;
        if (membership.state !== 'stable') continue;
        this.#positions.clear();
        for (const { partition, offset } of membership.assignment) this.#positions.set(partition, offset);
        this.#joined = true;
        await this.#consumeShadow(owlmq, memberId, membership.generation);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      if (memberId !== undefined) await owlmq.leaveGroup(`${group}.shadow`, memberId);
      await owlmq.close();
    }
  }

  async #consumeShadow(owlmq: OwlmqClient, memberId: string, generation: number): Promise<void> {
    const { group, topic } = this.#options;
    for (;;) {
      const positions = [...this.#positions].map(([partition, offset]) => ({ topic, partition, offset }));
      const fetchedAt = Date.now();
      const { membership, partitions } = await owlmq.fetch(`${group}.shadow`, memberId, generation, {
        positions,
        waitMs: 100,
        signal: this.#stop.signal,
      });
      for (const { partition, records, endOffset } of partitions) {
        const observations = records.flatMap((record) => {
          const provenance = readProvenance(Object.fromEntries(record.headers));
          const kafka = provenance.source?.leg === 'kafka' ? provenance.source.offset : undefined;
          return this.#observe(partition, kafka, record.offset, record, provenance);
        });
        await this.#post(observations);
        const last = records.at(-1);
        if (last !== undefined) {
          this.#done(partition, last.offset + 1, last.timestamp);
          await owlmq.commit(`${group}.shadow`, memberId, generation, [{ topic, partition, offset: last.offset + 1 }]);
        }
        if ((this.#positions.get(partition) ?? 0) >= endOffset) this.#watermarks.set(partition, fetchedAt);
      }
      if (membership.state === 'rebalancing') return;
    }
  }

  /** What is sent of a message; nothing where it is not to be observed. */
  #observe(
    partition: number,
    kafka: number | undefined,
    owlmq: number | undefined,
    record: { key: Buffer | null; value: Buffer | null; timestamp: string | number },
    { id, copied }: { id: string | undefined; copied: boolean },
  ): string[] {
    const { topic, group, side, process } = this.#options;
    const { live, shadow, shadowFrom, epoch } = this.#routing;
    const wanted = live === 'kafka' && (side === 'shadow' ? shadow === 'compare' : shadow !== 'off');
    if (!wanted || id === undefined || !copied || kafka === undefined) return [];
    if (kafka < (shadowFrom?.[topic]?.[partition] ?? 0)) return [];
    const told = JSON.stringify({
      ...{ group, side, topic, partition, id, kafka, owlmq, epoch, handlerVersion: 'http-1' },
      time: Number(record.timestamp),
      key: record.key?.toString('base64') ?? null,
    });
    const message: SimpleMessage = { key: record.key, value: record.value, leg: side === 'live' ? 'kafka' : 'owlmq' };
    return [`${told.slice(0, -1)},${outcome(() => process(message))}}`];
  }

  async #post(observations: string[]): Promise<void> {
    for (let from = 0; from < observations.length; from += 500) {
      const some = observations.slice(from, from + 500);
      const body = `{"ignore":["/at"],"observations":[${some.join(',')}]}`;
      await request(this.#options, 'POST', 'observations', body);
      this.observed += some.length;
    }
  }

  #done(partition: number, next: number, time: number): void {
    this.#positions.set(partition, next);
    this.#watermarks.set(partition, Math.max(this.#watermarks.get(partition) ?? 0, time));
  }

  async #reportOnAndOn(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#lookForEnds();
      try {
        await this.#report();
      } catch (error) {
        // Without a lease by now, on a slow machine: what stands is asked for, and reported by.
        if (!(error instanceof Error && error.message.includes('stale-report'))) throw error;
        await this.#ask('GET', 'routing');
      }
      await sleep(REPORT_EVERY_MS);
    }
  }

  /** A side at the end of a partition has observed all up to the moment before it asked. */
  async #lookForEnds(): Promise<void> {
    if (this.#kafka === undefined) return;
    const asked = Date.now();
    for (const { partition, high } of await this.#kafka.admin.fetchTopicOffsets(this.#options.topic)) {
      const position = this.#positions.get(partition);
      if (position !== undefined && position >= Number(high)) this.#watermarks.set(partition, asked);
    }
  }

  async #report(): Promise<void> {
    const { side, group, topic } = this.#options;
    const named = (of: ReadonlyMap<number, number>): Record<string, number> =>
      Object.fromEntries([...of].map(([partition, value]) => [`${topic}/${partition}`, value]));
    const settled = side === 'live' || this.#routing.shadow !== 'compare' || this.#joined;
    await this.#ask('PUT', `members/${this.instance}`, {
      group,
      epoch: settled ? this.#routing.epoch : 0,
      only: side,
      state: side === 'live' && this.#joined ? 'live-kafka' : 'idle',
      shadow: side === 'shadow' && this.#joined,
      positions: side === 'live' ? named(this.#positions) : {},
      watermarks: { [side]: named(this.#watermarks) },
      applied: side === 'live' ? this.#applied : 0,
      failed: 0,
      known: { asOf: this.#routing.asOf, agoMs: performance.now() - this.#asked },
    });
  }

  async #ask(method: string, path: string, body?: unknown): Promise<void> {
    const asked = performance.now();
    const text = body === undefined ? undefined : JSON.stringify(body);
    this.#routing = (await request(this.#options, method, path, text)) as Routing;
    this.#asked = asked;
  }
}

/** What a handler did, as a property of JSON. */
function outcome(process: () => string): string {
  try {
    return `"output":${process()}`;
  } catch (error) {
    const { name, message } = error as Error;
    return `"error":${JSON.stringify({ name, message })}`;
  }
}

async function request(
  { url, token, migration }: Pick<HttpConsumerOptions, 'url' | 'token' | 'migration'>,
  method: string,
  path: string,
  body?: string,
): Promise<unknown> {
  const answer = await fetch(`${url}/v1/migrations/${migration}/${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path} was answered with ${answer.status}: ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}
