import { asError, bounded, deferred } from '../async/bounded.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { PartitionFollower } from '../kafka/partition-follower.js';
import { highestReportedEpoch } from '../members/reported-epoch.js';
import { RoutingUnavailableError } from './routing-errors.js';
import { ROUTING_TOPIC, type RoutingState, type TopicOffsets } from './routing-state.js';
import { RoutingView, type DeliveredReport, type RoutingNews, type RoutingSlice } from './routing-view.js';

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
 * the end of the routing topic, or from the member's own last report (`reported`), whichever is earlier; a final one
 * for as long as the process lives. Epochs only rise, also when the topic is made anew. Where it holds no state at the
 * start, the members topic must not know of one either. Reading goes on, through any failure, until `stop()`.
 */
export class RoutingFollower {
  readonly #options: RoutingFollowerOptions;
  readonly #follower: PartitionFollower;
  readonly #changeListeners = new Set<(state: RoutingState) => void>();
  readonly #leaseListeners = new Set<(valid: boolean) => void>();
  readonly #view: RoutingView;
  /** What the lease listeners were told last. */
  #leaseTold = false;
  #leaseTimer: NodeJS.Timeout | undefined;
  #lastError: Error | undefined;
  #asking = false;
  readonly #stopping = new AbortController();
  #firstEnd = deferred<undefined>();

  constructor(options: RoutingFollowerOptions) {
    this.#options = options;
    this.#view = new RoutingView(options.migration);
    this.#follower = new PartitionFollower({
      connection: options.connection,
      clientId: options.clientId,
      topic: ROUTING_TOPIC,
      maxWaitMs: () => Math.floor(Math.min(MAX_WAIT_MS, this.#view.leaseMs / 5)),
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
    return this.#view.state;
  }

  /** OwlMQ offsets before which Kafka has everything, once it is primary again; undefined where that is not known. */
  get inKafkaBefore(): TopicOffsets | undefined {
    return this.#view.inKafkaBefore;
  }

  /** Whether `state` may be acted on now. Look at it right before each write. */
  get leaseValid(): boolean {
    return this.#view.leaseValid(performance.now());
  }

  /**
   * `performance.now()` at which the lease of an epoch is over: that of the present state, which fetches renew, or of
   * an earlier one, which they do not. What was routed under an epoch may be written until then.
   */
  leaseEndOf(epoch: number): number {
    return this.#view.leaseEndOf(epoch);
  }

  /** A report of this member is in the members topic. Without any there is no lease: report before `start()`. */
  reported(report: DeliveredReport): void {
    // A lease that ran out unnoticed is told as lost before it is told as regained.
    this.#watchLease();
    this.#view.reported(report);
    this.#watchLease();
  }

  /**
   * Starts following. Resolves once the end of the topic was read, and there is a lease.
   *
   * @throws {RoutingUnavailableError} when it was not within `timeoutMs` (default 30 s); nothing is left running then.
   */
  async start(options: { timeoutMs?: number } = {}): Promise<void> {
    const timeoutMs = options.timeoutMs ?? START_TIMEOUT_MS;
    this.#follower.start();
    try {
      await bounded(this.#firstEnd.promise, timeoutMs, () => this.#unavailable(timeoutMs));
    } catch (error) {
      await this.stop();
      throw error;
    }
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
    this.#stopping.abort();
    clearTimeout(this.#leaseTimer);
    this.#changeListeners.clear();
    this.#leaseListeners.clear();
    await this.#follower.stop();
    clearTimeout(this.#leaseTimer);
    this.#view.end();
  }

  #onSlice(slice: RoutingSlice): void {
    // A lease that ran out unnoticed is told as lost before it is told as regained.
    this.#watchLease();
    this.#learn(this.#view.take(slice));
    if (this.#view.seemsUnbegun) this.#askMembers();
  }

  #learn({ state, errors }: RoutingNews): void {
    for (const error of errors) this.#onError(error);
    if (state !== undefined) this.#tell(this.#changeListeners, state);
    this.#watchLease();
    if (this.#view.leaseEnd !== undefined) this.#firstEnd.resolve(undefined);
  }

  /** Looks whether members know of a state that the routing topic does not hold. */
  #askMembers(): void {
    if (this.#asking) return;
    this.#asking = true;
    const { connection, clientId, migration } = this.#options;
    highestReportedEpoch(connection, clientId, migration, this.#stopping.signal)
      .then(
        (epoch) => {
          if (!this.#stopping.signal.aborted) this.#learn(this.#view.membersReported(epoch));
        },
        (error: unknown) => {
          // The next slice asks again.
          if (!this.#stopping.signal.aborted) this.#onError(asError(error));
        },
      )
      .finally(() => {
        this.#asking = false;
      });
  }

  #watchLease(): void {
    clearTimeout(this.#leaseTimer);
    const valid = this.leaseValid;
    const end = this.#view.leaseEnd ?? 0;
    if (valid && Number.isFinite(end)) {
      // A timer may fire a little early: then this is called again.
      this.#leaseTimer = setTimeout(
        () => {
          this.#watchLease();
        },
        end - performance.now() + 1,
      ).unref();
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

  #unavailable(timeoutMs: number): RoutingUnavailableError {
    const reason = this.#lastError?.message ?? 'Kafka did not answer.';
    const problem = `topic ${ROUTING_TOPIC} could not be read to its end within ${timeoutMs} ms: ${reason}`;
    return new RoutingUnavailableError(this.#options.migration, problem, this.#lastError);
  }

  #onError(error: Error): void {
    this.#lastError = error;
    this.#options.onError?.(error);
  }
}
