import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import {
  BODY_HEAD_BYTES,
  decodeFetch,
  decodeHeads,
  decodeRecords,
  encodeRecords,
  frameBytes,
  frameBytesBound,
  headOf,
  HEADS_MEDIA_TYPE,
  RecordFramesError,
  RECORDS_MEDIA_TYPE,
  type Contract,
  type FramedRecord,
} from '../contract/index.js';
import type {
  CallOptions,
  FetchOptions,
  FetchResult,
  GroupDescription,
  GroupOffset,
  JoinRequest,
  Membership,
  OwlmqApi,
  OwlmqRecord,
  OwlmqStoredRecord,
  PartitionOffset,
  PublishResult,
  ReadHeadsResult,
  ReadOptions,
  ReadResult,
  TopicDescription,
} from './owlmq-api.js';
import { OwlmqConfigError, OwlmqNotFoundError, OwlmqProtocolError } from './owlmq-errors.js';
import { DEFAULT_ATTEMPTS, DEFAULT_TIMEOUT_MS, json, OwlmqHttp, type HttpAnswer, type HttpCall } from './owlmq-http.js';

export interface OwlmqClientOptions {
  /** Where OwlMQ is; default OWLMQ_URL. There is no default host. */
  url?: string | undefined;
  /** Default OWLMQ_API_KEY. Better given by environment than in code. */
  apiKey?: string | undefined;
  /** Connections for calls that are answered at once; default 4. */
  connections?: number | undefined;
  /** Connections for long polls, which is how many may wait at a time; default 64. */
  pollConnections?: number | undefined;
}

const DEFAULT_CONNECTIONS = 4;
const DEFAULT_POLL_CONNECTIONS = 64;
/** How long one join request waits for its assignment. */
const JOIN_WAIT_MS = 5_000;

/**
 * OwlMQ over HTTP, by the contract of openapi/owlmq.yaml. Safe to share; `close` ends it.
 *
 * Calls that have no answer are repeated within their deadline, see `CallOptions`; all of them may be.
 */
export class OwlmqClient implements OwlmqApi {
  readonly url: string;
  readonly #http: OwlmqHttp;
  #limits: Promise<Contract['Limits']> | undefined;

