import type { AddressInfo } from 'node:net';
import type { Client } from '@temporalio/client';
import {
  kafkaSide,
  owlmqSide,
  type ClusterAdmin,
  type LogReader,
  type MemberRoster,
  type OwlmqApi,
} from '@owlmq/kafka-bridge/operations';
import type { FastifyBaseLogger } from 'fastify';
import { urlOf } from '../url-of.js';
import { buildPageApp } from './app.js';
import { MigrationWatches } from './migration-watch.js';
import { Migrations } from './migrations.js';
import type { PageSettings } from './page-settings.js';

export interface LivePage {
  /** For example `http://127.0.0.1:8090`. */
  url: string;
  /** Ends every stream, and takes no request on any more. */
  close(): Promise<void>;
}

/** Starts the page on which people follow the migrations of a worker, and ask for a pause or a rollback. Resolves when it listens. */
export async function startLivePage(
  { host, port, tokens, origin }: PageSettings,
  on: {
    temporal: Client;
    taskQueue: string;
    admin: ClusterAdmin;
    reader: LogReader;
    owlmq: OwlmqApi;
    roster: MemberRoster;
    logger: FastifyBaseLogger;
  },
): Promise<LivePage> {
  const { logger, roster } = on;
  const migrations = new Migrations(on.temporal, on.taskQueue);
  const sides = { kafka: kafkaSide(on.admin, on.reader), owlmq: owlmqSide(on.owlmq) };
  const onError = (error: unknown): void => {
    logger.warn({ err: error }, 'the live page could not look at a migration');
  };
  const watches = new MigrationWatches({ migrations, roster, sides, onError });
  const closing = new AbortController();
  const app = await buildPageApp({ migrations, watches, tokens, origin, logger, closing: closing.signal });
  await app.listen({ host, port });
  return {
    url: urlOf(app.server.address() as AddressInfo),
    close: async () => {
      closing.abort();
      await app.close();
    },
  };
}
