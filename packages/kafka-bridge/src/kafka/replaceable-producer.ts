import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { Kafka, logLevel, Partitioners, type ISocketFactory, type Producer, type ProducerBatch } from 'kafkajs';
import type { ProducerConfig, RecordMetadata } from 'kafkajs';
import { asError, backoffMs, bounded, deferred, pause } from '../async/bounded.js';
import type { KafkaConnection } from './kafka-connection.js';
import { LeaderView } from './kafkajs-cluster.js';
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
  readonly code = 'kafka-connect';
  readonly retriable = 'safe';
}

/** The producer was given up while a send was under way; its records may or may not be stored. */
class KafkaGivenUpError extends Error {
  override readonly name = 'KafkaGivenUpError';
  constructor() {
    super('The write was given up before Kafka answered.');
  }
}

export interface ReplaceableProducerOptions {
  connection: KafkaConnection;
  clientId: string;
  producer?: ProducerConfig;
  /**
   * Asked right before records are handed to a socket, at kafkajs's own repetitions too. While it is false the socket
   * is destroyed instead, and kafkajs tries again later.
   */
  mayWrite?: () => boolean;
  /**
   * Whether what may be repeated is repeated here, until the bound, instead of by kafkajs: each time in one call a
   * broker, as the leaders are then. In place of kafkajs, because that
   * - repeats a call of several brokers to all whose partitions have moved since, also what was acknowledged, and that
   *   with new sequence numbers, so that it is stored twice;
   * - stops within a second when no broker can be connected to.
   *
   * The same producer sends the very same records of a partition with the same numbers, so that none is stored twice.
   */
  keepTrying?: boolean;
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
   * same records are sent again. When a part of it was acknowledged all the same, `acknowledged` is told of that first.
   */
  async sendBatch(
    batch: ProducerBatch,
    timeoutMs: number,
    acknowledged: (answers: RecordMetadata[]) => void = () => undefined,
  ): Promise<RecordMetadata[]> {
    if (this.#options.keepTrying !== true) {
      return await this.#withSession(timeoutMs, ({ producer }) => producer.sendBatch(batch));
    }
    const answers: RecordMetadata[] = [];
    const endsAt = performance.now() + timeoutMs;
    try {
      await this.#withSession(timeoutMs, (session) => this.#sendParts(session, batch, endsAt, answers));
    } catch (error) {
      if (answers.length > 0) acknowledged(answers);
      throw error;
    }
    return answers;
  }

  /**
   * Breaks the connections, so that nothing more of what was handed to them leaves this machine. kafkajs connects anew
   * and repeats what was not answered, with the same sequence numbers, once `mayWrite` lets it.
   */
  cut(): void {
    this.#session?.cut();
  }

  /** As {@link giveUp}, at once: a send under way fails, and nothing more of it leaves this machine. */
  abandon(): void {
    const session = this.#session;
    this.#session = undefined;
    session?.abandon(this.#options.onError);
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

  /** Until all is acknowledged, or what is not cannot be repeated. */
  async #sendParts(
    session: ProducerSession,
    batch: ProducerBatch,
    endsAt: number,
    answers: RecordMetadata[],
  ): Promise<void> {
    let left = batch.topicMessages ?? [];
    let failed: { error: unknown } | undefined;
    await session.leaders.learn(left.map(({ topic }) => topic));
    for (let attempt = 0; ; attempt++) {
      const parts = session.leaders.parts(left);
      const sent = parts.map((topicMessages) => session.producer.sendBatch({ ...batch, topicMessages }));
      const outcomes = await Promise.allSettled(sent);
      const waitMs = backoffMs(attempt, FIRST_RETRY_MS, MOST_RETRY_MS);
      const late = performance.now() + waitMs > endsAt;
      left = [];
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome.status === 'fulfilled') answers.push(...outcome.value);
        // Never by another producer: that would store what this one has stored.
        else if (!late && session === this.#session && isRetriable(outcome.reason)) left.push(...(parts[index] ?? []));
        else failed ??= { error: outcome.reason };
      }
      if (left.length === 0) break;
      await pause(waitMs);
    }
    if (failed !== undefined) throw asError(failed.error);
  }

