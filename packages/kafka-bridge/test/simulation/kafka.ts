import type { Message, ProducerBatch, RecordMetadata } from 'kafkajs';
import type { KafkaConnection } from '../../src/kafka/kafka-connection.js';
import type { LogRecord } from '../../src/kafka/log-record.js';
import type { PartitionFollowerOptions } from '../../src/kafka/partition-follower.js';
import { MEMBERS_TOPIC, memberReportSchema, type MemberReport } from '../../src/members/member-report.js';
import { HEADER } from '../../src/message/headers.js';
import { newerState, decodeRoutingRecord } from '../../src/routing/routing-log.js';
import { DEFAULT_LEASE_MS, isFinal, ROUTING_TOPIC, type RoutingState } from '../../src/routing/routing-state.js';
import { world } from './world.js';

export const PARTITIONS = 2;
const REQUEST_TIMEOUT_MS = 700;

/** A message on a leg of the simulation. */
export interface Stored {
  id: string;
  key: string;
  value: string;
  epoch: number;
  member: string;
  /** When its bytes left the member. What the network does with them later is nobody's to command. */
  leftAt: number;
}

/** What a member may take for true, judged from what it was told, apart from the code under test. */
interface Trust {
  epoch: number;
  until: number;
}

/** A broker with the bridge's topics and one of messages. */
export class SimKafka {
  routing: { key: string; value: string; offset: number }[] = [];
  routingId = 1;
  #routingEnd = 0;
  readonly #told = new Set<() => void>();
  /** Reports that arrived, with when. */
  readonly reports = new Map<string, { report: MemberReport; at: number }>();
  readonly partitions: Stored[][] = Array.from({ length: PARTITIONS }, () => []);
  /** Members whose link is down. */
  readonly cut = new Set<string>();
  /** Members whose reports get lost, while all else passes. */
  readonly muted = new Set<string>();
  /** Members that no answer to a fetch of the routing reaches, while all else passes. */
  readonly deaf = new Set<string>();
  /** Batches that were stored, so that repetitions are not. */
  readonly #batches = new Map<string, RecordMetadata[]>();
  /** Leases by the definition: of each member, every epoch it ever found the newest. */
  readonly trust = new Map<string, Trust[]>();
  violations: string[] = [];

