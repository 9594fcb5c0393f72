import { once } from 'node:events';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildApp } from '../src/endpoint/app.js';
import type { EndpointContext } from '../src/endpoint/context.js';

const TOKEN = '0123456789abcdef';
const MIGRATION = '/v1/migrations/m';

describe('what the endpoint holds at once', () => {
  let app: FastifyInstance;
  let written = 0;
  const sent: ClientRequest[] = [];

  beforeEach(async () => {
    written = 0;
    // As with a Kafka that takes connections and does not answer, for longer than a test can wait.
    const context = {
      board: {
        find: () => ({ standing: true, state: { epoch: 1, topics: ['orders'], groups: ['g'], shadow: 'off' } }),
      },
      partitions: { problems: () => Promise.resolve([]) },
      observations: {
        write: () => {
          written += 1;
          return new Promise(() => undefined);
        },
      },
      closing: new AbortController().signal,
    } as unknown as EndpointContext;
    app = await buildApp(context, { tokens: [TOKEN], logger: pino({ level: 'silent' }) });
    await app.listen({ host: '127.0.0.1', port: 0 });
  });

  afterEach(async () => {
    for (const one of sent.splice(0)) one.destroy();
    await app.close();
  });

  /** Sends a request; `answered` has the status and body of its answer. */
  function send(method: string, path: string, headers: Record<string, string>, body: string | undefined) {
    const { port } = app.server.address() as AddressInfo;
    const one = request({
      ...{ host: '127.0.0.1', port, method, path: `${MIGRATION}/${path}` },
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json', ...headers },
    });
    sent.push(one);
    const answered = once(one, 'response').then(async ([answer]: IncomingMessage[]) => {
      const text = Buffer.concat((await answer?.toArray()) as Buffer[]).toString();
      return { status: answer?.statusCode, body: JSON.parse(text) as unknown };
    });
    // Those that are broken off are of no interest.
    answered.catch(() => undefined);
    if (body === undefined) one.flushHeaders();
    else one.end(body);
    return { one, answered };
  }

  it.each([
    ['DELETE', 'members/a'],
    ['PATCH', 'observations'],
  ])('counts of a body in parts as much as a route takes, with %s too', async (method, path) => {
    const sending = Array.from({ length: 7 }, () => send(method, path, { 'transfer-encoding': 'chunked' }, undefined));
    // Of 32 MiB each may have 5: the one that comes last has no room.
    expect(await Promise.race(sending.map(({ answered }) => answered))).toMatchObject({
      status: 429,
      body: { type: 'throttled' },
    });
  });

  it('counts the bytes of what Kafka has not taken, also when its client waits no longer', async () => {
    const observation = {
      ...{ group: 'g', side: 'live', topic: 'orders', partition: 0, id: 'one', kafka: 0, time: 1, key: null, epoch: 1 },
      output: 'x'.repeat(5_000_000),
    };
    const body = JSON.stringify({ observations: [observation] });
    for (let taken = 1; taken <= 6; taken += 1) {
      const { one } = send('POST', 'observations', {}, body);
      await expect.poll(() => written, { timeout: 10_000, interval: 5 }).toBe(taken);
      one.destroy();
    }
    await expect
      .poll(() => send('POST', 'observations', {}, body).answered, { timeout: 10_000, interval: 20 })
      .toMatchObject({
        status: 429,
        body: { detail: expect.stringContaining('Kafka has not yet taken 6') as unknown },
      });
    expect(written).toBe(6);
  });
});
