import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeRecords, HEADS_MEDIA_TYPE, RECORDS_MEDIA_TYPE } from '../../kafka-bridge/src/contract/index.js';
import { OwlmqClient } from '../../kafka-bridge/src/owlmq/owlmq-client.js';
import { loadApiKeys } from '../src/api-keys.js';
import { OwlmqLocalConfigError, startOwlmqLocal, type OwlmqLocal } from '../src/index.js';
import { runBin, ServerProcess } from './server-process.js';

const KEY = 'test-key';
const authorization = `Bearer ${KEY}`;

let folder: string;
let server: OwlmqLocal;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'owlmq-http-'));
  const limits = { maxBatchBytes: 2_000, maxBatchRecords: 3, maxInflightBytes: 2_000, maxLookupIds: 2 };
  server = await startOwlmqLocal({ data: join(folder, 'data'), apiKeys: ['first', KEY], limits });
  await call('PUT', '/v1/topics/t', { json: { partitions: 1 } });
});

afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

interface Sent {
  json?: unknown;
  body?: string | Buffer;
  headers?: Record<string, string>;
}

async function call(
  method: string,
  path: string,
  { json, body, headers }: Sent = {},
): Promise<{ status: number; headers: Headers; body: string }> {
  const content = json === undefined ? body : JSON.stringify(json);
  const response = await fetch(server.url + path, {
    method,
    headers: { authorization, ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(content === undefined ? {} : { body: content }),
  });
  return { status: response.status, headers: response.headers, body: await response.text() };
}

const records = { 'content-type': RECORDS_MEDIA_TYPE };
const record = { partition: 0, id: 'x', key: null, value: Buffer.alloc(10), headers: [], timestamp: 0 };

describe('every error is a problem', () => {
  it.each<[string, number, string, string, string, Sent]>([
    ['no key', 401, 'unauthorized', 'GET', '/v1/topics', { headers: { authorization: '' } }],
    ['an unknown key', 401, 'unauthorized', 'GET', '/v1/topics', { headers: { authorization: 'Bearer test-kez' } }],
    ['no key for an unknown path', 401, 'unauthorized', 'GET', '/v1/nothing', { headers: { authorization: '' } }],
    ['an unknown path', 404, 'not-found', 'GET', '/v1/nothing', {}],
    ['another method', 405, 'method-not-allowed', 'PATCH', '/v1/topics/t', { json: {} }],
    [
      'broken JSON',
      400,
      'invalid-request',
      'PUT',
      '/v1/topics/t',
      { body: '{', headers: { 'content-type': 'application/json' } },
    ],
    ['no body', 400, 'invalid-request', 'PUT', '/v1/topics/t', {}],
    ['a number as text', 400, 'invalid-request', 'PUT', '/v1/topics/t', { json: { partitions: '1' } }],
    ['an unknown field', 400, 'invalid-request', 'PUT', '/v1/topics/t', { json: { partitions: 1, colour: 'red' } }],
    [
      'an unknown field in an offset',
      400,
      'invalid-request',
      'PUT',
      '/v1/groups/g/offsets',
      { json: { offsets: [{ topic: 't', partition: 0, offset: 0, lag: 0 }] } },
    ],
    ['a bad topic name', 400, 'invalid-request', 'PUT', '/v1/topics/a%2Fb', { json: { partitions: 1 } }],
    ['a bad offset', 400, 'invalid-request', 'GET', '/v1/topics/t/partitions/0/records?offset=-1', {}],
    ['no offset', 400, 'invalid-request', 'GET', '/v1/topics/t/partitions/0/records', {}],
    ['maxRecords 0', 400, 'invalid-request', 'GET', '/v1/topics/t/partitions/0/records?offset=0&maxRecords=0', {}],
    ['an unknown topic', 404, 'unknown-topic', 'GET', '/v1/topics/u', {}],
    ['an unknown partition', 404, 'unknown-partition', 'GET', '/v1/topics/t/partitions/1/records?offset=0', {}],
    ['an unknown group', 404, 'unknown-group', 'GET', '/v1/groups/g', {}],
    ['records as JSON', 415, 'unsupported-media-type', 'POST', '/v1/topics/t/records', { json: {} }],
    [
      'records as text',
      415,
      'unsupported-media-type',
      'POST',
      '/v1/topics/t/records',
      { body: 'x', headers: { 'content-type': 'text/csv' } },
    ],
    ['broken records', 400, 'malformed-records', 'POST', '/v1/topics/t/records', { body: 'x', headers: records }],
    [
      'too many records',
      413,
      'too-large',
      'POST',
      '/v1/topics/t/records',
      { body: encodeRecords([record, record, record, record]), headers: records },
    ],
    ['too many ids', 413, 'too-large', 'POST', '/v1/topics/t/lookup', { json: { ids: ['a', 'b', 'c'] } }],
    [
      'a body that is too large',
      413,
      'too-large',
      'POST',
      '/v1/topics/t/records',
      { body: Buffer.alloc(2_001), headers: records },
    ],
    ['an offset past the end', 422, 'offset-out-of-range', 'GET', '/v1/topics/t/partitions/0/records?offset=1', {}],
    [
      'an unknown member',
      409,
      'stale-generation',
      'POST',
      '/v1/groups/g/members/m/heartbeat',
      { json: { generation: 0 } },
    ],
  ])('%s: %i %s', async (_what, status, type, method, path, sent) => {
    const answer = await call(method, path, sent);
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(JSON.parse(answer.body)).toMatchObject({
      type,
      status,
      title: expect.any(String) as unknown,
      detail: expect.any(String) as unknown,
    });
    expect(answer.status).toBe(status);
    expect(answer.body).not.toContain(KEY);
  });

  it('what is not HTTP: 400 invalid-request', async () => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.end('NONSENSE\r\n\r\n');
    expect(await text(socket)).toMatch(/^HTTP\/1.1 400 .*application\/problem\+json.*"invalid-request"/s);
  });

  it('too much at once: 429 throttled with Retry-After, and room again afterwards', async () => {
    const body = encodeRecords([{ ...record, id: 'slow', value: Buffer.alloc(1_500) }]);
    const slow = httpRequest(`${server.url}/v1/topics/t/records`, {
      method: 'POST',
      headers: { authorization, ...records, 'content-length': body.length },
    });
    const answered = once(slow, 'response');
    slow.write(body.subarray(0, 100));
    const inflight = async (): Promise<string | undefined> => {
      return /^owlmq_inflight_bytes (\d+)$/m.exec((await call('GET', '/metrics')).body)?.[1];
    };
    await expect.poll(inflight).toBe(String(body.length));
    const publishOther = () => call('POST', '/v1/topics/t/records', { body, headers: records });
    const refused = await publishOther();
    expect(refused.status).toBe(429);
    expect(JSON.parse(refused.body)).toMatchObject({ type: 'throttled' });
    expect(refused.headers.get('retry-after')).toBe('1');
    slow.end(body.subarray(100));
    const [response] = (await answered) as [IncomingMessage];
    expect(response.statusCode).toBe(200);
    response.resume();
    await expect.poll(async () => (await publishOther()).status).toBe(200);
  });
});

