import { randomBytes } from 'node:crypto';
import type { Payload } from '@temporalio/common';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { buildCodecApp } from '../src/codec/codec-app.js';
import { readCodecServerConfig } from '../src/codec/codec-server-config.js';
import { EncryptingCodec, PayloadTamperedError, UnknownPayloadKeyError } from '../src/codec/encrypting-codec.js';
import { readPayloadKeys } from '../src/codec/payload-keys.js';
import type { SettingsError } from '../src/settings.js';

const key = () => randomBytes(32);
const [first, second] = [key(), key()];
const old = new EncryptingCodec(new Map([['2026-01', first]]));
const rotated = new EncryptingCodec(
  new Map([
    ['2026-02', second],
    ['2026-01', first],
  ]),
);

const plain: Payload = {
  metadata: { encoding: Buffer.from('json/plain') },
  data: Buffer.from('{"reason":"the-canary"}'),
};

function texts({ metadata, data }: Payload) {
  const entries = Object.entries(metadata ?? {}).map(([name, value]) => [name, Buffer.from(value).toString()]);
  return { metadata: Object.fromEntries(entries) as unknown, data: Buffer.from(data ?? []).toString() };
}

describe('the codec', () => {
  it('keeps payloads, and shows nothing of them', async () => {
    const [sealed, again] = [await old.encode([plain]), await old.encode([plain])];
    expect(texts(sealed[0] as Payload).metadata).toEqual({
      encoding: 'binary/encrypted',
      'encryption-key-id': '2026-01',
    });
    expect(JSON.stringify(texts(sealed[0] as Payload))).not.toContain('canary');
    // Equal payloads are not to be told apart, or alike.
    expect(Buffer.from(sealed[0]?.data ?? []).equals(Buffer.from(again[0]?.data ?? []))).toBe(false);
    expect(texts((await old.decode(sealed))[0] as Payload)).toEqual(texts(plain));
  });

  it('takes what is not encrypted as it is', async () => {
    expect(await old.decode([plain])).toEqual([plain]);
  });

  it('reads what an earlier key has encrypted, and encrypts with the newest', async () => {
    const sealed = await old.encode([plain]);
    expect(texts((await rotated.decode(sealed))[0] as Payload)).toEqual(texts(plain));
    const [newer] = await rotated.encode([plain]);
    await expect(old.decode([newer as Payload])).rejects.toThrow(UnknownPayloadKeyError);
    await expect(old.decode([newer as Payload])).rejects.toThrow('"2026-02"');
  });

  it('refuses what was changed', async () => {
    const [sealed] = await old.encode([plain]);
    const data = Buffer.from(sealed?.data ?? []);
    data[20] = (data[20] ?? 0) ^ 1;
    await expect(old.decode([{ ...sealed, data }])).rejects.toThrow(PayloadTamperedError);
    await expect(old.decode([{ ...sealed, data: Buffer.from('short') }])).rejects.toThrow(PayloadTamperedError);
    // Short tags are easily guessed.
    for (const length of [0, 4, 12, 27])
      await expect(old.decode([{ ...sealed, data: data.subarray(0, length) }])).rejects.toThrow(PayloadTamperedError);
    const other = new EncryptingCodec(new Map([['2026-01', key()]]));
    await expect(other.decode([sealed as Payload])).rejects.toThrow(PayloadTamperedError);
  });
});

describe('keys in the environment', () => {
  const read = (text: string): { problems: string[]; ids: string[] } => {
    const problems: string[] = [];
    const keys = readPayloadKeys({ TEMPORAL_PAYLOAD_KEYS: text }, (problem) => problems.push(problem));
    return { problems, ids: [...(keys?.keys() ?? [])] };
  };

  it('are several, the newest first', () => {
    const text = `b=${key().toString('base64')},\n a=${key().toString('base64')}\n`;
    expect(read(text)).toEqual({ problems: [], ids: ['b', 'a'] });
    expect(readPayloadKeys({}, () => undefined)).toBeUndefined();
  });

  it('are told all that is wrong with them, and never themselves', () => {
    const good = key().toString('base64');
    const short = randomBytes(16).toString('base64');
    const { problems } = read(`a=${good} a=${good} b=${short} ${good} !=${good}`);
    expect(problems).toHaveLength(4);
    expect(problems[0]).toContain('a key of that id already');
    expect(problems[1]).toContain('(b) is no key');
    expect(problems.join()).not.toContain(good.slice(0, 20));
    expect(problems.join()).not.toContain(short.slice(0, 10));
    for (const bare of [`${'A'.repeat(43)}=`, `${'B'.repeat(22)}==`]) {
      const [told] = read(bare).problems;
      expect(told).toContain('has no id');
      expect(told).not.toContain(bare.slice(0, 10));
    }
    expect(read(' , ').problems).toEqual(['TEMPORAL_PAYLOAD_KEYS has no key']);
  });
});

