import type { AddressInfo } from 'node:net';
import {
  bounded,
  MemberRelay,
  newInstanceId,
  ObservationProducer,
  RoutingBoard,
  type KafkaConnection,
  type LogReader,
  type MemberRoster,
} from '@owlmq/kafka-bridge/operations';
import type { FastifyBaseLogger } from 'fastify';
import { Kafka, logLevel } from 'kafkajs';
import { urlOf } from '../url-of.js';
import { buildApp } from './app.js';
import { KnownPartitions } from './known-partitions.js';

/** Where the endpoint listens, and whom it lets in. */
export interface EndpointSettings {
  host: string;
  port: number;
  /** Bearer tokens, each of which is good. */
  tokens: readonly string[];
  /** Key of the digests, as the library's `digestKey`. */
  digestKey: string | undefined;
}

export interface ObservationEndpoint {
  /** For example `http://127.0.0.1:8087`. */
  url: string;
  /** Takes no request on any more, finishes those under way (for at most 10 s), and closes its connections to Kafka (as well). */
  close(): Promise<void>;
}

/** Short: the consumer still has them, and sends them again. */
const GIVE_UP_AFTER_MS = 2_000;
const CLOSE_TIMEOUT_MS = 10_000;
const CLOSE_IDLE_INTERVAL_MS = 20;

/**
 * Starts the endpoint at which consumers that cannot embed the library report and observe: the API of
 * openapi/observations.yaml. Resolves when it listens.
 */
export async function startObservationEndpoint(
  settings: EndpointSettings,
  on: { kafka: KafkaConnection; reader: LogReader; roster: MemberRoster; logger: FastifyBaseLogger },
): Promise<ObservationEndpoint> {
  const clientId = `${newInstanceId()}-observations`;
  const warn = (error: Error): void => {
    on.logger.warn({ err: error }, 'the observation endpoint has trouble with Kafka');
  };
  const closing = new AbortController();
  const board = new RoutingBoard({ connection: on.kafka, clientId, onError: warn });
  const relay = new MemberRelay({ connection: on.kafka, clientId, onError: warn });
  const kafka = new Kafka({ logLevel: logLevel.NOTHING, ...on.kafka, clientId });
  const observations = new ObservationProducer(kafka, warn, GIVE_UP_AFTER_MS);
  const app = await buildApp(
    {
      ...{ board, relay, observations, roster: on.roster, digestKey: settings.digestKey },
      partitions: new KnownPartitions(on.reader),
      closing: closing.signal,
    },
    { tokens: settings.tokens, logger: on.logger },
  );

  const closeAll = async (): Promise<void> => {
    closing.abort();
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
    const stopped = bounded(
      Promise.all([relay.close(), observations.stop(), board.stop()]),
      CLOSE_TIMEOUT_MS,
      () => new Error(`The connections to Kafka did not end within ${CLOSE_TIMEOUT_MS} ms.`),
    );
    await stopped.catch((error: unknown) => {
      on.logger.warn({ err: error }, 'the observation endpoint is closed all the same');
    });
  };
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= closeAll());
  try {
    await observations.start();
    await board.start();
    await app.listen({ host: settings.host, port: settings.port });
  } catch (error) {
    await close();
    throw error;
  }
  return { url: urlOf(app.server.address() as AddressInfo), close };
}
