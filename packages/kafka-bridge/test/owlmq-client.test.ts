import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startOwlmqLocal, type OwlmqLocal } from '../../owlmq-local/src/index.js';
import type { OwlmqRecord } from '../src/owlmq/owlmq-api.js';
import { OwlmqClient } from '../src/owlmq/owlmq-client.js';
import {
  OwlmqConfigError,
  OwlmqGroupNotEmptyError,
  OwlmqNotFoundError,
  OwlmqOffsetOutOfRangeError,
  OwlmqProblemError,
  OwlmqProtocolError,
  OwlmqStaleGenerationError,
  OwlmqThrottledError,
  OwlmqUnauthorizedError,
  OwlmqUnreachableError,
} from '../src/owlmq/owlmq-errors.js';

const KEY = 'a-key-that-nobody-may-see';
let counter = 0;

function record(partition: number, change: Partial<OwlmqRecord> = {}): OwlmqRecord {
  const id = `id-${counter++}`;
  return {
    partition,
    id,
    key: Buffer.from('k'),
    value: Buffer.from(id),
    headers: [],
    timestamp: 1_000 + counter,
    ...change,
  };
}

function newName(kind: string): string {
  return `${kind}-${counter++}`;
}

describe('OwlmqClient against a real server', () => {
  let folder: string;
  let server: OwlmqLocal;
  let client: OwlmqClient;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'owlmq-client-'));
    server = await startOwlmqLocal({
      data: folder,
      apiKeys: ['another', KEY],
      limits: { maxBatchRecords: 10, maxBatchBytes: 20_000, maxRecordBytes: 10_000, maxLookupIds: 7 },
    });
    client = new OwlmqClient({ url: server.url, apiKey: KEY });
  });

  afterAll(async () => {
    await client.close();
    await server.close();
    await rm(folder, { recursive: true });
  });

  async function newTopic(partitions = 1): Promise<string> {
    const topic = newName('topic');
    expect(await client.createTopic(topic, partitions)).toBe(true);
    return topic;
  }

  it('creates topics once, and describes and lists them', async () => {
    const topic = await newTopic(2);
    expect(await client.createTopic(topic, 2)).toBe(false);
    await expect(client.createTopic(topic, 3)).rejects.toMatchObject({ type: 'topic-exists', status: 409 });
    await client.publish(topic, [record(1)]);
    const description = {
      name: topic,
      partitions: [
        { partition: 0, beginOffset: 0, endOffset: 0 },
        { partition: 1, beginOffset: 0, endOffset: 1 },
      ],
    };
    expect(await client.describeTopic(topic)).toEqual(description);
    expect(await client.describeTopic(newName('unknown'))).toBeUndefined();
    expect(await client.listTopics()).toContainEqual(description);
  });

  it('publishes and reads bytes of every kind', async () => {
    const topic = await newTopic(2);
    const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const records = [
      record(1, {
        key: all,
        value: all,
        headers: [
          ['h', all],
          ['h', Buffer.alloc(0)],
          ['ä', Buffer.from('2')],
        ],
      }),
      record(1, { key: null, value: Buffer.alloc(0) }),
      record(0, { key: Buffer.alloc(0), value: null }),
      record(1, { id: 'topic/0/17 ü' }),
    ];
    const results = await client.publish(topic, records);
    expect(results).toEqual([
      { ok: true, partition: 1, offset: 0, duplicate: false },
      { ok: true, partition: 1, offset: 1, duplicate: false },
      { ok: true, partition: 0, offset: 0, duplicate: false },
      { ok: true, partition: 1, offset: 2, duplicate: false },
    ]);
    const read = await client.read(topic, 1, 0);
    expect(read.endOffset).toBe(3);
    expect(read.records).toEqual([records[0], records[1], records[3]].map((one, offset) => ({ ...one, offset })));
    expect((await client.read(topic, 0, 0)).records).toEqual([{ ...records[2], offset: 0 }]);
  });

  it('answers a second write of an id with the first place, in a batch, later and at the same time', async () => {
    const topic = await newTopic(2);
    const first = record(0);
    const again = { ...first, partition: 1 };
    const [written, inBatch] = await client.publish(topic, [first, again]);
    expect(written).toEqual({ ok: true, partition: 0, offset: 0, duplicate: false });
    expect(inBatch).toEqual({ ok: true, partition: 0, offset: 0, duplicate: true });
    expect(await client.publish(topic, [again])).toEqual([inBatch]);

    const contested = Array.from({ length: 5 }, () => record(1));
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.publish(topic, contested)));
    const places = answers.map((results) =>
      results.map((result) => result.ok && `${result.partition}/${result.offset}`),
    );
    expect(new Set(places.map(String)).size).toBe(1);
    expect(answers.flat().filter((result) => result.ok && !result.duplicate)).toHaveLength(5);
    expect((await client.read(topic, 1, 0)).records.map(({ id }) => id)).toEqual(contested.map(({ id }) => id));
  });

  it('splits what is over the limits, and keeps the order', async () => {
    const topic = await newTopic();
    const records = Array.from({ length: 64 }, () => record(0, { value: Buffer.alloc(3000) }));
    const results = await client.publish(topic, records);
    expect(results.map((result) => result.ok && result.offset)).toEqual(records.map((_, offset) => offset));
    const places = await client.lookup(topic, [...records.map(({ id }) => id), 'nobody']);
    expect(places).toEqual([...records.map((_, offset) => ({ partition: 0, offset })), undefined]);
  });

  it('fails the later entries of a key whose entry failed, also over split batches, and no others', async () => {
    const topic = await newTopic();
    const [bad, other] = [Buffer.from('bad'), Buffer.from('other')];
    const records = [
      record(0, { key: bad }),
      record(9, { key: bad }),
      record(0, { key: bad }),
      record(0, { key: other, value: Buffer.alloc(10_001) }),
      ...Array.from({ length: 12 }, () => record(0, { key: null })),
      record(0, { key: bad }),
      record(0, { key: other }),
    ];
    const results = await client.publish(topic, records);
    const outcome = results.map((result) => (result.ok ? 'ok' : result.type));
    expect(outcome).toEqual([
      'ok',
      'unknown-partition',
      'key-blocked',
      'too-large',
      ...Array.from({ length: 12 }, () => 'ok'),
      'key-blocked',
      'key-blocked',
    ]);
    expect((await client.describeTopic(topic))?.partitions[0]?.endOffset).toBe(13);
  });

  it('reads within limits, waits for a first record, and refuses offsets out of range', async () => {
    const topic = await newTopic();
    await client.publish(
      topic,
      Array.from({ length: 8 }, () => record(0, { value: Buffer.alloc(1000) })),
    );
    expect((await client.read(topic, 0, 2, { maxRecords: 3 })).records.map(({ offset }) => offset)).toEqual([2, 3, 4]);
    expect((await client.read(topic, 0, 7, { maxBytes: 1 })).records.map(({ offset }) => offset)).toEqual([7]);
    expect((await client.read(topic, 0, 0, { maxBytes: 2500 })).records).toHaveLength(2);
    expect(await client.read(topic, 0, 8, { waitMs: 50 })).toEqual({ records: [], endOffset: 8 });
    const waiting = client.read(topic, 0, 8, { waitMs: 20_000 });
    await client.publish(topic, [record(0)]);
    expect((await waiting).records.map(({ offset }) => offset)).toEqual([8]);
    const outOfRange = client.read(topic, 0, 10);
    await expect(outOfRange).rejects.toBeInstanceOf(OwlmqOffsetOutOfRangeError);
    await expect(outOfRange).rejects.toMatchObject({ beginOffset: 0, endOffset: 9, outcomeUnknown: false });
    await expect(client.read(topic, 1, 0)).rejects.toBeInstanceOf(OwlmqNotFoundError);
  });

  it('finds the first record at or after a time, though times need not rise', async () => {
    const topic = await newTopic(2);
    const times = [5, 3, 9, 1, 20, 7, 30];
    for (const timestamp of times) await client.publish(topic, [record(0, { timestamp })]);
    for (let time = 0; time <= 31; time++) {
      const first = times.findIndex((timestamp) => timestamp >= time);
      expect(await client.offsetsForTime(topic, time)).toEqual([first === -1 ? times.length : first, 0]);
    }
  });

  it('takes a member through join, fetch, commit, heartbeat and leave', async () => {
    const topic = await newTopic(2);
    const group = newName('group / with ä');
    await client.publish(topic, [record(0), record(1), record(1)]);
    const joined = await client.joinGroup(group, {
      topics: [topic],
      clientId: 'me',
      sessionTimeoutMs: 10_000,
      offsetReset: 'earliest',
    });
    expect(joined).toMatchObject({
      state: 'stable',
      assignment: [0, 1].map((partition) => ({ topic, partition, offset: 0 })),
    });
    const { memberId, generation } = joined;

    const fetched = await client.fetch(group, memberId, generation, { positions: joined.assignment, waitMs: 10_000 });
    const counts = fetched.partitions
      .map(({ partition, records, endOffset }) => [partition, records.length, endOffset])
      .sort();
    expect(counts).toEqual([
      [0, 1, 1],
      [1, 2, 2],
    ]);
    await client.commit(group, memberId, generation, [{ topic, partition: 1, offset: 2 }]);
    await expect(
      client.commit(group, memberId, generation, [{ topic, partition: 1, offset: 3 }]),
    ).rejects.toBeInstanceOf(OwlmqOffsetOutOfRangeError);
    expect((await client.heartbeat(group, memberId, generation)).assignment).toContainEqual({
      topic,
      partition: 1,
      offset: 2,
    });

    const refused = client.setGroupOffsets(group, [{ topic, partition: 0, offset: 1 }]);
    await expect(refused).rejects.toBeInstanceOf(OwlmqGroupNotEmptyError);
    await expect(refused).rejects.toMatchObject({ members: [memberId] });
    await client.leaveGroup(group, memberId);
    await client.leaveGroup(group, memberId);
    await expect(client.heartbeat(group, memberId, generation)).rejects.toBeInstanceOf(OwlmqStaleGenerationError);
    await client.setGroupOffsets(group, [{ topic, partition: 0, offset: 1 }]);
    expect(await client.describeGroup(group)).toMatchObject({
      name: group,
      state: 'empty',
      members: [],
      offsets: expect.arrayContaining([
        { topic, partition: 0, offset: 1, endOffset: 1, lag: 0 },
        { topic, partition: 1, offset: 2, endOffset: 2, lag: 0 },
      ]) as unknown,
    });
    expect(await client.listGroups()).toContain(group);
    expect(await client.describeGroup(newName('nobody'))).toBeUndefined();
  });

  it('sets offsets of a group all or none', async () => {
    const topic = await newTopic(2);
    const group = newName('group');
    await client.publish(topic, [record(0)]);
    const offsets = [
      { topic, partition: 0, offset: 1 },
      { topic, partition: 1, offset: 1 },
    ];
    await expect(client.setGroupOffsets(group, offsets)).rejects.toBeInstanceOf(OwlmqOffsetOutOfRangeError);
    expect(await client.describeGroup(group)).toBeUndefined();
    await expect(client.setGroupOffsets(group, [{ topic: 'nothing', partition: 0, offset: 0 }])).rejects.toBeInstanceOf(
      OwlmqNotFoundError,
    );
    // What a description tells can be set again, though it tells more than a request may.
    await client.setGroupOffsets(group, [{ topic, partition: 0, offset: 1 }]);
    await client.setGroupOffsets(group, (await client.describeGroup(group))?.offsets ?? []);
  });

  it('begins at the end with offsetReset latest, once', async () => {
    const topic = await newTopic();
    const group = newName('group');
    await client.publish(topic, [record(0)]);
    const request = { topics: [topic], clientId: 'me', sessionTimeoutMs: 10_000, offsetReset: 'latest' as const };
    const first = await client.joinGroup(group, request);
    expect(first.assignment).toEqual([{ topic, partition: 0, offset: 1 }]);
    await client.publish(topic, [record(0)]);
    await client.leaveGroup(group, first.memberId);
    expect((await client.joinGroup(group, request)).assignment).toEqual([{ topic, partition: 0, offset: 1 }]);
  });

  it('tells a wrong key from everything else, and never shows one', async () => {
    const wrong = new OwlmqClient({ url: server.url, apiKey: 'secret-but-wrong' });
    const error: unknown = await wrong.listTopics().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OwlmqUnauthorizedError);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('secret-but-wrong');
    expect(inspect(wrong, { depth: 9, showHidden: true })).not.toContain('secret-but-wrong');
    expect(JSON.stringify(wrong)).not.toContain('secret-but-wrong');
    await wrong.close();
  });

  it('ends a call with the reason of its signal', async () => {
    const topic = await newTopic();
    const controller = new AbortController();
    const waiting = client.read(topic, 0, 0, { waitMs: 20_000, signal: controller.signal });
    const reason = new Error('no longer wanted');
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
  });
});

