import type { AddressInfo } from 'node:net';
import type { FastifyBaseLogger } from 'fastify';
import { ApiKeys } from './api-keys.js';
import { OwlmqLocalConfigError } from './config-error.js';
import { GroupRegistry } from './groups/group-registry.js';
import { buildApp } from './http/app.js';
import { DEFAULT_LIMITS, type Limits } from './limits.js';
import { Metrics } from './metrics.js';
import { Notifier } from './notifier.js';
import { Store } from './store/store.js';
import { TopicLog } from './store/topic-log.js';

export { OwlmqLocalConfigError };

export interface OwlmqLocalOptions {
  /** Folder of the data; made when it is not there. One server at a time. */
  data: string;
  /** Keys that clients may send; at least one. */
  apiKeys: readonly string[];
  /** Default 127.0.0.1. */
  host?: string;
  /** Default 0: a free port. */
  port?: number;
  limits?: Partial<Limits>;
  logger?: FastifyBaseLogger;
  /** Whether `/metrics` covers the process as well; for a server that has one to itself. */
  processMetrics?: boolean;
  /** Told once when the store fails for good; from then on every request is answered with 503. */
  onStorageFailure?: (error: unknown) => void;
}

export interface OwlmqLocal {
  /** For example `http://127.0.0.1:8686`. */
  url: string;
  /** Ends long polls, finishes requests (for at most 10 s), closes the store. */
  close(): Promise<void>;
}

const CLOSE_TIMEOUT_MS = 10_000;
const CLOSE_IDLE_INTERVAL_MS = 20;

/**
 * Starts an OwlMQ on this machine that keeps the contract of openapi/owlmq.yaml. Resolves when it listens.
 *
 * @throws {OwlmqLocalConfigError} without an API key, or when another server uses the data folder.
 */
export async function startOwlmqLocal(options: OwlmqLocalOptions): Promise<OwlmqLocal> {
  const apiKeys = new ApiKeys(options.apiKeys);
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const inflight = { bytes: 0 };
  const metrics: Metrics = new Metrics(
    [
      { name: 'owlmq_inflight_bytes', help: 'Bytes of request bodies held now.', read: () => inflight.bytes },
      { name: 'owlmq_groups', help: 'Consumer groups.', read: () => groups.names().length },
      {
        name: 'owlmq_groups_rebalancing',
        help: 'Consumer groups in a rebalance.',
        read: () => groups.countByState().rebalancing,
      },
    ],
    options.processMetrics ?? false,
  );
  const store = new Store(
    options.data,
    (seconds) => {
      metrics.flushes.observe(seconds);
    },
    (error) => {
      options.logger?.error({ err: error }, 'the store failed');
      options.onStorageFailure?.(error);
    },
  );
  const notifier = new Notifier();
  const log = new TopicLog(store, notifier, limits);
  const groups = new GroupRegistry(store, notifier, log);
  const unavailable = (): string | undefined => {
    if (notifier.closed) return 'The server stops';
    return store.failure === undefined ? undefined : 'The storage failed; see the log of the server and restart it';
  };
  const app = buildApp({
    context: { log, groups, notifier, limits, metrics },
    apiKeys,
    logger: options.logger,
    unavailable,
    inflight,
  });

  const closeAll = async (): Promise<void> => {
    notifier.close();
    const force = setTimeout(() => {
      app.server.closeAllConnections();
    }, CLOSE_TIMEOUT_MS);
    // Connections whose request ends after the close began would otherwise be kept alive.
    const closeIdle = setInterval(() => {
      app.server.closeIdleConnections();
    }, CLOSE_IDLE_INTERVAL_MS);
    await app.close();
    clearInterval(closeIdle);
    clearTimeout(force);
    groups.close();
    await store.close();
  };
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= closeAll());
  try {
    await app.listen({ host: options.host ?? '127.0.0.1', port: options.port ?? 0 });
  } catch (error) {
    await close();
    throw error;
  }
  return { url: urlOf(app.server.address() as AddressInfo), close };
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