  async #withSession<T>(timeoutMs: number, work: (session: ProducerSession) => Promise<T>): Promise<T> {
    this.#session ??= new ProducerSession(this.#options);
    const session = this.#session;
    const writes = session.writes;
    const attempt = async (): Promise<T> => {
      await session.connected();
      return await work(session);
    };
    try {
      const ended = Promise.race([attempt(), session.abandoned]);
      return await bounded(ended, timeoutMs, () => new KafkaSendTimeoutError(timeoutMs));
    } catch (error) {
      // One that never connected, or whose send still goes on, is of no use. Another may be wanted again for the very
      // same records.
      const { isConnected } = session;
      if (!isConnected || error instanceof KafkaSendTimeoutError) await this.giveUp();
      // Of another send at the same time, too: then nobody knows.
      if (session.writes > writes || (isConnected && !(error instanceof KafkaGivenUpError))) throw error;
      throw new KafkaConnectError(`Kafka cannot be reached: ${asError(error).message}`, { cause: error });
    }
  }
}

const FIRST_RETRY_MS = 100;
const MOST_RETRY_MS = 1_000;
const DISCONNECT_TIMEOUT_MS = 3_000;
const lostConnections = new Set([
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
  'KafkaJSRequestTimeoutError',
]);

/** Without retries of its own, kafkajs calls every error so that it would repeat. */
const NO_RETRIES_LEFT = 'KafkaJSNumberOfRetriesExceeded';

function isRetriable(error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || depth > 5) return false;
  return error.name === NO_RETRIES_LEFT || lostConnections.has(error.name) || isRetriable(error.cause, depth + 1);
}

/** kafkajs takes no 0 for an idempotent producer, and stops when the number of retries is not below this. */
const NO_RETRIES = Number.NaN;
const NEVER_MS = 2 ** 31;

/** Every request begins with its length in four bytes and its kind in two; a write of records has this kind. */
const PRODUCE_REQUEST = 0;

class ProducerSession {
  readonly producer: Producer;
  readonly leaders: LeaderView;
  /** Rejects when the session is abandoned. */
  readonly abandoned: Promise<never>;
  isConnected = false;
  /** Writes of records that were handed to a socket. */
  writes = 0;
  readonly #mayWrite: () => boolean;
  readonly #abandoned = deferred<never>();
  readonly #sockets = new Set<Socket>();
  #connecting: Promise<void> | undefined;
  #ended = false;

  constructor(options: ReplaceableProducerOptions) {
    const { connection, clientId, producer, mayWrite = () => true, keepTrying = false } = options;
    this.#mayWrite = mayWrite;
    this.abandoned = this.#abandoned.promise;
    // Told to those who wait for a send, if any.
    this.abandoned.catch(() => undefined);
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
        this.#guard(socket);
        this.#sockets.add(socket);
        socket.once('close', () => this.#sockets.delete(socket));
        return socket;
      },
    });
    encodeFast(kafka);
    this.leaders = new LeaderView(kafka);
    this.producer = kafka.producer({
      allowAutoTopicCreation: false,
      maxInFlightRequests: 1,
      createPartitioner: Partitioners.DefaultPartitioner,
      retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 30 },
      ...producer,
      // The leaders must not change while a call is on its way: they are asked for anew after each that failed.
      ...(keepTrying ? { retry: { retries: NO_RETRIES }, metadataMaxAge: NEVER_MS } : {}),
    });
  }

  async connected(): Promise<void> {
    this.#connecting ??= this.producer.connect();
    await this.#connecting;
    this.isConnected = true;
  }

  /** Without a lingering close: what the system holds of them unsent is discarded (not with TLS). */
  cut(): void {
    for (const socket of this.#sockets) {
      if (socket instanceof TLSSocket) socket.destroy();
      else socket.resetAndDestroy();
      // kafkajs does not listen to `close`, and would wait for answers.
      socket.emit('error', new Error('The connection was cut: records may not be written now.'));
    }
  }

  abandon(onError: ((error: Error) => void) | undefined): void {
    this.#ended = true;
    this.cut();
    this.#abandoned.reject(new KafkaGivenUpError());
    this.producer.disconnect().catch((error: unknown) => onError?.(asError(error)));
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

  /** kafkajs hands each request to the socket whole, in one call. */
  #guard(socket: Socket): void {
    const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
    socket.write = (chunk: Uint8Array | string, ...rest: unknown[]): boolean => {
      if (!isProduceRequest(chunk)) return write(chunk, ...rest);
      if (this.#ended || !this.#mayWrite()) {
        socket.destroy(new Error('Records may not be written now.'));
        return false;
      }
      this.writes++;
      return write(chunk, ...rest);
    };
  }
}

function isProduceRequest(chunk: Uint8Array | string): boolean {
  return Buffer.isBuffer(chunk) && chunk.length >= 6 && chunk.readInt16BE(4) === PRODUCE_REQUEST;
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