describe('the server', () => {
  it('answers /healthz and /metrics without a key', async () => {
    expect(await (await fetch(`${server.url}/healthz`)).json()).toEqual({ status: 'ok' });
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toContain('owlmq_store_flush_duration_seconds_count');
    expect(metrics).toContain('route="/v1/topics/:topic"');
  });

  it('says its limits', async () => {
    const limits: unknown = JSON.parse((await call('GET', '/v1/limits')).body);
    expect(limits).toMatchObject({ maxBatchBytes: 2_000, maxBatchRecords: 3, maxLookupIds: 2 });
    expect(limits).not.toHaveProperty('maxInflightBytes');
  });

  it('answers a client that is still sending what is too large', async () => {
    // In a process of its own: in this one it would not answer while the client sends.
    const child = await ServerProcess.start(join(folder, 'large'), KEY);
    const body = Buffer.alloc(8 * 1024 * 1024 + 1);
    const refused = async (): Promise<number> => {
      const url = `${child.url}/v1/topics/t/records`;
      const answer = await fetch(url, { method: 'POST', headers: { authorization, ...records }, body });
      await answer.arrayBuffer();
      return answer.status;
    };
    for (let times = 0; times < 20; times++) expect(await refused()).toBe(413);
    await child.end('SIGTERM');
  });

  it('answers a read with heads only where its Accept prefers them', async () => {
    const typeFor = async (accept: string): Promise<string | null> =>
      (await call('GET', '/v1/topics/t/partitions/0/records?offset=0', { headers: { accept } })).headers.get(
        'content-type',
      );
    const [heads, records] = [HEADS_MEDIA_TYPE, RECORDS_MEDIA_TYPE];
    for (const accept of [heads, `${heads}, ${records};q=0.1`, `${heads}, */*;q=0.5`]) {
      expect(await typeFor(accept), accept).toBe(heads);
    }
    for (const accept of ['*/*', records, `${records}, ${heads};q=0.1`, `${heads};q=0`]) {
      expect(await typeFor(accept), accept).toBe(records);
    }
  });

  it('does not start without a key, or on a folder that is in use', async () => {
    await expect(startOwlmqLocal({ data: join(folder, 'other'), apiKeys: [] })).rejects.toThrow(/OWLMQ_API_KEY/);
    await expect(startOwlmqLocal({ data: join(folder, 'data'), apiKeys: ['k'] })).rejects.toBeInstanceOf(
      OwlmqLocalConfigError,
    );
    const child = runBin(['--port', '0', '--data', join(folder, 'data')], { OWLMQ_API_KEY: 'k' });
    expect(await once(child, 'exit')).toEqual([2, null]);
    const keyless = runBin(['--port', '0', '--data', join(folder, 'other')], {});
    expect(await once(keyless, 'exit')).toEqual([2, null]);
  });

  it('takes keys from the environment and a file', async () => {
    const file = join(folder, 'keys');
    await writeFile(file, '# for the trial\nin-file\n\n');
    expect(loadApiKeys({ OWLMQ_API_KEYS: 'a, b', OWLMQ_API_KEY: 'c' }, file)).toEqual(['a', 'b', 'c', 'in-file']);
    expect(() => loadApiKeys({}, join(folder, 'missing'))).toThrow(OwlmqLocalConfigError);
  });

  it('ends long polls and stops when it is told to, and has everything after', async () => {
    const data = join(folder, 'terminated');
    const child = await ServerProcess.start(data, KEY);
    const client = new OwlmqClient({ url: child.url, apiKey: KEY });
    await client.createTopic('t', 1);
    await client.publish('t', [record]);
    const polled = client.read('t', 0, 1, { waitMs: 30_000, attempts: 1 });
    await client.describeTopic('t');
    const started = performance.now();
    // The poll ends with an answer, or before its request arrived with a refusal.
    const [exit] = await Promise.all([child.end('SIGTERM'), polled.catch((error: unknown) => error)]);
    expect(exit).toEqual([0, null]);
    expect(performance.now() - started).toBeLessThan(8_000);
    await client.close();
    const restarted = await ServerProcess.start(data, KEY);
    const reader = new OwlmqClient({ url: restarted.url, apiKey: KEY });
    expect((await reader.read('t', 0, 0)).records).toEqual([{ ...record, offset: 0 }]);
    await reader.close();
    await restarted.end('SIGTERM');
  });

  it('explains itself', async () => {
    const child = runBin(['--help'], {});
    const output = text(child.stdout ?? process.stdin);
    expect(await once(child, 'exit')).toEqual([0, null]);
    for (const word of ['--host', '--port', '--data', 'OWLMQ_API_KEY', 'OWLMQ_LOCAL_PORT'])
      expect(await output).toContain(word);
  });
});