  /** @throws {OwlmqConfigError} when the address or the key is missing or cannot be one. */
  constructor(options: OwlmqClientOptions = {}) {
    const url = parseUrl(options.url ?? process.env['OWLMQ_URL']);
    const apiKey = parseKey(options.apiKey ?? process.env['OWLMQ_API_KEY']);
    this.url = url.href;
    this.#http = new OwlmqHttp({
      url,
      apiKey,
      connections: options.connections ?? DEFAULT_CONNECTIONS,
      pollConnections: options.pollConnections ?? DEFAULT_POLL_CONNECTIONS,
    });
  }

  async limits(options?: CallOptions): Promise<Contract['Limits']> {
    this.#limits = undefined;
    return await this.#knownLimits(options);
  }

  async createTopic(topic: string, partitions: number): Promise<boolean> {
    const body: Contract['CreateTopic'] = { partitions };
    const answer = await this.#send(`create topic ${topic}`, 'PUT', topicPath(topic), undefined, { body });
    return answer.status === 201;
  }

  describeTopic(topic: string, options?: CallOptions): Promise<TopicDescription | undefined> {
    return unlessUnknown(this.#json<Contract['Topic']>(`describe topic ${topic}`, 'GET', topicPath(topic), options));
  }

  async listTopics(): Promise<TopicDescription[]> {
    return (await this.#json<Contract['TopicList']>('list topics', 'GET', '/v1/topics')).topics;
  }

  async publish(topic: string, records: OwlmqRecord[], options?: CallOptions): Promise<PublishResult[]> {
    const deadline = new Deadline(options);
    const limits = await this.#knownLimits(options);
    const results: PublishResult[] = [];
    const blockedKeys = new Set<string>();
    for (const batch of batches(records, limits, blockedKeys)) {
      const answers = batch.sent.length === 0 ? [] : await this.#publishBatch(topic, batch.sent, deadline.options());
      batch.sent.forEach((record, index) => {
        if (answers[index]?.ok === false && record.key !== null) blockedKeys.add(record.key.toString('latin1'));
      });
      // The refused ones keep their places among the results.
      let next = 0;
      for (const refusal of batch.refusals) results.push(refusal ?? taken(answers[next++], topic));
    }
    return results;
  }

  async lookup(topic: string, ids: string[], options?: CallOptions): Promise<(PartitionOffset | undefined)[]> {
    const deadline = new Deadline(options);
    const { maxLookupIds } = await this.#knownLimits(options);
    const places: (PartitionOffset | undefined)[] = [];
    for (let start = 0; start < ids.length; start += maxLookupIds) {
      const body: Contract['Lookup'] = { ids: ids.slice(start, start + maxLookupIds) };
      const path = `${topicPath(topic)}/lookup`;
      const answer = await this.#json<Contract['LookupResult']>(
        `look up in ${topic}`,
        'POST',
        path,
        deadline.options(),
        { body },
      );
      if (answer.places.length !== body.ids.length)
        throw new OwlmqProtocolError(`look up in ${topic}: not one place an id`);
      places.push(...answer.places.map((place) => place ?? undefined));
    }
    return places;
  }

  async read(topic: string, partition: number, offset: number, options: ReadOptions = {}): Promise<ReadResult> {
    const { operation, answer, endOffset } = await this.#read(topic, partition, { offset }, options);
    return { records: decode(operation, () => decodeRecords(answer.body)).map(stored), endOffset };
  }

  async readHeads(
    topic: string,
    partition: number,
    offset: number,
    header: string,
    options: ReadOptions = {},
  ): Promise<ReadHeadsResult> {
    const accept = `${HEADS_MEDIA_TYPE}, ${RECORDS_MEDIA_TYPE};q=0.1`;
    const { operation, answer, endOffset } = await this.#read(topic, partition, { offset, header }, options, accept);
    const heads = decode(operation, () =>
      String(answer.headers['content-type']).startsWith(HEADS_MEDIA_TYPE)
        ? decodeHeads(answer.body)
        : // A server need not have heads: then they are made here.
          decodeRecords(answer.body).map((record) => headOf(stored(record), header)),
    );
    return { heads, endOffset };
  }

  async offsetsForTime(topic: string, time: number): Promise<number[]> {
    const path = `${topicPath(topic)}/offsets?time=${time}`;
    return (await this.#json<Contract['OffsetsForTime']>(`offsets of ${topic}`, 'GET', path)).offsets;
  }

  async listGroups(): Promise<string[]> {
    return (await this.#json<Contract['GroupList']>('list groups', 'GET', '/v1/groups')).groups;
  }

  describeGroup(group: string, options?: CallOptions): Promise<GroupDescription | undefined> {
    return unlessUnknown(this.#json<Contract['Group']>(`describe group ${group}`, 'GET', groupPath(group), options));
  }

  async setGroupOffsets(group: string, offsets: GroupOffset[], options?: CallOptions): Promise<void> {
    const body: Contract['GroupOffsets'] = { offsets: bareOffsets(offsets) };
    await this.#send(`set offsets of group ${group}`, 'PUT', `${groupPath(group)}/offsets`, options, { body });
  }

  joinGroup(group: string, request: JoinRequest, options?: CallOptions): Promise<Membership> {
    // The id is chosen here, so that a repeated join is the same member and not a second one.
    const memberId = request.memberId ?? `${request.clientId}-${randomUUID()}`;
    const waitMs = Math.min(JOIN_WAIT_MS, (options?.timeoutMs ?? Number.POSITIVE_INFINITY) / 2);
    const body: Contract['Join'] = { ...request, memberId, waitMs: Math.floor(waitMs) };
    return this.#json(`join group ${group}`, 'POST', `${groupPath(group)}/members`, options, {
      body,
      waitMs: body.waitMs ?? 0,
    });
  }

  heartbeat(group: string, memberId: string, generation: number, options?: CallOptions): Promise<Membership> {
    const body: Contract['Heartbeat'] = { generation };
    return this.#json(`heartbeat in group ${group}`, 'POST', `${memberPath(group, memberId)}/heartbeat`, options, {
      body,
    });
  }

  async fetch(group: string, memberId: string, generation: number, options: FetchOptions): Promise<FetchResult> {
    const { positions, maxRecords, maxBytes, waitMs } = options;
    const body: Contract['Fetch'] = {
      generation,
      positions: bareOffsets(positions),
      ...(maxRecords === undefined ? {} : { maxRecords }),
      ...(maxBytes === undefined ? {} : { maxBytes }),
      ...(waitMs === undefined ? {} : { waitMs }),
    };
    const operation = `fetch in group ${group}`;
    const path = `${memberPath(group, memberId)}/fetch`;
    const answer = await this.#send(operation, 'POST', path, options, { body, waitMs: waitMs ?? 0 });
    const decoded = decode(operation, () => decodeFetch(answer.body));
    const { membership, partitions } = decoded.head as Contract['FetchHead'];
    let next = 0;
    const split = partitions.map(({ topic, partition, count, endOffset }) => {
      const records = decoded.records.slice(next, (next += count)).map(stored);
      return { topic, partition, records, endOffset };
    });
    if (next !== decoded.records.length)
      throw new OwlmqProtocolError(`${operation}: the head does not count the records`);
    return { membership, partitions: split };
  }

  async commit(
    group: string,
    memberId: string,
    generation: number,
    offsets: GroupOffset[],
    options?: CallOptions,
  ): Promise<void> {
    const body: Contract['Commit'] = { generation, offsets: bareOffsets(offsets) };
    await this.#send(`commit in group ${group}`, 'POST', `${memberPath(group, memberId)}/commit`, options, { body });
  }

  async leaveGroup(group: string, memberId: string): Promise<void> {
    await this.#send(`leave group ${group}`, 'DELETE', memberPath(group, memberId));
  }

  async close(): Promise<void> {
    await this.#http.close();
  }

  /** What is shown of a client; never its key. */
  [inspect.custom](): string {
    return `OwlmqClient { url: '${this.url}' }`;
  }

  async #read(
    topic: string,
    partition: number,
    wanted: { offset: number; header?: string },
    options: ReadOptions,
    accept?: string,
  ): Promise<{ operation: string; answer: HttpAnswer; endOffset: number }> {
    const query = new URLSearchParams({ offset: String(wanted.offset) });
    if (wanted.header !== undefined) query.set('header', wanted.header);
    for (const name of ['maxRecords', 'maxBytes', 'waitMs'] as const) {
      const value = options[name];
      if (value !== undefined) query.set(name, String(value));
    }
    const operation = `read ${topic}/${partition}`;
    const path = `${topicPath(topic)}/partitions/${partition}/records?${query.toString()}`;
    const answer = await this.#send(operation, 'GET', path, options, {
      waitMs: options.waitMs ?? 0,
      ...(accept === undefined ? {} : { accept }),
    });
    const endOffset = Number(answer.headers['owlmq-end-offset'] ?? Number.NaN);
    if (!Number.isSafeInteger(endOffset))
      throw new OwlmqProtocolError(`${operation}: the answer has no OwlMQ-End-Offset`);
    return { operation, answer, endOffset };
  }

  async #publishBatch(topic: string, records: OwlmqRecord[], options: CallOptions): Promise<PublishResult[]> {
    const operation = `publish to ${topic}`;
    const sent = { body: encodeRecords(records), mediaType: RECORDS_MEDIA_TYPE };
    const { results } = await this.#json<Contract['PublishResults']>(
      operation,
      'POST',
      `${topicPath(topic)}/records`,
      options,
      sent,
    );
    if (results.length !== records.length) throw new OwlmqProtocolError(`${operation}: not one result an entry`);
    return results;
  }

  /** The server's limits, asked for once. */
  #knownLimits(options: CallOptions | undefined): Promise<Contract['Limits']> {
    // Shared by all callers: none of their signals may end it, and its deadline is that of the first.
    const { timeoutMs = DEFAULT_TIMEOUT_MS, attempts = DEFAULT_ATTEMPTS } = options ?? {};
    this.#limits ??= this.#json<Contract['Limits']>('limits', 'GET', '/v1/limits', { timeoutMs, attempts }).catch(
      (error: unknown) => {
        this.#limits = undefined;
        throw error;
      },
    );
    return this.#limits;
  }

  async #json<T>(
    operation: string,
    method: HttpCall['method'],
    path: string,
    options?: CallOptions,
    sent: Sent = {},
  ): Promise<T> {
    return json(operation, await this.#send(operation, method, path, options, sent)) as T;
  }

  #send(
    operation: string,
    method: HttpCall['method'],
    path: string,
    options?: CallOptions,
    sent: Sent = {},
  ): Promise<HttpAnswer> {
    return this.#http.send({ operation, method, path, options, ...sent });
  }
}

