import { asError } from '../async/bounded.js';
import { FollowedLog } from '../kafka/followed-log.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import type { FollowedSlice } from '../kafka/partition-follower.js';
import { decodeRoutingRecord, newerState } from './routing-log.js';
import { ROUTING_TOPIC, type RoutingState } from './routing-state.js';

/** The routing topic could not be read to its end in time. */
export class RoutingBoardUnavailableError extends Error {
  override readonly name = 'RoutingBoardUnavailableError';
}

/** A routing state as the board knows it. */
export interface BoardEntry {
  state: RoutingState;
  /** False when the routing topic was made anew since, and holds neither this state nor a higher epoch. */
  standing: boolean;
}

/** Knows the routing states of all migrations. Follows the routing topic until stopped. Epochs only rise. */
export class RoutingBoard {
  readonly #log: FollowedLog;
  readonly #onError: (error: Error) => void;
  readonly #entries = new Map<string, BoardEntry>();

  constructor(options: { connection: KafkaConnection; clientId: string; onError: (error: Error) => void }) {
    this.#onError = options.onError;
    this.#log = new FollowedLog({
      ...options,
      topic: ROUTING_TOPIC,
      onSlice: (slice) => {
        this.#take(slice);
      },
      unavailable: (problem, cause) => new RoutingBoardUnavailableError(problem, { cause }),
    });
  }

  /**
   * Starts following. Resolves once the end of the topic was read.
   *
   * @throws {RoutingBoardUnavailableError} when it was not within `timeoutMs` (default 30 s); nothing is left running then.
   */
  async start(options: { timeoutMs?: number } = {}): Promise<void> {
    await this.#log.start(options);
  }

  /**
   * Resolves once every state is known that was in the topic when this was called.
   *
   * @throws {RoutingBoardUnavailableError} when it was not read within `timeoutMs` (default 30 s).
   */
  async readToEnd(options: { timeoutMs?: number } = {}): Promise<void> {
    await this.#log.readToEnd(options);
  }

  /** What was read last of a migration; undefined when nothing was. */
  find(migration: string): BoardEntry | undefined {
    return this.#entries.get(migration);
  }

  /** Resolves once a migration has a higher epoch, after `ms`, or when the signal aborts. */
  async waitBeyond(migration: string, epoch: number, ms: number, signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + ms;
    const wake = (): void => {
      this.#log.wake();
    };
    signal.addEventListener('abort', wake);
    try {
      while (!signal.aborted && (this.find(migration)?.state.epoch ?? 0) <= epoch) {
        const leftMs = deadline - performance.now();
        if (leftMs <= 0) return;
        await this.#log.news(leftMs);
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  async stop(): Promise<void> {
    await this.#log.stop();
  }

  #take({ records, fromBegin }: FollowedSlice): void {
    if (fromBegin) for (const entry of this.#entries.values()) entry.standing = false;
    for (const record of records) {
      try {
        const candidate = decodeRoutingRecord(record);
        if (candidate === undefined) continue;
        const known = this.#entries.get(candidate.migration);
        this.#entries.set(candidate.migration, {
          state: newerState(known?.state, candidate),
          standing: known === undefined || known.standing || candidate.epoch >= known.state.epoch,
        });
      } catch (error) {
        this.#onError(asError(error));
      }
    }
  }
}