describe('the codec server', () => {
  let app: FastifyInstance | undefined;
  afterEach(async () => {
    await app?.close();
  });
  const origin = 'http://127.0.0.1:8233';

  async function start(tokens: string[] = []): Promise<FastifyInstance> {
    app = await buildCodecApp({ codec: rotated, origins: [origin], tokens, logger: pino({ level: 'silent' }) });
    return app;
  }

  async function body(): Promise<object> {
    const [sealed] = await old.encode([plain]);
    const base64 = (bytes: Uint8Array | null | undefined) => Buffer.from(bytes ?? []).toString('base64');
    const metadata = Object.entries(sealed?.metadata ?? {}).map(([name, value]) => [name, base64(value)]);
    return { payloads: [{ metadata: Object.fromEntries(metadata) as unknown, data: base64(sealed?.data) }] };
  }

  it('decrypts for the UI, and for no other page', async () => {
    const server = await start();
    const payload = await body();
    const answer = await server.inject({ method: 'POST', url: '/decode', headers: { origin }, payload });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['access-control-allow-origin']).toBe(origin);
    const { payloads } = answer.json<{ payloads: { data: string }[] }>();
    expect(Buffer.from(payloads[0]?.data ?? '', 'base64').toString()).toBe('{"reason":"the-canary"}');

    const stranger = await server.inject({
      method: 'POST',
      url: '/decode',
      headers: { origin: 'https://evil.example' },
      payload,
    });
    expect(stranger.headers['access-control-allow-origin']).not.toBe('https://evil.example');
    const asked = await server.inject({
      ...{ method: 'OPTIONS', url: '/decode' },
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-namespace' },
    });
    expect(asked.headers['access-control-allow-headers']).toContain('x-namespace');
  });

  it('answers to no name but its own, where there is no token', async () => {
    const server = await start();
    const ask = async (host: string) =>
      (await server.inject({ method: 'POST', url: '/decode', headers: { host }, payload: await body() })).statusCode;
    for (const host of ['localhost:8088', '127.0.0.1:8088', '[::1]:8088']) expect(await ask(host)).toBe(200);
    expect(await ask('rebound.example:8088')).toBe(403);
  });

  it('encrypts what the CLI sends', async () => {
    const server = await start();
    const data = Buffer.from('{}').toString('base64');
    const answer = await server.inject({ method: 'POST', url: '/encode', payload: { payloads: [{ data }] } });
    const { payloads } = answer.json<{ payloads: { metadata: Record<string, string> }[] }>();
    expect(Buffer.from(payloads[0]?.metadata['encoding'] ?? '', 'base64').toString()).toBe('binary/encrypted');
  });

  it('lets nobody in without a token where there is one', async () => {
    const token = 'a-token-of-this-test';
    const server = await start([token]);
    const payload = await body();
    const ask = (headers: Record<string, string>) =>
      server.inject({ method: 'POST', url: '/decode', headers, payload });
    expect((await ask({})).statusCode).toBe(401);
    expect((await ask({ authorization: 'Bearer another' })).statusCode).toBe(401);
    expect((await ask({ authorization: `Bearer ${token}` })).statusCode).toBe(200);
  });

  it.each([
    ['no JSON', 'text', 400],
    ['other fields', { payload: [] }, 400],
    ['no base64', { payloads: [{ data: '???' }] }, 400],
    [
      'an unknown key',
      {
        payloads: [{ metadata: { encoding: 'YmluYXJ5L2VuY3J5cHRlZA==', 'encryption-key-id': 'eA==' }, data: 'AAAA' }],
      },
      422,
    ],
  ])('answers %s with an error', async (_, payload, status) => {
    const server = await start();
    const headers = { 'content-type': 'application/json' };
    const answer = await server.inject({ method: 'POST', url: '/decode', headers, payload });
    expect(answer.statusCode).toBe(status);
    expect(answer.json<{ error: string }>().error.length).toBeGreaterThan(5);
  });

  it('starts with settings that are complete, and tells all that is not', () => {
    const keys = { TEMPORAL_PAYLOAD_KEYS: `a=${key().toString('base64')}` };
    expect(readCodecServerConfig(keys)).toMatchObject({ host: '127.0.0.1', port: 8088, tokens: [] });
    const problemsOf = (environment: Record<string, string>): string => {
      try {
        readCodecServerConfig(environment);
        return '';
      } catch (error) {
        return (error as SettingsError).message;
      }
    };
    expect(problemsOf({})).toContain('TEMPORAL_PAYLOAD_KEYS is not set');
    expect(problemsOf({ ...keys, CODEC_ADDRESS: '0.0.0.0:8088' })).toContain(
      'which others reach, and there is no token',
    );
    const all = problemsOf({ CODEC_ADDRESS: 'here', CODEC_ORIGINS: 'https://ui.example/path', CODEC_TOKEN: 'short' });
    for (const part of ['TEMPORAL_PAYLOAD_KEYS', 'CODEC_ADDRESS', 'CODEC_ORIGINS', 'CODEC_TOKEN'])
      expect(all).toContain(part);
  });
});
