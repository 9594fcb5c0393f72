import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  decodeRecords,
  encodeRecords,
  RECORDS_MEDIA_TYPE,
  requestSchemas,
  type RecordToFrame,
} from '../packages/kafka-bridge/src/contract/index.js';
import { startOwlmqLocal, type OwlmqLocal } from '../packages/owlmq-local/src/index.js';
import { buildApp } from '../src/endpoint/app.js';
import type { EndpointContext } from '../src/endpoint/context.js';
import { fuzzedRequests, fuzzRuns, sendFuzzed, type FuzzedAnswer, type FuzzedRoute } from './fuzz-requests.js';

const TOKEN = '0123456789abcdef';

/** An answer to what is no request: refused by the server itself, or a problem, or done. Never a fault of the server. */
function expectAnswered({ status, type, text }: FuzzedAnswer): void {
  expect(status, text).toBeGreaterThanOrEqual(200);
  expect(status, text).toBeLessThan(500);
  if (status < 400 || text === '') return;
  expect(text).not.toMatch(/node:internal|\.js:\d|\.ts:\d/);
  if (type.startsWith('application/problem+json')) expect(JSON.parse(text)).toHaveProperty('type');
}

/** Clients that send half of a body, and go away. */
async function breakOff(url: string, path: string, headers: string): Promise<void> {
  const { hostname, port } = new URL(url);
  await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const socket = connect(Number(port), hostname);
      const head = `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n${headers}`;
      const length =
        index % 2 === 0 ? 'content-length: 1000\r\n\r\nhalf' : 'transfer-encoding: chunked\r\n\r\nff\r\nha';
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.write(head + length, () => {
          resolve();
        });
      });
      socket.destroy();
    }),
  );
}

/** Every name of a property in the schemas of requests. */
const fields = [
  ...new Set(
    Object.values(requestSchemas as Record<string, { properties?: object }>).flatMap(({ properties }) =>
      Object.keys(properties ?? {}),
    ),
  ),
].filter((name) => name !== 'waitMs');

describe('owlmq-local', () => {
  let folder: string;
  let server: OwlmqLocal;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fuzz-'));
    server = await startOwlmqLocal({ data: folder, apiKeys: [TOKEN] });
    const made = await send('PUT', '/v1/topics/known', '{"partitions":2}');
    expect(made.status).toBe(201);
  });
  afterAll(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });

  const json = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
  const send = (method: string, path: string, body?: string) =>
    sendFuzzed(server.url, { method, path, headers: json, body: body === undefined ? undefined : Buffer.from(body) });

  const routes: FuzzedRoute[] = [
    { method: 'GET', path: '/v1/{any}' },
    { method: 'GET', path: '/v1/topics/{topic}' },
    { method: 'PUT', path: '/v1/topics/{topic}', fields: ['partitions'] },
    { method: 'POST', path: '/v1/topics/{topic}/records', fields, type: RECORDS_MEDIA_TYPE },
    { method: 'POST', path: '/v1/topics/{topic}/lookup', fields },
    { method: 'GET', path: '/v1/topics/{topic}/partitions/{partition}/records' },
    { method: 'GET', path: '/v1/topics/{topic}/offsets' },
    { method: 'GET', path: '/v1/groups/{group}' },
    { method: 'PUT', path: '/v1/groups/{group}/offsets', fields },
    { method: 'DELETE', path: '/v1/groups/{group}/members/{member}' },
    { method: 'POST', path: '/v1/groups/{group}/members/{member}/heartbeat', fields },
    { method: 'POST', path: '/v1/groups/{group}/members/{member}/fetch', fields },
    { method: 'POST', path: '/v1/groups/{group}/members/{member}/commit', fields },
  ];

  it('answers whatever is sent, and stays whole', async () => {
    await fc.assert(
      fc.asyncProperty(fuzzedRequests(routes, TOKEN), async (request) => {
        expectAnswered(await sendFuzzed(server.url, request));
      }),
      fuzzRuns(),
    );
    const { topics } = JSON.parse((await send('GET', '/v1/topics')).text) as { topics: { name: string }[] };
    for (const { name } of topics)
      expect((await send('GET', `/v1/topics/${encodeURIComponent(name)}`)).status, name).toBe(200);
    const { groups } = JSON.parse((await send('GET', '/v1/groups')).text) as { groups: { name: string }[] };
    for (const { name } of groups)
      expect((await send('GET', `/v1/groups/${encodeURIComponent(name)}`)).status, name).toBe(200);
  });

  it('gives back every record that it accepted, of frames with any bytes changed', async () => {
    const bytes = fc.uint8Array({ maxLength: 50 }).map((some) => Buffer.from(some));
    const records = fc.array(
      fc.record<RecordToFrame>({
        partition: fc.constantFrom(0, 1),
        id: fc.uuid(),
        key: fc.option(bytes),
        value: fc.option(bytes),
        headers: fc.array(fc.tuple(fc.string({ minLength: 1, maxLength: 9 }), bytes), { maxLength: 3 }),
        timestamp: fc.nat(),
      }),
      { minLength: 1, maxLength: 4 },
    );
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(records, changes, async (batch, places) => {
        const body = encodeRecords(batch);
        for (const [place, byte] of places) body[place % body.length] = byte;
        const headers = { ...json, 'content-type': RECORDS_MEDIA_TYPE };
        const path = '/v1/topics/known/records';
        const answer = await sendFuzzed(server.url, { method: 'POST', path, headers, body });
        expectAnswered(answer);
        if (answer.status !== 200) return;
        const { results } = JSON.parse(answer.text) as { results: { partition?: number; offset?: number }[] };
        const sent = decodeRecords(body);
        for (const [index, { partition, offset }] of results.entries()) {
          if (partition === undefined || offset === undefined) continue;
          const at = `/v1/topics/known/partitions/${partition}/records?offset=${offset}&maxRecords=1`;
          const read = await fetch(server.url + at, { headers: json });
          expect(read.status).toBe(200);
          const [record] = decodeRecords(Buffer.from(await read.arrayBuffer()));
          expect(record).toMatchObject({ offset, id: sent[index]?.id });
          if (places.length === 0) expect(record?.value).toEqual(sent[index]?.value);
        }
      }),
      fuzzRuns(),
    );
  });

  it('keeps nothing of bodies that were broken off', async () => {
    await breakOff(server.url, '/v1/topics/known/records', `content-type: ${RECORDS_MEDIA_TYPE}\r\n`);
    await expect
      .poll(async () => (await send('GET', '/metrics')).text, { timeout: 10_000, interval: 50 })
      .toMatch(/^owlmq_inflight_bytes 0$/m);
  });
});

