import { setMaxListeners } from 'node:events';
import type { z } from 'zod';
import { pause } from '../async/bounded.js';
import { frameBytes, RECORDS_MEDIA_TYPE, type Contract, type RecordToFrame } from '../contract/index.js';
import {
  answerShown,
  anyProblemSchema,
  fetchOf,
  groupSchema,
  jsonOf,
  mediaTypeOf,
  membershipSchema,
  placesSchema,
  publishResultsSchema,
  recordsOf,
  shaped,
  topicSchema,
  type Answer,
  type Problem,
  type ReadRecord,
  type Result,
} from './answers.js';
import type { Endpoint } from './endpoint.js';
import * as requests from './requests.js';
import type { ReadQuery, Request } from './requests.js';
import { ContractBrokenError, holds, same } from './verdicts.js';

type Membership = Contract['Membership'];
type Place = Contract['PartitionOffset'];

/** Members that no lease is to end. */
const LONG_SESSION_MS = 60_000;
/** Most that one join waits for its assignment, and never more than a third of the lease, which it renews. */
const JOIN_WAIT_MS = 2_000;
/** What is to come by itself comes within this. */
const SOON_MS = 10_000;
const POLL_MS = 30;
const MOST_REQUESTS = 100;
/** Partitions of the topic that checks of records share, each with partitions of its own. */
const SHARED_PARTITIONS = 48;
const GROUP_PARTITIONS = 4;
const GROUP_RECORDS = 5;
const BATCH_RECORDS = 500;

/** What one check may do at the endpoint. Whatever it is given that it did not expect breaks the check. */
export class Trial {
  constructor(
    readonly endpoint: Endpoint,
    readonly signal: AbortSignal,
  ) {
    // Each request under way listens to it.
    setMaxListeners(MOST_REQUESTS, signal);
  }

  /** Sends a request; any answer will do. */
  send(request: Request): Promise<Answer> {
    return this.endpoint.send(request, this.signal);
  }

  /** @throws {ContractBrokenError} unless it is answered with that status. */
  async ok(request: Request, status = 200): Promise<Answer> {
    const answer = await this.send(request);
    holds(answer.status === status, `${answer.operation}: ${answerShown(answer)}, not HTTP ${status}`);
    return answer;
  }

  /** @throws {ContractBrokenError} unless it is answered with JSON of that shape. */
  async json<T>(request: Request, schema: z.ZodType<T>, status = 200): Promise<T> {
    const answer = await this.ok(request, status);
    same(`media type of ${answer.operation}`, mediaTypeOf(answer.headers), 'application/json');
    return shaped(answer, schema);
  }

  /** @throws {ContractBrokenError} unless it is refused with that status and type. Its form is another check's. */
  async refused(request: Request, status: number, type: Contract['ProblemType'], what = ''): Promise<Problem> {
    const answer = await this.send(request);
    const parsed = anyProblemSchema.safeParse(jsonOf(answer));
    const problem = parsed.success ? parsed.data : {};
    holds(
      answer.status === status && problem.type === type,
      `${answer.operation}${what === '' ? '' : ` with ${what}`}: ${answerShown(answer)}, not HTTP ${status} ${type}`,
    );
    return problem;
  }

  /** What the endpoint says that it accepts; for checks that need `limits.form`. */
  get limits(): Contract['Limits'] {
    const { limits } = this.endpoint;
    if (limits === undefined) throw new Error('A check that asks for the limits must need limits.form.');
    return limits;
  }

  /** A name of our own for a topic, group or member; another one each time. */
  name(what: string): string {
    return `${this.endpoint.prefix}.${what}-${this.endpoint.next()}`;
  }

