import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Kafka, logLevel, Partitioners, type ISocketFactory, type Producer, type ProducerBatch } from 'kafkajs';
import type { ProducerConfig, RecordMetadata } from 'kafkajs';
import { asError, bounded } from '../async/bounded.js';
import type { KafkaConnection } from './kafka-connection.js';
import { encodeFast } from './produce-encoder.js';

/** A send did not end within its bound; its records may or may not be stored. */
class KafkaSendTimeoutError extends Error {
  override readonly name = 'KafkaSendTimeoutError';
  constructor(readonly timeoutMs: number) {
    super(`Kafka did not answer within ${timeoutMs} ms.`);
  }
}

/** No connection to Kafka could be made; nothing was sent. */
export class KafkaConnectError extends Error {
  override readonly name = 'KafkaConnectError';
}

export interface ReplaceableProducerOptions {
  connection: KafkaConnection;
  clientId: string;
  producer?: ProducerConfig;
  /** Told of failures to end a producer that was given up; nothing depends on them. */
  onError?: (error: Error) => void;
}

/**
 * A kafkajs producer that is thrown away after a send that failed, and made anew for the next one.
 *
 * kafkajs takes back the sequence numbers of a failed send although the broker may have stored it. The next batch
 * would then carry the same numbers, and the broker would acknowledge it as a duplicate without storing it. A new
 * producer has a new producer id. Also, kafkajs goes on retrying what nobody waits for any more; the sockets of a
 * producer that was given up are destroyed and no new ones open, so that it cannot write late.
 */
export class ReplaceableProducer {
  readonly #options: ReplaceableProducerOptions;
  #session: ProducerSession | undefined;

  constructor(options: ReplaceableProducerOptions) {
    this.#options = options;
  }

  /** Connects. Sends connect by themselves too. */
  async connect(timeoutMs: number): Promise<void> {
    await this.#withSession(timeoutMs, async () => Promise.resolve());
  }

  /**
   * Sends a batch; all of it is acknowledged when it resolves. Not for concurrent use.
   *
   * @throws {KafkaConnectError} when nothing was sent.
   * @throws {KafkaSendTimeoutError} past the bound, and kafkajs's errors. Call {@link giveUp} then, unless the very
   * same records are sent again.
   */
  async sendBatch(batch: ProducerBatch, timeoutMs: number): Promise<RecordMetadata[]> {
    return await this.#withSession(timeoutMs, (producer) => producer.sendBatch(batch));
  }

  /** Throws the present producer away: nothing of it is written after this. The next send makes a new one. */
  async giveUp(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.end(this.#options.onError);
  }

  /** Disconnects. */
  async close(): Promise<void> {
    await this.giveUp();
  }

  async #withSession<T>(timeoutMs: number, work: (producer: Producer) => Promise<T>): Promise<T> {
    this.#session ??= new ProducerSession(this.#options);
    const session = this.#session;
    const attempt = async (): Promise<T> => {
      await session.connected();
      return await work(session.producer);
    };
    try {
      return await bounded(attempt(), timeoutMs, () => new KafkaSendTimeoutError(timeoutMs));
    } catch (error) {
      // One that never connected, or whose send still goes on, is of no use. Another may be wanted again for the very
      // same records.
      const { isConnected } = session;
      if (!isConnected || error instanceof KafkaSendTimeoutError) await this.giveUp();
      if (isConnected) throw error;
      throw new KafkaConnectError(`Kafka cannot be reached: ${asError(error).message}`, { cause: error });
    }
  }
}

const DISCONNECT_TIMEOUT_MS = 3_000;

class ProducerSession {
  readonly producer: Producer;
  isConnected = false;
  readonly #sockets = new Set<Socket>();
  #connecting: Promise<void> | undefined;
  #ended = false;

  constructor({ connection, clientId, producer }: ReplaceableProducerOptions) {
    const open = connection.socketFactory ?? openSocket;
    const kafka = new Kafka({
      logLevel: logLevel.NOTHING,
      clientId,
      requestTimeout: 10_000,
      retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 3 },
      ...connection,
      socketFactory: (args) => {
        if (this.#ended) throw new Error('This producer was given up.');
        const socket = open(args);
        this.#sockets.add(socket);
        socket.once('close', () => this.#sockets.delete(socket));
        return socket;
      },
    });
    encodeFast(kafka);
    this.producer = kafka.producer({
      allowAutoTopicCreation: false,
      maxInFlightRequests: 1,
      createPartitioner: Partitioners.DefaultPartitioner,
      retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 30 },
      ...producer,
    });
  }

  async connected(): Promise<void> {
    this.#connecting ??= this.producer.connect();
    await this.#connecting;
    this.isConnected = true;
  }

  async end(onError: ((error: Error) => void) | undefined): Promise<void> {
    this.#ended = true;
    try {
      await bounded(
        this.producer.disconnect(),
        DISCONNECT_TIMEOUT_MS,
        () => new KafkaSendTimeoutError(DISCONNECT_TIMEOUT_MS),
      );
    } catch (error) {
      onError?.(asError(error));
    }
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** kafkajs's own, which it does not export. */
const openSocket: ISocketFactory = ({ host, port, ssl, onConnect }) => {
  // Typed as always set; null for plain connections.
  const tls = ssl as typeof ssl | null | undefined | false;
  const socket =
    tls === null || tls === undefined || tls === false
      ? connectTcp({ host, port }, onConnect)
      : connectTls({ host, port, ...(isIP(host) === 0 ? { servername: host } : {}), ...tls }, onConnect);
  socket.setKeepAlive(true, 60_000);
  return socket;
};
