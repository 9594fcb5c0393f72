import { DiskFullError, EngineUnavailableError, hasCode, messageOf, type Attempt } from '../errors.js';

/** One way to get something; `get` rejects with a message that tells why it did not work. */
export interface Way<T> {
  readonly name: string;
  readonly get: () => Promise<T>;
}

/**
 * What the first way that works gives.
 * @throws EngineUnavailableError with every outcome when none works; an abort and a full disk end the search at once.
 */
export async function firstThatWorks<T>(
  engine: string,
  ways: readonly Way<T>[],
  advice: readonly string[],
  signal?: AbortSignal,
): Promise<T> {
  const attempts: Attempt[] = [];
  const errors: unknown[] = [];
  for (const way of ways) {
    signal?.throwIfAborted();
    try {
      return await way.get();
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof DiskFullError) throw error;
      if (hasCode(error, 'ENOSPC')) throw new DiskFullError(`no space left: ${messageOf(error)}`, { cause: error });
      attempts.push({ way: way.name, outcome: messageOf(error).trim() });
      errors.push(error);
    }
  }
  throw new EngineUnavailableError(engine, attempts, advice, { cause: new AggregateError(errors) });
}
