import { z } from 'zod';
import { addressOf, hostAndPort, isLoopback, readTokens } from '../settings.js';

/** Where the live page listens, and whom it lets in. */
export interface PageSettings {
  host: string;
  port: number;
  /** Each of them lets somebody in. */
  tokens: readonly string[];
  /** Under which people reach it through a proxy, for example `https://migrations.example.com`; undefined: there is none. */
  origin: string | undefined;
}

const schema = z.object({
  PAGE_ADDRESS: hostAndPort.optional(),
  PAGE_ORIGIN: z
    .url()
    .refine(
      (text) => URL.canParse(text) && new URL(text).origin === text && text.startsWith('https://'),
      'must be an origin with TLS: https:// and a host, and a port if need be, alone',
    )
    .optional(),
});

/** Reads the settings of the live page; undefined where it is off, or when it tells of problems. */
export function readPageSettings(given: NodeJS.ProcessEnv, add: (problem: string) => void): PageSettings | undefined {
  const parsed = schema.safeParse(given);
  for (const { path, message } of parsed.error?.issues ?? []) add(`${path.join('.')}: ${message}`);
  const tokens = readTokens(given, 'PAGE_TOKEN', add);
  if (!parsed.success || parsed.data.PAGE_ADDRESS === undefined) return undefined;
  const address = addressOf(parsed.data.PAGE_ADDRESS);
  const origin = parsed.data.PAGE_ORIGIN;
  if (tokens.length === 0) add('PAGE_ADDRESS is set, and no token: set PAGE_TOKEN or PAGE_TOKEN_FILE too');
  if (!isLoopback(address.host) && origin === undefined) {
    add(
      `PAGE_ADDRESS is ${address.host}, which others reach, and it speaks HTTP without TLS: take 127.0.0.1, or put a proxy that ends TLS before it and set PAGE_ORIGIN to the https:// address that people open`,
    );
  }
  return { ...address, tokens, origin };
}