type Sent = Pick<HttpCall, 'body' | 'mediaType' | 'accept' | 'waitMs'>;

/** One deadline over the several requests of a call. */
class Deadline {
  readonly #ends: number | undefined;

  constructor(private readonly given: CallOptions | undefined) {
    this.#ends = given?.timeoutMs === undefined ? undefined : performance.now() + given.timeoutMs;
  }

  options(): CallOptions {
    if (this.#ends === undefined) return this.given ?? {};
    return { ...this.given, timeoutMs: Math.max(1, this.#ends - performance.now()) };
  }
}

interface Batch {
  sent: OwlmqRecord[];
  /** One an entry of the batch: why it is not sent, or undefined when it is. */
  refusals: (PublishResult | undefined)[];
}

/** Splits records into batches that the server takes. What it would never take is refused here, with its key's later ones. */
function* batches(
  records: readonly OwlmqRecord[],
  limits: Contract['Limits'],
  blockedKeys: Set<string>,
): Generator<Batch> {
  const most = largestRecord(limits);
  if (blockedKeys.size === 0 && records.length <= limits.maxBatchRecords) {
    // Nearly always: everything fits, as a bound shows that is quickly had.
    let bound = BODY_HEAD_BYTES;
    let fits = true;
    for (const record of records) {
      const size = frameBytesBound(record);
      bound += size;
      fits &&= size <= most;
    }
    if (fits && bound <= limits.maxBatchBytes) {
      if (records.length > 0) yield { sent: [...records], refusals: records.map(() => undefined) };
      return;
    }
  }
  let batch: Batch = { sent: [], refusals: [] };
  let bytes = BODY_HEAD_BYTES;
  for (const record of records) {
    const size = frameBytes(record);
    if (batch.sent.length >= limits.maxBatchRecords || (batch.sent.length > 0 && bytes + size > limits.maxBatchBytes)) {
      yield batch;
      batch = { sent: [], refusals: [] };
      bytes = BODY_HEAD_BYTES;
    }
    const refusal = refuse(record, size, most, blockedKeys);
    batch.refusals.push(refusal);
    if (refusal !== undefined) continue;
    batch.sent.push(record);
    bytes += size;
  }
  if (batch.refusals.length > 0) yield batch;
}

/** Bytes of the largest record that a server with these limits takes. */
function largestRecord(limits: Contract['Limits']): number {
  return Math.min(limits.maxRecordBytes, limits.maxBatchBytes - BODY_HEAD_BYTES);
}

function refuse(record: OwlmqRecord, size: number, most: number, blockedKeys: Set<string>): PublishResult | undefined {
  const key = record.key?.toString('latin1');
  if (key !== undefined && blockedKeys.has(key)) {
    return {
      ok: false,
      type: 'key-blocked',
      detail: 'An earlier entry of this key failed in this batch',
      retriable: true,
    };
  }
  if (size <= most) return undefined;
  if (key !== undefined) blockedKeys.add(key);
  return {
    ok: false,
    type: 'too-large',
    detail: `The record has ${size} bytes; ${most} are allowed`,
    retriable: false,
  };
}

function taken(result: PublishResult | undefined, topic: string): PublishResult {
  if (result === undefined) throw new OwlmqProtocolError(`publish to ${topic}: not one result an entry`);
  return result;
}

function stored(record: FramedRecord): OwlmqStoredRecord {
  const { offset } = record;
  if (offset === undefined) throw new OwlmqProtocolError('a record that was read has no offset');
  return { ...record, offset };
}

function decode<T>(operation: string, decoder: () => T): T {
  try {
    return decoder();
  } catch (error) {
    if (error instanceof RecordFramesError)
      throw new OwlmqProtocolError(`${operation}: the answer ${error.message}`, { cause: error });
    throw error;
  }
}

/** What is told of a group has more fields than a request may have. */
function bareOffsets(offsets: readonly GroupOffset[]): GroupOffset[] {
  return offsets.map(({ topic, partition, offset }) => ({ topic, partition, offset }));
}

async function unlessUnknown<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof OwlmqNotFoundError) return undefined;
    throw error;
  }
}

