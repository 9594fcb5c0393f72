import { setTimeout as sleep } from 'node:timers/promises';
import { asError } from '../async/bounded.js';
import { Pulse } from '../async/pulse.js';
import type { KafkaConnection } from './kafka-connection.js';
import { LogReader } from './log-reader.js';
import { PartitionFollower, type FollowedSlice } from './partition-follower.js';

export interface FollowedLogOptions {
  connection: KafkaConnection;
  clientId: string;
  /** Partition 0 of it is followed, from its begin. */
  topic: string;
  onSlice: (slice: FollowedSlice) => void;
  /** Told of every failure to read. Following goes on. */
  onError: (error: Error) => void;
  /** Makes the error of a read that did not reach the end in time. */
  unavailable: (problem: string, cause: Error | undefined) => Error;
}

const READ_TIMEOUT_MS = 30_000;
const MAX_WAIT_MS = 500;
const RETRY_FOR_MS = 1_000;

/** A log that is followed until stopped, and that callers may wait for to have been read to its end. */
export class FollowedLog {
  readonly #options: FollowedLogOptions;
  readonly #follower: PartitionFollower;
  readonly #reader: LogReader;
  readonly #news = new Pulse();
  #lastError: Error | undefined;

  constructor(options: FollowedLogOptions) {
    this.#options = options;
    const { connection, clientId, topic, onSlice } = options;
    // `readToEnd` has a bound and a loop of its own.
    this.#reader = new LogReader(connection, { clientId, retryForMs: RETRY_FOR_MS });
    this.#follower = new PartitionFollower({
      connection,
      clientId,
      topic,
      maxWaitMs: () => MAX_WAIT_MS,
      onSlice: (slice) => {
        onSlice(slice);
        this.#news.fire();
      },
      onError: (error) => {
        this.#onError(error);
      },
    });
  }

  /**
   * Starts following. Resolves once the end of the topic was read.
   *
   * @throws what `unavailable` makes, when it was not within `timeoutMs` (default 30 s); nothing is left running then.
   */
  async start(options: { timeoutMs?: number } = {}): Promise<void> {
    this.#follower.start();
    try {
      await this.readToEnd(options);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /**
   * Resolves once everything was read that was in the topic when this was called.
   *
   * @throws what `unavailable` makes, when it was not within `timeoutMs` (default 30 s).
   */
  async readToEnd(options: { timeoutMs?: number } = {}): Promise<void> {
    const timeoutMs = options.timeoutMs ?? READ_TIMEOUT_MS;
    const deadline = performance.now() + timeoutMs;
    const wait = async (most: number): Promise<void> => {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw this.#unavailable(timeoutMs);
      await this.#news.wait(Math.min(leftMs, most));
    };
    let end: number;
    for (;;) {
      const before = this.#follower.position ?? 0;
      end = await this.#end(deadline, timeoutMs);
      if (before <= end) break;
      // More was read than the topic holds: it was made anew, which the follower sees at its next fetch.
      await wait(MAX_WAIT_MS);
    }
    while ((this.#follower.position ?? -1) < end) await wait(Infinity);
  }

  /** Resolves with the next slice, or after `ms`. */
  async news(ms: number): Promise<void> {
    await this.#news.wait(ms);
  }

  /** Ends the waits of `news`. */
  wake(): void {
    this.#news.fire();
  }

  async stop(): Promise<void> {
    await this.#follower.stop();
    await this.#reader.close();
  }

  async #end(deadline: number, timeoutMs: number): Promise<number> {
    for (;;) {
      try {
        return (await this.#reader.ends(this.#options.topic))[0] ?? 0;
      } catch (error) {
        this.#onError(asError(error));
        if (performance.now() >= deadline) throw this.#unavailable(timeoutMs);
        await sleep(200);
      }
    }
  }

  #unavailable(timeoutMs: number): Error {
    const reason = this.#lastError?.message ?? 'Kafka did not answer.';
    return this.#options.unavailable(
      `Topic ${this.#options.topic} could not be read to its end within ${timeoutMs} ms: ${reason}`,
      this.#lastError,
    );
  }

  #onError(error: Error): void {
    this.#lastError = error;
    this.#options.onError(error);
  }
}
