import { setTimeout as sleep } from 'node:timers/promises';
import {
  Connection,
  defaultGrpcRetryOptions,
  makeGrpcRetryInterceptor,
  type ConnectionOptions,
} from '@temporalio/client';

/** A client connection to Temporal, and how to end it. */
export interface TemporalConnection {
  readonly connection: Connection;
  /** Ends retries, then the connection: takes as long as the next retry is away, some six seconds at most. */
  readonly close: () => Promise<void>;
}

/** Timers of one due time may come in any order. */
const MARGIN_MS = 50;

/**
 * Connects as the SDK does. The SDK repeats a call from a timer that `Connection.close()` leaves running, and what that
 * throws on a closed channel ends the process ("Channel has been shut down"): so a connection that Temporal may have
 * left by then is closed here.
 *
 * @throws as `Connection.connect`.
 */
export async function connectToTemporal(
  options: Omit<ConnectionOptions, 'interceptors'> | undefined,
): Promise<TemporalConnection> {
  const { retryableDecider, delayFunction } = defaultGrpcRetryOptions();
  let closing = false;
  let lastRetryAt = 0;
  const retries = makeGrpcRetryInterceptor({
    retryableDecider: (attempt, status) => !closing && retryableDecider(attempt, status),
    delayFunction: (attempt, status) => {
      const delayMs = delayFunction(attempt, status);
      lastRetryAt = Math.max(lastRetryAt, performance.now() + delayMs);
      return delayMs;
    },
  });
  const connection = await Connection.connect({ ...options, interceptors: [retries] });
  return {
    connection,
    async close() {
      closing = true;
      const waitMs = lastRetryAt - performance.now();
      if (waitMs > 0) await sleep(waitMs + MARGIN_MS);
      await connection.close();
    },
  };
}
