import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { kafkaFromSettings } from '../src/environment/connection-settings.js';
import { OAuthTokenError, tokenFromFile, tokenFromModule } from '../src/environment/oauth-token.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kafka-settings-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

function problemsOf(settings: Record<string, string>): string[] {
  const problems: string[] = [];
  const given = { KAFKA_BROKERS: 'a:9092', ...settings };
  const connection = kafkaFromSettings(given, 'client', { add: (problem) => problems.push(problem) });
  expect(connection === undefined).toBe(problems.length > 0);
  return problems;
}

it('takes no half of a certificate, and no wrong way to a token', async () => {
  const some = await file('some', 'text');
  const oauth = { KAFKA_SASL_MECHANISM: 'oauthbearer' };
  const [byFile, byModule] = ['KAFKA_SASL_OAUTHBEARER_TOKEN_FILE', 'KAFKA_SASL_OAUTHBEARER_MODULE'];
  expect(problemsOf({ KAFKA_TLS_CERT_FILE: some })).toEqual([
    'KAFKA_TLS_CERT_FILE is set: KAFKA_TLS_KEY_FILE is needed too',
  ]);
  expect(problemsOf({ KAFKA_TLS_KEY_FILE: some })).toEqual([
    'KAFKA_TLS_KEY_FILE is set: KAFKA_TLS_CERT_FILE is needed too',
  ]);
  const oneOf = `KAFKA_SASL_MECHANISM is oauthbearer: ${byFile} or ${byModule} is needed, and not both`;
  expect(problemsOf(oauth)).toEqual([oneOf]);
  expect(problemsOf({ ...oauth, [byFile]: some, [byModule]: some })).toEqual([oneOf]);
  expect(problemsOf({ ...oauth, [byFile]: join(folder, 'none') })).toEqual([
    expect.stringContaining(`${byFile} cannot be read`),
  ]);
  expect(problemsOf({ ...oauth, [byFile]: some })).toEqual([]);
});

it('says why there is no token, and never the token', async () => {
  const ways = [
    [tokenFromFile(join(folder, 'none')), /cannot be read/],
    [tokenFromFile(await file('empty', '\n')), /is empty/],
    [tokenFromModule(join(folder, 'none.mjs')), /cannot be loaded/],
    [tokenFromModule(await file('no.mjs', 'export const tokens = 1;')), /does not export a function `token`/],
    [tokenFromModule(await file('throws.mjs', 'export const token = () => { throw new Error("x"); };')), /has failed/],
    [tokenFromModule(await file('number.mjs', 'export const token = () => 7;')), /gives no token/],
  ] as const;
  for (const [provider, why] of ways) {
    const error: unknown = await provider().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OAuthTokenError);
    expect((error as Error).message).toMatch(why);
  }
});

it('asks for a token anew each time', async () => {
  const path = await file('token', 'first');
  const provider = tokenFromFile(path);
  expect(await provider()).toEqual({ value: 'first' });
  await writeFile(path, 'second\n');
  expect(await provider()).toEqual({ value: 'second' });
});