describe('the observation endpoint', () => {
  let app: FastifyInstance;
  let url: string;

  beforeAll(async () => {
    const state = { epoch: 1, topics: ['known'], groups: ['known'], shadow: 'off', leaseMs: 10_000 };
    const context = {
      board: { find: () => ({ standing: true, state }), readToEnd: () => Promise.resolve(), asOf: Date.now() },
      partitions: { problems: () => Promise.resolve([]) },
      observations: { write: () => Promise.resolve() },
      relay: { write: () => Promise.resolve() },
      roster: { members: () => [], readToEnd: () => Promise.resolve() },
      closing: new AbortController().signal,
    } as unknown as EndpointContext;
    app = await buildApp(context, { tokens: [TOKEN], logger: pino({ level: 'silent' }) });
    await app.listen({ host: '127.0.0.1', port: 0 });
    url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
  });
  afterAll(() => app.close());

  const observed = ['group', 'side', 'topic', 'partition', 'id', 'kafka', 'time', 'key', 'epoch', 'output', 'error'];
  const reported = ['group', 'epoch', 'state', 'only', 'shadow', 'positions', 'watermarks', 'applied', 'known'];
  const routes: FuzzedRoute[] = [
    { method: 'GET', path: '/v1/{any}' },
    { method: 'PUT', path: '/v1/migrations/{migration}/members/{instance}', fields: reported },
    { method: 'DELETE', path: '/v1/migrations/{migration}/members/{instance}' },
    { method: 'POST', path: '/v1/migrations/{migration}/observations', fields: ['observations', ...observed] },
  ];

  it('answers whatever is sent', async () => {
    await fc.assert(
      fc.asyncProperty(fuzzedRequests(routes, TOKEN), async (request) => {
        expectAnswered(await sendFuzzed(url, request));
      }),
      fuzzRuns(),
    );
  });

  it('goes on after bodies that were broken off', async () => {
    await breakOff(url, '/v1/migrations/known/observations', 'content-type: application/json\r\n');
    const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
    const path = '/v1/migrations/known/observations';
    const body = Buffer.from('{"observations":[]}');
    expectAnswered(await sendFuzzed(url, { method: 'POST', path, headers, body }));
  });
});
