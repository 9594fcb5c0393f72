import { z } from 'zod';
import { addressOf, givenSettings, hostAndPort, isLoopback, readTokens, SettingsError } from '../settings.js';
import { readPayloadKeys, type PayloadKeys } from './payload-keys.js';

export interface CodecServerConfig {
  keys: PayloadKeys;
  host: string;
  port: number;
  /** Origins of the pages that may ask. */
  origins: string[];
  tokens: string[];
}

const schema = z.object({
  CODEC_ADDRESS: hostAndPort.default('127.0.0.1:8088'),
  /** Where Temporal's UI is served. */
  CODEC_ORIGINS: z
    .string()
    .default('http://127.0.0.1:8233,http://localhost:8233')
    .transform((text) => text.split(/[\s,]+/).filter(Boolean))
    .pipe(z.array(z.url().refine(isOrigin, 'must be an origin: scheme, host and port alone'))),
});

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text;
}

/**
 * Reads the codec server's settings from an environment.
 *
 * @throws {SettingsError} with everything that is missing or wrong.
 */
export function readCodecServerConfig(environment: NodeJS.ProcessEnv): CodecServerConfig {
  const given = givenSettings(environment);
  const problems: string[] = [];
  const add = (problem: string): void => {
    problems.push(problem);
  };
  const keys = readPayloadKeys(given, add);
  if (keys === undefined && problems.length === 0) {
    add('TEMPORAL_PAYLOAD_KEYS is not set: set it, or TEMPORAL_PAYLOAD_KEYS_FILE, as the worker has it');
  }
  const tokens = readTokens(given, 'CODEC_TOKEN', add);
  const parsed = schema.safeParse(given);
  for (const { path, message } of parsed.error?.issues ?? []) add(`${path.join('.')}: ${message}`);
  const address = parsed.success ? addressOf(parsed.data.CODEC_ADDRESS) : undefined;
  if (address !== undefined && tokens.length === 0 && !isLoopback(address.host)) {
    add(
      `CODEC_ADDRESS is ${address.host}, which others reach, and there is no token: set CODEC_TOKEN or CODEC_TOKEN_FILE too`,
    );
  }
  if (problems.length > 0 || !parsed.success || address === undefined || keys === undefined)
    throw new SettingsError(problems, 'codec server');
  return { keys, ...address, origins: parsed.data.CODEC_ORIGINS, tokens };
}
