import { asError, backoffMs, bounded, pause, unlessAborted } from '../async/bounded.js';
import type { KafkaConnection } from './kafka-connection.js';
import { LogReader, OffsetOutOfRangeError } from './log-reader.js';
import type { LogRecord } from './log-record.js';

/** What one fetch of a {@link PartitionFollower} brought. */
export interface FollowedSlice {
  records: LogRecord[];
  /** Whether the position is now the end of the log. */
  atEnd: boolean;
  /** `performance.now()` before the request was sent: what was in the log then has been seen when `atEnd`. */
  fetchStartedAt: number;
  /**
   * Whether this is the first slice from the log's begin: at the start, and again when the position was lost or the
   * topic was made anew. What was read before may not be in this log.
   */
  fromBegin: boolean;
}

/** A fetch was not answered in time. */
class FetchTimeoutError extends Error {
  override readonly name = 'FetchTimeoutError';
  constructor(readonly topic: string) {
    super(`Kafka did not answer a fetch of ${topic} in time.`);
  }
}

export interface PartitionFollowerOptions {
  connection: KafkaConnection;
  clientId: string;
  /** Partition 0 of it is followed, from its begin. */
  topic: string;
  /** How long a fetch may wait for a record, ms; asked before each. */
  maxWaitMs: () => number;
  onSlice: (slice: FollowedSlice) => void;
  onError: (error: Error) => void;
}

const ANSWER_MARGIN_MS = 5_000;
/** Short: failures are told and tried again here, with a new reader. */
const RETRY_FOR_MS = 1_000;
const CLOSE_TIMEOUT_MS = 2_000;

/**
 * Follows partition 0 of a topic from its begin until stopped, through restarts of brokers, changes of leader and
 * re-creation of the topic: every failure is told to `onError` and tried again with backoff, on new connections.
 */
export class PartitionFollower {
  readonly #options: PartitionFollowerOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #reader: LogReader | undefined;
  #position: number | undefined;
  /** Of the log that was read last. */
  #topicId: string | undefined;
  #fromBegin = true;

  constructor(options: PartitionFollowerOptions) {
    this.#options = options;
  }

  /** Next offset to be read; undefined before the first fetch. */
  get position(): number | undefined {
    return this.#position;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.#readOnce(signal);
        failures = 0;
      } catch (error) {
        this.#options.onError(asError(error));
        // The topic was made anew or lost records: what it holds now is what counts.
        if (error instanceof OffsetOutOfRangeError) this.#position = undefined;
        // Connections and metadata of a broken reader may be stale for long.
        await this.#dropReader();
        await pause(backoffMs(failures++, 100, 2_000), signal);
      }
    }
    await this.#dropReader();
  }

  async #readOnce(signal: AbortSignal): Promise<void> {
    const { connection, clientId, topic, onSlice } = this.#options;
    const maxWaitMs = this.#options.maxWaitMs();
    const timeoutMs = maxWaitMs + ANSWER_MARGIN_MS;
    this.#reader ??= new LogReader(connection, { clientId, maxWaitMs, retryForMs: RETRY_FOR_MS });
    const reader = this.#reader;
    const inTime = <T>(work: Promise<T>): Promise<T> => bounded(work, timeoutMs, () => new FetchTimeoutError(topic));

    if (this.#position === undefined) {
      const bounds = await unlessAborted(inTime(reader.bounds(topic)), signal);
      if (bounds === undefined) return;
      this.#position = bounds[0]?.beginOffset ?? 0;
      this.#fromBegin = true;
    }
    const fetchStartedAt = performance.now();
    const fetched = inTime(reader.read(topic, [{ partition: 0, offset: this.#position }], { maxWaitMs }));
    const slice = (await unlessAborted(fetched, signal))?.[0];
    if (slice === undefined) return;
    // A position is good for the log that it was read from. In one that was made anew it may lie inside by chance.
    const remade = this.#topicId !== undefined && slice.topicId !== this.#topicId;
    this.#topicId = slice.topicId;
    if (remade) {
      this.#position = undefined;
      return;
    }
    const fromBegin = this.#fromBegin;
    this.#fromBegin = false;
    this.#position = slice.nextOffset;
    onSlice({ records: slice.records, atEnd: slice.nextOffset >= slice.endOffset, fetchStartedAt, fromBegin });
  }

  async #dropReader(): Promise<void> {
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined) return;
    try {
      await bounded(reader.close(), CLOSE_TIMEOUT_MS, () => new FetchTimeoutError(this.#options.topic));
    } catch (error) {
      this.#options.onError(asError(error));
    }
  }
}
