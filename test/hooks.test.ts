import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { hookActivities } from '../src/activities/hooks.js';
import type { CallHookRequest, HookAnswer } from '../src/activities/migration-activities.js';
import { newHookSecret, receiveHooks, signatureOf } from './hook-receiver.js';

const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});

async function receiver(...given: Parameters<typeof receiveHooks>): ReturnType<typeof receiveHooks> {
  const received = await receiveHooks(...given);
  closing.push(received.close);
  return received;
}

const { secret, key } = newHookSecret();

const request: CallHookRequest = {
  ...{ hook: 'billing-batch', migration: 'migrate.orders', event: 'stop-consumers', epoch: 17, attempt: 1 },
  groups: ['billing-batch'],
  leg: 'kafka',
  offsets: { orders: [3, 4] },
  reason: 'cutover',
  deadline: '2026-01-01T00:00:10.000Z',
  timeoutMs: 3_000,
};

async function call(
  url: string,
  change: Partial<CallHookRequest> = {},
  secrets = [secret],
  environment = new MockActivityEnvironment({ scheduledTimestampMs: Date.now() }),
): Promise<HookAnswer> {
  const { callHook } = hookActivities({ webhooks: new Map([['billing-batch', { url, secrets }]]) });
  return await environment.run(() => callHook({ ...request, ...change }));
}

async function failureOf(calling: Promise<unknown>): Promise<ApplicationFailure> {
  const error = await calling.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ApplicationFailure)) throw new Error('it did not fail as it should', { cause: error });
  return error;
}

const ok: Parameters<typeof receiveHooks>[0] = (response) => {
  response.writeHead(200).end();
};

describe('a webhook', () => {
  it('is told what to do in a signed body, by every secret there is', async () => {
    const { url, calls } = await receiver(ok);
    const other = newHookSecret();
    expect(await call(url, {}, [secret, other.secret])).toEqual({ accepted: false, status: 200, attempts: 1 });
    const [only] = calls;
    if (only === undefined) throw new Error('nothing was called');
    expect(only.method).toBe('POST');
    expect(only.headers['content-type']).toBe('application/json');
    expect(only.headers['webhook-signature']).toBe(`${signatureOf(key, only)} ${signatureOf(other.key, only)}`);
    expect(Math.abs(Number(only.headers['webhook-timestamp']) - Date.now() / 1_000)).toBeLessThan(5);
    const { timeoutMs: _, ...told } = request;
    expect(JSON.parse(only.body)).toEqual({ type: 'migration.hook', id: only.headers['webhook-id'], ...told });
    // No character that needs care in a header or in what is signed.
    expect(only.headers['webhook-id']).toMatch(/^hook_[0-9a-f]{40}$/);
  });

  it('is called again under the same id, signed anew, until it is there', async () => {
    const { url, calls } = await receiver((response, _, nth) => {
      if (nth === 1) response.destroy();
      else response.writeHead(nth === 2 ? 503 : 204).end();
    });
    expect(await call(url)).toMatchObject({ status: 204, attempts: 3 });
    await call(url);
    await call(url, { epoch: 18 });
    await call(url, { event: 'resume-on-owlmq' });
    await call(url, { attempt: 2 });
    const ids = calls.map(({ headers }) => headers['webhook-id']);
    expect(new Set(ids.slice(0, 4)).size).toBe(1);
    expect(new Set(ids.slice(3)).size).toBe(4);
    for (const one of calls) expect(one.headers['webhook-signature']).toBe(signatureOf(key, one));
    expect(new Set(calls.slice(0, 3).map(({ body }) => body)).size).toBe(1);
  });

  it('is left alone for as long as it asks, and given up when that is longer than there is time', async () => {
    const patient = await receiver((response, _, nth) => {
      response.writeHead(nth === 1 ? 429 : 200, { 'retry-after': '1' }).end();
    });
    await call(patient.url);
    const [first, second] = patient.calls;
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(990);

    const date = new Date(Date.now() + 3_600_000).toUTCString();
    const away = await receiver((response) => response.writeHead(503, { 'retry-after': date }).end('in an hour'));
    const failure = await failureOf(call(away.url));
    expect(failure).toMatchObject({ type: 'HookTimedOut', nonRetryable: true });
    expect(failure.message).toContain('1 attempts; the last: HTTP 503: in an hour');
    expect(away.calls).toHaveLength(1);
  });

  it('that accepts has not done it yet', async () => {
    const { url } = await receiver((response) => response.writeHead(202).end());
    expect(await call(url)).toMatchObject({ accepted: true, status: 202 });
  });

  it('that refuses fails at once with what it says, in bounds and without address or secret', async () => {
    const { url, calls } = await receiver((response) => {
      const shown = `no\n  such group; ${secret} ${secret.slice(6)} ${url} ${'x'.repeat(100_000)}`;
      response.writeHead(404).end(shown);
    });
    const failure = await failureOf(call(url));
    expect(failure).toMatchObject({ type: 'HookRefused', nonRetryable: true });
    expect(failure.message).toContain('HTTP 404: no such group; *** *** *** xxx');
    expect(failure.message.length).toBeLessThan(400);
    expect(JSON.stringify(failure)).not.toContain(secret.slice(6));
    expect(calls).toHaveLength(1);
  });

  it('is not followed elsewhere', async () => {
    const elsewhere = await receiver(ok);
    const { url } = await receiver((response) => response.writeHead(307, { location: elsewhere.url }).end());
    const failure = await failureOf(call(url));
    expect(failure).toMatchObject({ type: 'HookRefused' });
    expect(failure.message).toBe('HTTP 307: redirects are not followed');
    expect(elsewhere.calls).toEqual([]);
  });

  it('that does not answer, or is not there, is given up in time, without its address', async () => {
    const silent = await receiver(() => undefined);
    const began = performance.now();
    const [timedOut, gone] = await Promise.all([
      failureOf(call(silent.url, { timeoutMs: 700 })),
      failureOf(call('http://127.0.0.1:1/hook', { timeoutMs: 700 })),
    ]);
    expect(performance.now() - began).toBeLessThan(3_000);
    expect(timedOut).toMatchObject({ type: 'HookTimedOut', nonRetryable: true });
    expect(timedOut.message).toMatch(/the last: no answer within \d+ ms$/);
    expect(gone).toMatchObject({ type: 'HookTimedOut' });
    expect(gone.message).toMatch(/[2-9] attempts; the last: not reached \([A-Za-z]+\)$/);
    expect(gone.message).not.toContain('127.0.0.1');
  });

  it('is let go when the workflow no longer wants it', async () => {
    const environment = new MockActivityEnvironment({ scheduledTimestampMs: Date.now() });
    const { url } = await receiver(() => {
      environment.cancel();
    });
    await expect(call(url, { timeoutMs: 60_000 }, [secret], environment)).rejects.toThrow(/CANCELLED|cancelled/i);
  });

  it('that this worker does not know may be known to another', async () => {
    const { callHook } = hookActivities({});
    const environment = new MockActivityEnvironment();
    const calling = environment.run(() => callHook(request));
    await expect(calling).rejects.toThrow("This worker's HOOKS_FILE has no webhook billing-batch.");
    await expect(calling).rejects.not.toBeInstanceOf(ApplicationFailure);
  });
});