  appendRouting(state: RoutingState): void {
    this.routing.push({ key: state.migration, value: JSON.stringify(state), offset: this.#routingEnd++ });
    for (const wake of [...this.#told]) wake();
  }

  /** Keeps the last record alone, as compaction may. */
  compactRouting(): void {
    this.routing = this.routing.slice(-1);
  }

  /** The topic is deleted and made anew. */
  remakeRouting(): void {
    this.routing = [];
    this.#routingEnd = 0;
    this.routingId++;
  }

  get routingEnd(): number {
    return this.#routingEnd;
  }

  onRouting(wake: () => void): () => void {
    this.#told.add(wake);
    return () => this.#told.delete(wake);
  }

  /** Called with what a fetch that reached the end found. */
  found(member: string, newest: RoutingState | undefined, fetchStartedAt: number): void {
    const leases = this.trust.get(member) ?? [];
    const epoch = newest?.epoch ?? 0;
    const last = leases.at(-1);
    const until = isFinal(newest) ? Infinity : fetchStartedAt + (newest?.leaseMs ?? DEFAULT_LEASE_MS);
    if (last?.epoch === epoch) last.until = until;
    // What is lower than before is never trusted.
    else if (last === undefined || epoch > last.epoch) leases.push({ epoch, until });
    this.trust.set(member, leases);
  }

  /** Called as messages leave a member for Kafka. */
  leaves(member: string, batch: ProducerBatch): void {
    for (const { topic, messages } of batch.topicMessages ?? []) {
      if (topic === MEMBERS_TOPIC) continue;
      for (const message of messages) {
        const { epoch, value } = storedOf(message, member, world().now);
        const lease = this.trust.get(member)?.find((trust) => trust.epoch === epoch);
        if (lease === undefined || world().now >= lease.until) {
          this.violations.push(`${member} wrote ${value} to Kafka under epoch ${epoch}, whose lease was over`);
        }
      }
    }
  }

  /** Called as messages leave a member for OwlMQ: copies may be of earlier epochs, but the present lease must hold. */
  leavesForOwlmq(member: string): void {
    const lease = this.trust.get(member)?.at(-1);
    if (lease !== undefined && world().now >= lease.until) {
      this.violations.push(`${member} wrote to OwlMQ when its lease on epoch ${lease.epoch} was over`);
    }
  }

  produce(member: string, batchId: string, batch: ProducerBatch, leftAt: number): RecordMetadata[] {
    const before = this.#batches.get(batchId);
    if (before !== undefined) return before;
    const answers = new Map<number, RecordMetadata>();
    for (const { topic, messages } of batch.topicMessages ?? []) {
      for (const message of messages) {
        if (topic === MEMBERS_TOPIC) {
          this.#report(message);
          continue;
        }
        const partition = message.partition ?? 0;
        const log = this.partitions[partition] ?? [];
        if (!answers.has(partition)) {
          answers.set(partition, { topicName: topic, partition, errorCode: 0, baseOffset: String(log.length) });
        }
        log.push(storedOf(message, member, leftAt));
      }
    }
    const result = [...answers.values()];
    this.#batches.set(batchId, result);
    return result;
  }

  #report(message: Message): void {
    const report = memberReportSchema.parse(JSON.parse(String(message.value)));
    this.reports.set(report.instance, { report, at: world().now });
  }
}

function storedOf({ key, value, headers }: Message, member: string, leftAt: number): Stored {
  const header = (name: string): string => String(headers?.[name] ?? '');
  return {
    id: header(HEADER.id),
    key: String(key),
    value: String(value),
    epoch: Number(header(HEADER.epoch)),
    member,
    leftAt,
  };
}

let kafka: SimKafka | undefined;

/** A broker for this case. */
export function newKafka(): SimKafka {
  kafka = new SimKafka();
  return kafka;
}

/** The broker of this case. */
export function broker(): SimKafka {
  if (kafka === undefined) throw new Error('No broker.');
  return kafka;
}

class SimError extends Error {
  override readonly name = 'SimKafkaError';
}

/** As the real one: nothing was sent. */
export class KafkaConnectError extends Error {
  override readonly name = 'KafkaConnectError';
}

interface Sending {
  written: boolean;
  over: boolean;
  fail: (error: Error) => void;
}

/**
 * In place of `ReplaceableProducer`: writes reach the broker late, get lost, or are answered late or never; what was
 * not answered is repeated and not stored twice; each time the bytes are about to leave, `mayWrite` is asked.
 */
export class ReplaceableProducer {
  readonly #options: { connection: KafkaConnection; mayWrite?: () => boolean };
  readonly #sendings = new Set<Sending>();
  /** Rises when what is on its way is broken off. */
  #generation = 0;

  constructor(options: { connection: KafkaConnection; mayWrite?: () => boolean }) {
    this.#options = options;
  }

  get #member(): string {
    return this.#options.connection.clientId ?? '';
  }

  async connect(): Promise<void> {
    await Promise.resolve();
  }

  async sendBatch(batch: ProducerBatch, timeoutMs: number): Promise<RecordMetadata[]> {
    const batchId = `${this.#member}/${world().chance()}`;
    return await new Promise<RecordMetadata[]>((resolve, reject) => {
      const sending: Sending = { written: false, over: false, fail: reject };
      this.#sendings.add(sending);
      const settle = (work: () => void): void => {
        if (sending.over) return;
        sending.over = true;
        this.#sendings.delete(sending);
        work();
      };
      sending.fail = (error) => {
        settle(() => {
          reject(sending.written ? error : new KafkaConnectError(error.message));
        });
      };
      setTimeout(() => {
        sending.fail(new SimError('Kafka did not answer in time.'));
      }, timeoutMs);
      this.#attempt(sending, batchId, batch, (answers) => {
        settle(() => {
          resolve(answers);
        });
      });
    });
  }

  cut(): void {
    this.#generation++;
  }