describe('OwlmqClient without what it needs', () => {
  it.each([
    ['address', {}, 'OWLMQ_URL'],
    ['key', { OWLMQ_URL: 'http://127.0.0.1:1' }, 'OWLMQ_API_KEY'],
    ['http address', { OWLMQ_URL: 'ftp://127.0.0.1', OWLMQ_API_KEY: 'k' }, 'OWLMQ_URL'],
    ['address without a secret', { OWLMQ_URL: 'http://a:b@127.0.0.1', OWLMQ_API_KEY: 'k' }, 'OWLMQ_API_KEY'],
    ['sendable key', { OWLMQ_URL: 'http://127.0.0.1', OWLMQ_API_KEY: 'k\r\nx' }, 'OWLMQ_API_KEY'],
  ])('says what to set when there is no %s', (_what, env: Record<string, string>, named) => {
    const before = { ...process.env };
    delete process.env['OWLMQ_URL'];
    delete process.env['OWLMQ_API_KEY'];
    Object.assign(process.env, env);
    try {
      expect(() => new OwlmqClient()).toThrow(OwlmqConfigError);
      expect(() => new OwlmqClient()).toThrow(named);
    } finally {
      process.env = before;
    }
  });
});

/** Faults that a real server cannot be asked for. */
describe('OwlmqClient against a server with faults', () => {
  let fake: Server | undefined;

  afterEach(async () => {
    const closing = fake;
    fake = undefined;
    if (closing === undefined) return;
    closing.closeAllConnections();
    await new Promise((resolve) => closing.close(resolve));
  });

  async function serve(
    handler: (request: IncomingMessage, response: ServerResponse, count: number) => void,
  ): Promise<{ client: OwlmqClient; requests: number[] }> {
    const requests: number[] = [];
    fake = createServer((request, response) => {
      requests.push(performance.now());
      handler(request, response, requests.length);
    });
    const server = fake;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    return { client: new OwlmqClient({ url: `http://127.0.0.1:${port}`, apiKey: KEY }), requests };
  }

  function problem(response: ServerResponse, status: number, type: string, headers: Record<string, string> = {}): void {
    response.writeHead(status, { 'content-type': 'application/problem+json', ...headers });
    response.end(JSON.stringify({ type, title: type, status, detail: 'as asked' }));
  }

  it('waits as long as Retry-After says, then goes on', async () => {
    const { client, requests } = await serve((_request, response, count) => {
      if (count === 1) problem(response, 429, 'throttled', { 'retry-after': '1' });
      else response.end('{"topics":[]}');
    });
    expect(await client.listTopics()).toEqual([]);
    expect((requests[1] ?? 0) - (requests[0] ?? 0)).toBeGreaterThanOrEqual(995);
    await client.close();
  });

  it('does not wait for longer than its deadline', async () => {
    const { client, requests } = await serve((_request, response) => {
      problem(response, 503, 'unavailable', { 'retry-after': '60' });
    });
    const call = client.describeTopic('t', { timeoutMs: 5_000 });
    await expect(call).rejects.toBeInstanceOf(OwlmqThrottledError);
    await expect(call).rejects.toMatchObject({ retryAfterMs: 60_000, outcomeUnknown: true });
    expect(requests).toHaveLength(1);
    await client.close();
  });

  it('repeats after broken connections and 5xx, as often as it was told', async () => {
    const { client, requests } = await serve((request, response, count) => {
      if (count % 2 === 1) request.socket.destroy();
      else problem(response, 500, 'internal');
    });
    await expect(client.describeTopic('t', { attempts: 4 })).rejects.toBeInstanceOf(OwlmqProblemError);
    expect(requests).toHaveLength(4);
    await expect(client.describeTopic('t', { attempts: 1 })).rejects.toMatchObject({
      name: 'OwlmqUnreachableError',
      reason: 'connection',
      outcomeUnknown: true,
    });
    await client.close();
  });

  it('does not repeat what cannot be mended', async () => {
    const { client, requests } = await serve((_request, response) => {
      problem(response, 400, 'invalid-request');
    });
    await expect(client.listTopics()).rejects.toMatchObject({ type: 'invalid-request', outcomeUnknown: false });
    expect(requests).toHaveLength(1);
    await client.close();
  });

  it('gives up on a server that does not answer', async () => {
    const { client } = await serve(() => undefined);
    const call = client.describeTopic('t', { timeoutMs: 100 });
    await expect(call).rejects.toBeInstanceOf(OwlmqUnreachableError);
    await expect(call).rejects.toMatchObject({ reason: 'timeout', outcomeUnknown: true });
    await client.close();
  });

  it('says so when the answer is not of the contract', async () => {
    const { client } = await serve((_request, response) => {
      response.end('<html>');
    });
    await expect(client.listTopics()).rejects.toBeInstanceOf(OwlmqProtocolError);
    await client.close();
  });
});
