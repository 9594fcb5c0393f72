import { secretFromSettings } from '@owlmq/kafka-bridge/operations';
import { z } from 'zod';

/** Settings of a program that are missing or wrong, a line each. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
  /** @param program as people call it: `worker`. */
  constructor(
    readonly problems: readonly string[],
    program: string,
  ) {
    super(`The ${program} cannot start:\n${problems.map((problem) => `- ${problem}`).join('\n')}`);
  }
}

/** The variables of an environment: one that is set to nothing counts as not set. */
export function givenSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
}

export const hostAndPort = z.string().regex(/^(\[[0-9a-f:]+\]|[^\s:]+):\d{1,5}$/i, 'must be HOST:PORT');

/** @param address as `hostAndPort` has it. */
export function addressOf(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(address.slice(colon + 1)) };
}

/** @param host without brackets around an IPv6 address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** RFC 6750's, which a header can carry, long enough that nobody guesses it. */
const TOKEN = /^[A-Za-z0-9._~+/-]{16,}=*$/;

/** From a variable, or the file that `VARIABLE_FILE` names: several, so that one can follow another. Empty without either. */
export function readTokens(given: NodeJS.ProcessEnv, variable: string, add: (problem: string) => void): string[] {
  const tokens = (secretFromSettings(given, variable, { add }) ?? '').split(/[\s,]+/).filter(Boolean);
  const wrong = tokens.filter((token) => !TOKEN.test(token)).length;
  if (wrong > 0) {
    add(
      `${variable}: ${wrong} of ${tokens.length} tokens are no tokens: each has 16 letters, digits and -._~+/ at least; several are set apart by commas or lines`,
    );
  }
  return tokens;
}