function topicPath(topic: string): string {
  return `/v1/topics/${encodeURIComponent(topic)}`;
}

function groupPath(group: string): string {
  return `/v1/groups/${encodeURIComponent(group)}`;
}

function memberPath(group: string, memberId: string): string {
  return `${groupPath(group)}/members/${encodeURIComponent(memberId)}`;
}

/**
 * The address of an OwlMQ.
 *
 * @throws {OwlmqConfigError} when it is missing or cannot be one.
 */
export function parseUrl(text: string | undefined): URL {
  if (text === undefined || text === '')
    throw new OwlmqConfigError('No OwlMQ address: set OWLMQ_URL, for example http://127.0.0.1:8686');
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw new OwlmqConfigError('The OwlMQ address (OWLMQ_URL) is no http or https URL');
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new OwlmqConfigError(
      'The OwlMQ address (OWLMQ_URL) must have no user, password, query or fragment; the key goes into OWLMQ_API_KEY',
    );
  }
  return url;
}

/**
 * An API key that can stand in a header.
 *
 * @throws {OwlmqConfigError} when it is missing or cannot be one.
 */
export function parseKey(key: string | undefined): string {
  if (key === undefined || key === '') throw new OwlmqConfigError('No OwlMQ API key: set OWLMQ_API_KEY');
  // Anything else could not stand in a header. The key itself is not shown.
  if (!/^[\x21-\x7e]+$/.test(key))
    throw new OwlmqConfigError('The OwlMQ API key (OWLMQ_API_KEY) must be printable ASCII without spaces');
  return key;
}
