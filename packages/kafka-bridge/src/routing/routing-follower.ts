import { setTimeout as sleep } from 'node:timers/promises';
import { asError, deferred } from '../async/bounded.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { PartitionFollower, type FollowedSlice } from '../kafka/partition-follower.js';
import { RoutingUnavailableError } from './routing-errors.js';
import { decodeRoutingRecord, newerState } from './routing-log.js';
import { DEFAULT_LEASE_MS, isFinal, ROUTING_TOPIC, type RoutingState } from './routing-state.js';

export interface RoutingFollowerOptions {
  connection: KafkaConnection;
  migration: string;
  clientId: string;
  /** Told of every failure to read, and of records that are no routing states. Following goes on. */
  onError?: (error: Error) => void;
}

const START_TIMEOUT_MS = 30_000;
const MAX_WAIT_MS = 1_000;

/**
 * Follows the routing state of one migration.
 *
 * A state is trusted for its `leaseMs`, counted on the monotonic clock from the start of the last fetch that reached
 * the end of the routing topic; a final one for as long as the process lives. Epochs only rise. Reading goes on, through any failure, until `stop()`.
 */
export class RoutingFollower {
  readonly #options: RoutingFollowerOptions;
  readonly #follower: PartitionFollower;
  readonly #changeListeners = new Set<(state: RoutingState) => void>();
  readonly #leaseListeners = new Set<(valid: boolean) => void>();
  /** Newest read, which may be ahead of `#state` until the end of the topic is reached. */
  #read: RoutingState | undefined;
  #state: RoutingState | undefined;
  #leaseStart: number | undefined;
  /** What the lease listeners were told last. */
  #leaseTold = false;
  #leaseTimer: NodeJS.Timeout | undefined;
  #lastError: Error | undefined;
  #firstEnd = deferred<undefined>();

  constructor(options: RoutingFollowerOptions) {
    this.#options = options;
    this.#follower = new PartitionFollower({
      connection: options.connection,
      clientId: options.clientId,
      topic: ROUTING_TOPIC,
      maxWaitMs: () => Math.floor(Math.min(MAX_WAIT_MS, this.#leaseMs / 5)),
      onSlice: (slice) => {
        this.#onSlice(slice);
      },
      onError: (error) => {
        this.#onError(error);
      },
    });
  }

  /** Newest state; undefined when none was written yet for this migration. */
  get state(): RoutingState | undefined {
    return this.#state;
  }

  /** Whether `state` may be acted on now. Look at it right before each write. */
  get leaseValid(): boolean {
    if (this.#leaseStart === undefined) return false;
    return isFinal(this.#state) || performance.now() < this.#leaseStart + this.#leaseMs;
  }

  /**
   * Starts following. Resolves once the end of the topic was read.
   *
   * @throws {RoutingUnavailableError} when it was not within `timeoutMs` (default 30 s); nothing is left running then.
   */
  async start(options: { timeoutMs?: number } = {}): Promise<void> {
    const timeoutMs = options.timeoutMs ?? START_TIMEOUT_MS;
    this.#follower.start();
    const giveUp = new AbortController();
    const timeout = sleep(timeoutMs, 'timeout' as const, { signal: giveUp.signal }).catch(() => undefined);
    const outcome = await Promise.race([this.#firstEnd.promise, timeout]);
    giveUp.abort();
    if (outcome === undefined) return;
    await this.stop();
    const reason = this.#lastError?.message ?? 'Kafka did not answer.';
    const problem = `topic ${ROUTING_TOPIC} could not be read to its end within ${timeoutMs} ms: ${reason}`;
    throw new RoutingUnavailableError(this.#options.migration, problem, this.#lastError);
  }

  /**
   * Calls the listener for each higher epoch. Of several that one fetch brought, only the newest is told: a state is
   * whole in itself. Returns a function that ends it.
   */
  onChange(listener: (state: RoutingState) => void): () => void {
    this.#changeListeners.add(listener);
    return () => this.#changeListeners.delete(listener);
  }

  /** Calls the listener when the lease is lost and when it is regained. Returns a function that ends it. */
  onLease(listener: (valid: boolean) => void): () => void {
    this.#leaseListeners.add(listener);
    return () => this.#leaseListeners.delete(listener);
  }

  /** Stops following; the lease is over. No listener is called after this. */
  async stop(): Promise<void> {
    clearTimeout(this.#leaseTimer);
    this.#changeListeners.clear();
    this.#leaseListeners.clear();
    await this.#follower.stop();
    clearTimeout(this.#leaseTimer);
    this.#leaseStart = undefined;
  }

  get #leaseMs(): number {
    return this.#state?.leaseMs ?? DEFAULT_LEASE_MS;
  }

  #onSlice({ records, atEnd, fetchStartedAt }: FollowedSlice): void {
    for (const record of records) {
      if (record.key?.toString() !== this.#options.migration) continue;
      try {
        const candidate = decodeRoutingRecord(record);
        if (candidate !== undefined) this.#read = newerState(this.#read, candidate);
      } catch (error) {
        this.#onError(asError(error));
      }
    }
    // Before the end a higher epoch may follow: nothing is acted on yet.
    if (!atEnd) return;
    // A lease that ran out unnoticed is told as lost before it is told as regained.
    this.#watchLease();
    const changed = this.#read !== undefined && this.#read.epoch > (this.#state?.epoch ?? 0);
    this.#state = this.#read;
    this.#leaseStart = fetchStartedAt;
    if (changed && this.#state !== undefined) this.#tell(this.#changeListeners, this.#state);
    this.#watchLease();
    this.#firstEnd.resolve(undefined);
  }

  #watchLease(): void {
    clearTimeout(this.#leaseTimer);
    const valid = this.leaseValid;
    if (valid && this.#leaseStart !== undefined && !isFinal(this.#state)) {
      // A timer may fire a little early: then this is called again.
      const leftMs = this.#leaseStart + this.#leaseMs - performance.now();
      this.#leaseTimer = setTimeout(() => {
        this.#watchLease();
      }, leftMs + 1).unref();
    }
    if (valid === this.#leaseTold) return;
    this.#leaseTold = valid;
    this.#tell(this.#leaseListeners, valid);
  }

  #tell<T>(listeners: ReadonlySet<(value: T) => void>, value: T): void {
    for (const listener of [...listeners]) {
      try {
        listener(value);
      } catch (error) {
        this.#onError(asError(error));
      }
    }
  }

  #onError(error: Error): void {
    this.#lastError = error;
    this.#options.onError?.(error);
  }
}