  abandon(): void {
    this.#generation++;
    for (const sending of [...this.#sendings]) sending.fail(new SimError('Given up.'));
  }

  async giveUp(): Promise<void> {
    this.abandon();
    await Promise.resolve();
  }

  async close(): Promise<void> {
    await this.giveUp();
  }

  #attempt(sending: Sending, batchId: string, batch: ProducerBatch, done: (answers: RecordMetadata[]) => void): void {
    const { now } = world();
    const again = (ms: number): void => {
      // kafkajs waits by a timer, but its sockets wake it as well.
      world().later(this.#member, ms, () => {
        if (!sending.over) this.#attempt(sending, batchId, batch, done);
      });
    };
    const connected = !broker().cut.has(this.#member);
    if (!connected || this.#options.mayWrite?.() === false) {
      again(world().between(50, 300));
      return;
    }
    sending.written = true;
    broker().leaves(this.#member, batch);
    const generation = this.#generation;
    let answered = false;
    world().later(undefined, world().between(0, 8), () => {
      if (generation !== this.#generation || broker().cut.has(this.#member) || world().chance() < 0.03) return;
      const isReport = batch.topicMessages?.[0]?.topic === MEMBERS_TOPIC;
      if (isReport && broker().muted.has(this.#member)) return;
      const answers = broker().produce(this.#member, batchId, batch, now);
      if (world().chance() < 0.03) return;
      world().later(this.#member, world().between(0, 8), () => {
        if (generation !== this.#generation || broker().cut.has(this.#member)) return;
        answered = true;
        done(answers);
      });
    });
    world().later(this.#member, REQUEST_TIMEOUT_MS, () => {
      if (!answered && !sending.over) again(world().between(0, 100));
    });
  }
}

/** In place of `LogReader`: who leads the partitions, and what members have reported. */
export class LogReader {
  readonly #member: string;

  constructor(connection: KafkaConnection) {
    this.#member = connection.clientId ?? '';
  }

  async leaders(): Promise<number[]> {
    return await Promise.resolve(Array.from({ length: PARTITIONS }, () => 1));
  }

  async partitionCount(): Promise<number> {
    return await Promise.resolve(PARTITIONS);
  }

  async *readToEnd(topic: string): AsyncGenerator<LogRecord> {
    if (topic !== MEMBERS_TOPIC) throw new Error(`Nothing reads ${topic} here.`);
    await this.#answer();
    for (const [instance, { report }] of [...broker().reports]) {
      yield {
        ...{ topic, partition: 0, offset: 0, timestamp: 0, headers: {} },
        ...{ key: Buffer.from(`${report.migration}/${instance}`), value: Buffer.from(JSON.stringify(report)) },
      };
    }
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }

  async #answer(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      world().later(this.#member, world().between(1, 20), () => {
        if (broker().cut.has(this.#member) || world().chance() < 0.03) reject(new SimError('Kafka did not answer.'));
        else resolve();
      });
    });
  }
}

/** In place of `PartitionFollower`, of the routing topic: fetches that are slow, cut short, fail or hang. */
export class PartitionFollower {
  readonly #options: PartitionFollowerOptions;
  readonly #member: string;
  #stopped = false;
  #offset: number | undefined;
  #logId = 0;
  /** Newest that was found in this log, for the judge. */
  #newest: RoutingState | undefined;

  constructor(options: PartitionFollowerOptions) {
    if (options.topic !== ROUTING_TOPIC) throw new Error(`Nothing follows ${options.topic} here.`);
    this.#options = options;
    this.#member = options.connection.clientId ?? '';
  }

  start(): void {
    this.#fetch();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.resolve();
  }

  get #hears(): boolean {
    return !broker().cut.has(this.#member) && !broker().deaf.has(this.#member);
  }

  #again(ms: number): void {
    world().later(this.#member, ms, () => {
      if (!this.#stopped) this.#fetch();
    });
  }

  #fetch(): void {
    const fetchStartedAt = world().now;
    const request = world().between(0, 5);
    const fail = (): void => {
      world().later(this.#member, world().between(200, 900), () => {
        if (this.#stopped) return;
        this.#options.onError(new SimError('Kafka did not answer a fetch.'));
        this.#again(world().between(10, 100));
      });
    };
    world().later(undefined, request, () => {
      if (!this.#hears || world().chance() < 0.02) {
        fail();
        return;
      }
      const hasNews = broker().routingId !== this.#logId || (this.#offset ?? 0) < broker().routingEnd;
      if (hasNews) {
        this.#answer(fetchStartedAt, fail);
        return;
      }
      // A long poll: answered by the next record, or with nothing.
      let open = true;
      const answer = (): void => {
        if (!open) return;
        open = false;
        forget();
        this.#answer(fetchStartedAt, fail);
      };
      const forget = broker().onRouting(answer);
      world().later(undefined, this.#options.maxWaitMs(), answer);
    });
  }

  /** What the broker has now, which comes a little later. */
  #answer(fetchStartedAt: number, fail: () => void): void {
    const fromBegin = broker().routingId !== this.#logId;
    const { routingId, routingEnd } = broker();
    const from = fromBegin ? 0 : (this.#offset ?? 0);
    const all = broker().routing.filter(({ offset }) => offset >= from);
    const whole = world().chance() < 0.8 || all.length < 2;
    const given = whole ? all : all.slice(0, world().between(1, all.length - 1));
    const next = whole ? routingEnd : (given.at(-1)?.offset ?? from) + 1;
    const atEnd = next >= routingEnd;
    world().later(this.#member, world().between(0, 5), () => {
      if (this.#stopped) return;
      if (!this.#hears) {
        fail();
        return;
      }
      this.#logId = routingId;
      this.#offset = next;
      const records = given.map(({ key, value, offset }): LogRecord => ({
        ...{ topic: ROUTING_TOPIC, partition: 0, offset, timestamp: 0, headers: {} },
        ...{ key: Buffer.from(key), value: Buffer.from(value) },
      }));
      if (fromBegin) this.#newest = undefined;
      for (const record of records) {
        const state = decodeRoutingRecord(record);
        if (state !== undefined) this.#newest = newerState(this.#newest, state);
      }
      if (atEnd) broker().found(this.#member, this.#newest, fetchStartedAt);
      this.#options.onSlice({ records, atEnd, fetchStartedAt, fromBegin });
      this.#again(1);
    });
  }
}