  /** A topic that is made once for all who ask. */
  topic(what: string, partitions: number): Promise<string> {
    return this.#shared(`topic ${what}`, async () => {
      const topic = `${this.endpoint.prefix}.${what}`;
      const { status, ...answer } = await this.send(requests.createTopic(topic, { partitions }));
      holds(status === 200 || status === 201, `createTopic: ${answerShown({ status, ...answer })}`);
      return topic;
    });
  }

  /** An empty partition that no other check uses. */
  async partition(): Promise<{ topic: string; partition: number }> {
    const topic = await this.topic('records', SHARED_PARTITIONS);
    const { shared } = this.endpoint;
    for (let partition = 0; partition < SHARED_PARTITIONS; partition++) {
      const taken = `partition ${partition}`;
      if (shared.has(taken)) continue;
      shared.set(taken, Promise.resolve());
      return { topic, partition };
    }
    throw new Error(`Checks use more than ${SHARED_PARTITIONS} partitions.`);
  }

  /** A topic for groups: four partitions of five records each. */
  groupTopic(): Promise<string> {
    return this.#shared('filled topic', async () => {
      const topic = await this.topic('groups', GROUP_PARTITIONS);
      const records = Array.from({ length: GROUP_PARTITIONS * GROUP_RECORDS }, (_, index) =>
        this.record(index % GROUP_PARTITIONS),
      );
      await this.accepted(topic, records);
      return topic;
    });
  }

  /** A record with an id of its own. */
  record(partition: number, change: Partial<RecordToFrame> = {}): RecordToFrame {
    const id = this.name('id');
    return { partition, id, key: null, value: Buffer.from(id), headers: [], timestamp: Date.now(), ...change };
  }

  /** Publishes one batch. @throws {ContractBrokenError} unless there is one result an entry. */
  async publish(topic: string, records: readonly RecordToFrame[]): Promise<Result[]> {
    const { results } = await this.json(requests.publish(topic, records), publishResultsSchema);
    same('number of results', results.length, records.length);
    return results;
  }

  /** Publishes in batches within the limits. @throws {ContractBrokenError} unless all are accepted. */
  async accepted(topic: string, records: readonly RecordToFrame[]): Promise<(Place & { duplicate: boolean })[]> {
    const results: Result[] = [];
    for (const batch of this.#batches(records)) results.push(...(await this.publish(topic, batch)));
    return results.map((result, index) => {
      if (!result.ok) throw new ContractBrokenError(`publish: entry ${index} was refused: ${result.type}`);
      const { partition, offset, duplicate } = result;
      return { partition, offset, duplicate };
    });
  }

  /** Reads whole records once. */
  async read(
    topic: string,
    partition: number,
    offset: number,
    query: ReadQuery = {},
  ): Promise<{ records: ReadRecord[]; endOffset: number; ms: number }> {
    const answer = await this.ok(requests.readRecords(topic, partition, { offset, ...query }));
    same('media type of readRecords', mediaTypeOf(answer.headers), RECORDS_MEDIA_TYPE);
    return { records: recordsOf(answer), endOffset: endOffsetOf(answer), ms: answer.ms };
  }

  /** Reads a partition from an offset to its end. */
  async readAll(topic: string, partition: number, offset = 0): Promise<ReadRecord[]> {
    const all: ReadRecord[] = [];
    for (let next = offset; ; next = (all.at(-1)?.offset ?? next) + 1) {
      const { records, endOffset } = await this.read(topic, partition, next);
      all.push(...records);
      if (records.length === 0 || (records.at(-1)?.offset ?? 0) + 1 >= endOffset) return all;
    }
  }

  /** End offset of a partition, from the topic's description. */
  async endOffset(topic: string, partition: number): Promise<number> {
    const { partitions } = await this.json(requests.describeTopic(topic), topicSchema);
    const found = partitions[partition];
    if (found?.partition !== partition) {
      throw new ContractBrokenError(`describeTopic: place ${partition} is not that of partition ${partition}`);
    }
    return found.endOffset;
  }

  async lookup(topic: string, ids: readonly string[]): Promise<(Place | null)[]> {
    const { places } = await this.json(requests.lookup(topic, ids), placesSchema);
    same('number of places', places.length, ids.length);
    return places;
  }

  describeGroup(group: string): Promise<Contract['Group']> {
    return this.json(requests.describeGroup(group), groupSchema);
  }

  /** Committed offsets of a group as `TOPIC/PARTITION` to offset; none where the group is unknown. */
  async committed(group: string): Promise<Record<string, number>> {
    const answer = await this.send(requests.describeGroup(group));
    if (answer.status === 404) return {};
    holds(answer.status === 200, `describeGroup: ${answerShown(answer)}`);
    const { offsets } = shaped(answer, groupSchema);
    return Object.fromEntries(offsets.map(({ topic, partition, offset }) => [`${topic}/${partition}`, offset]));
  }

  /** Joins once. */
  join(group: string, topic: string, change: Partial<Contract['Join']> = {}): Promise<Membership> {
    return this.json(requests.joinGroup(group, joinRequest(topic, change)), membershipSchema);
  }

  /** Joins, again and again, until the assignment is there. The member's id is chosen here unless it is given. */
  async joinStable(group: string, topic: string, change: Partial<Contract['Join']> = {}): Promise<Membership> {
    const memberId = change.memberId ?? this.name('member');
    const within = SOON_MS + this.endpoint.leaseMs;
    const ends = performance.now() + within;
    for (;;) {
      const membership = await this.join(group, topic, { ...change, memberId });
      same('memberId of the membership', membership.memberId, memberId);
      if (membership.state === 'stable') return membership;
      holds(performance.now() < ends, `joinGroup: still rebalancing after ${within / 1_000} s`);
    }
  }

  /**
   * Two members of a new group that share a topic, by the protocol: the first is alone, is told of the second one, and
   * joins again. `before` is what the first one had.
   */
  async pair(
    group: string,
    topic: string,
    change: Partial<Contract['Join']> = {},
  ): Promise<{ before: Membership; first: Membership; second: Membership }> {
    const before = await this.joinStable(group, topic, change);
    const joining = aside(this.joinStable(group, topic, change));
    await this.told(group, before);
    const first = await this.joinStable(group, topic, { ...change, memberId: before.memberId });
    return { before, first, second: await joining };
  }

  /** Waits until a member's heartbeat says that the group is rebalancing, and returns that answer. */
  told(group: string, { memberId, generation }: Membership): Promise<Membership> {
    return this.until('a heartbeat that says rebalancing', async () => {
      const membership = await this.heartbeat(group, memberId, generation);
      return membership.state === 'rebalancing' ? membership : undefined;
    });
  }

  heartbeat(group: string, memberId: string, generation: number): Promise<Membership> {
    return this.json(requests.heartbeat(group, memberId, generation), membershipSchema);
  }

  async fetch(
    group: string,
    memberId: string,
    fetch: Contract['Fetch'],
  ): Promise<{ head: Contract['FetchHead']; records: ReadRecord[]; ms: number }> {
    const answer = await this.ok(requests.fetchRecords(group, memberId, fetch));
    return { ...fetchOf(answer), ms: answer.ms };
  }

  async leave(group: string, memberId: string): Promise<void> {
    await this.ok(requests.leaveGroup(group, memberId), 204);
  }

  /**
   * Looks until there is something.
   *
   * @throws {ContractBrokenError} when it has not come `ms` from now.
   */
  async until<T>(what: string, look: () => Promise<T | undefined>, ms = SOON_MS): Promise<T> {
    const ends = performance.now() + ms;
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      holds(performance.now() < ends, `${what}: did not come within ${Math.round(ms) / 1_000} s`);
      await pause(POLL_MS, this.signal);
    }
  }

  #batches(records: readonly RecordToFrame[]): RecordToFrame[][] {
    const { maxBatchRecords = BATCH_RECORDS, maxBatchBytes = Infinity } = this.endpoint.limits ?? {};
    const batches: RecordToFrame[][] = [];
    let room = 0;
    for (const record of records) {
      const bytes = frameBytes(record);
      const last = batches.at(-1);
      if (last === undefined || last.length >= Math.min(maxBatchRecords, BATCH_RECORDS) || bytes > room) {
        batches.push([record]);
        // The head of a body has 8 bytes.
        room = maxBatchBytes - 8 - bytes;
      } else {
        last.push(record);
        room -= bytes;
      }
    }
    return batches;
  }

  #shared<T>(name: string, make: () => Promise<T>): Promise<T> {
    const { shared } = this.endpoint;
    const present = shared.get(name) as Promise<T> | undefined;
    if (present !== undefined) return present;
    const made = make();
    shared.set(name, made);
    // One that failed is tried again by the next one who asks.
    made.catch(() => shared.delete(name));
    return made;
  }
}

/** Work that is awaited later on: its failure is told there, and not as an unhandled rejection. */
export function aside<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  return work;
}

/** A join as members of checks make it. */
export function joinRequest(topic: string, change: Partial<Contract['Join']> = {}): Contract['Join'] {
  const sessionTimeoutMs = change.sessionTimeoutMs ?? LONG_SESSION_MS;
  return {
    ...{ topics: [topic], clientId: 'check-owlmq', sessionTimeoutMs, offsetReset: 'earliest' },
    waitMs: Math.min(JOIN_WAIT_MS, Math.floor(sessionTimeoutMs / 3)),
    ...change,
  };
}

/** @throws {ContractBrokenError} unless an answer of a read says where the partition ends. */
function endOffsetOf({ headers }: Answer): number {
  const text = headers['owlmq-end-offset'];
  const value = typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : Number.NaN;
  holds(Number.isSafeInteger(value), `readRecords: the header OwlMQ-End-Offset is ${String(text)}`);
  return value;
}
