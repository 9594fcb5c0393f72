import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** Gives a token whenever a connection to Kafka is authenticated, for the first time or again. */
export type TokenProvider = () => Promise<{ value: string }>;

/** There is no token to authenticate with. */
export class OAuthTokenError extends Error {
  override readonly name = 'OAuthTokenError';
}

/** Reads a file anew each time: whoever rotates the token replaces the file. Rejects with an {@link OAuthTokenError}. */
export function tokenFromFile(file: string): TokenProvider {
  return async () => {
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      throw new OAuthTokenError(`The token file ${file} cannot be read.`, { cause: error });
    });
    return token(text.trim(), `The token file ${file} is empty.`);
  };
}

/**
 * Asks the function `token()` that an ES module exports; the module is loaded at the first need, and keeps and renews
 * tokens as it likes. Rejects with an {@link OAuthTokenError}.
 */
export function tokenFromModule(file: string): TokenProvider {
  const url = pathToFileURL(path.resolve(file)).href;
  return async () => {
    const loaded = (await import(url).catch((error: unknown) => {
      throw new OAuthTokenError(`The token module ${file} cannot be loaded.`, { cause: error });
    })) as { token?: unknown };
    if (typeof loaded.token !== 'function') {
      throw new OAuthTokenError(`The token module ${file} does not export a function \`token\`.`);
    }
    const made = loaded.token as () => unknown;
    const value = await Promise.resolve()
      .then(made)
      .catch((error: unknown) => {
        throw new OAuthTokenError(`The token module ${file} has failed.`, { cause: error });
      });
    return token(value, `The token module ${file} gives no token: \`token()\` is to resolve with a string.`);
  };
}

function token(value: unknown, problem: string): { value: string } {
  if (typeof value !== 'string' || value === '') throw new OAuthTokenError(problem);
  return { value };
}
