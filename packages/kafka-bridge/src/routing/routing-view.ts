import { asError } from '../async/bounded.js';
import type { FollowedSlice } from '../kafka/partition-follower.js';
import { RoutingLostError } from './routing-errors.js';
import { decodeRoutingRecord, newerState, sameState, type RoutingRecord } from './routing-log.js';
import { DEFAULT_LEASE_MS, isFinal, mirroredAfter, type RoutingState, type TopicOffsets } from './routing-state.js';

/** What one fetch of the routing topic brought. */
export type RoutingSlice = Omit<FollowedSlice, 'records'> & { records: readonly RoutingRecord[] };

/** A report of this member that is in the members topic. Times are `performance.now()`. */
export interface DeliveredReport {
  /** Before it was sent. */
  sentAt: number;
  acknowledgedAt: number;
  /** The lease that it states. */
  leaseMs: number;
}

/** What a slice changed. */
export interface RoutingNews {
  /** The state to obey from now on, when it is another than before. */
  state: RoutingState | undefined;
  /** Records that are no states, and why the lease was not renewed although the end was reached. */
  errors: Error[];
}

/**
 * What one member may take for true of its migration's routing: every decision on epochs and leases, without a clock or
 * a connection of its own. Times are `performance.now()`.
 *
 * Each epoch has a lease: `leaseMs` from the start of the last fetch that reached the end of the topic and found no
 * higher one, or from the last report that Kafka took, whichever is earlier. So nobody acts under an epoch for longer
 * than its lease after a higher one was written, nor for longer than that after its own last report: who reads the
 * members need not wait for one that has been silent that long. One that was, and reports again, trusts only what it
 * reads after. Epochs only rise.
 */
export class RoutingView {
  readonly #migration: string;
  /** Newest of the log that is being read, which may be ahead of `#state` until its end is reached. */
  #read: RoutingState | undefined;
  /** Also by states that the same slice has already replaced. */
  #inKafkaBefore: TopicOffsets | undefined;
  /** Of the last slice: whether it reached the end, and when it was asked for. */
  #atEnd = false;
  #lastFetch = -Infinity;
  #state: RoutingState | undefined;
  #leaseStart: number | undefined;
  /** Epochs that were obeyed before, with the ends of their leases. */
  readonly #superseded = new Map<number, number>();
  /** What a log that was begun anew must hold at least, before anything of it counts. */
  #floor: RoutingState | undefined;
  /** Epoch that was found below the floor and told of; 0 for none. */
  #toldLost: number | undefined;
  /** The last that is in the members topic. */
  #report: DeliveredReport | undefined;
  /** Fetches that were sent before say nothing: this member counted as silent. */
  #trustFrom = Infinity;
  /** Highest epoch that members have reported; undefined as long as nobody has looked. */
  #reportedEpoch: number | undefined;

  constructor(migration: string) {
    this.#migration = migration;
  }

  /** The state to obey; undefined when none was written yet for this migration. */
  get state(): RoutingState | undefined {
    return this.#state;
  }

  /** OwlMQ offsets before which Kafka has everything, once it is primary again: see `mirroredAfter`. */
  get inKafkaBefore(): TopicOffsets | undefined {
    return this.#inKafkaBefore;
  }

  get leaseMs(): number {
    return this.#state?.leaseMs ?? DEFAULT_LEASE_MS;
  }

  /** When the lease of the present state is over; infinite for a final state, undefined before the first end. */
  get leaseEnd(): number | undefined {
    if (this.#leaseStart === undefined) return undefined;
    return isFinal(this.#state) ? Infinity : Math.min(this.#leaseStart + this.leaseMs, this.#reportEnd);
  }

  /**
   * Whether the log that is being read holds no state of this migration, and nobody has looked yet whether members have
   * obeyed one: without `membersReported` there is no lease.
   */
  get seemsUnbegun(): boolean {
    return this.#atEnd && this.#state === undefined && this.#read === undefined && this.#reportedEpoch === undefined;
  }

  leaseValid(now: number): boolean {
    return now < (this.leaseEnd ?? -Infinity);
  }

  /** When the lease of an epoch is over, that of the present state or of an earlier one. */
  leaseEndOf(epoch: number): number {
    if (epoch === (this.#state?.epoch ?? 0)) return this.leaseEnd ?? -Infinity;
    return this.#superseded.get(epoch) ?? -Infinity;
  }

  /** A report is in the members topic. Called in the order of their sending. */
  reported(report: DeliveredReport): void {
    // Who read the members meanwhile may have counted this one out, and have written what it has not read yet.
    if (report.acknowledgedAt >= this.#reportEnd) {
      this.#trustFrom = report.acknowledgedAt;
      if (!isFinal(this.#state)) this.#leaseStart = undefined;
    }
    this.#report = report;
  }

  /**
   * Goes on from a log without a state, once somebody has looked.
   *
   * @param epoch the highest that any member of this migration has reported; 0 for none.
   */
  membersReported(epoch: number): RoutingNews {
    if (!this.seemsUnbegun) return { state: undefined, errors: [] };
    this.#reportedEpoch = epoch;
    return this.take({ records: [], atEnd: true, fetchStartedAt: this.#lastFetch, fromBegin: false });
  }

  /** Takes a slice, in the order of the fetches. */
  take({ records, atEnd, fetchStartedAt, fromBegin }: RoutingSlice): RoutingNews {
    const errors: Error[] = [];
    if (fromBegin) {
      this.#read = undefined;
      this.#inKafkaBefore = undefined;
      this.#floor = this.#state;
      this.#toldLost = undefined;
      this.#reportedEpoch = undefined;
    }
    for (const record of records) {
      if (record.key?.toString() !== this.#migration) continue;
      try {
        const candidate = decodeRoutingRecord(record);
        if (candidate === undefined || newerState(this.#read, candidate) !== candidate) continue;
        this.#read = candidate;
        this.#inKafkaBefore = mirroredAfter(this.#inKafkaBefore, candidate);
      } catch (error) {
        errors.push(asError(error));
      }
    }
    this.#atEnd = atEnd;
    this.#lastFetch = fetchStartedAt;
    // Before the end a higher epoch may follow: nothing is acted on yet.
    if (!atEnd || this.seemsUnbegun) return { state: undefined, errors };
    if (!this.#reachesFloor()) {
      const found = this.#read?.epoch ?? 0;
      if (this.#toldLost !== found) {
        this.#toldLost = found;
        const known = this.#floor?.epoch ?? this.#reportedEpoch ?? 0;
        errors.push(new RoutingLostError(this.#migration, known, this.#read, this.#floor !== undefined));
      }
      return { state: undefined, errors };
    }
    this.#floor = undefined;
    const changed = this.#read !== undefined && this.#read.epoch > (this.#state?.epoch ?? 0);
    if (changed) this.#supersede(fetchStartedAt);
    if (fetchStartedAt >= this.#trustFrom) this.#leaseStart = fetchStartedAt;
    return { state: changed ? this.#state : undefined, errors };
  }

  /** Nothing is trusted any more. */
  end(): void {
    this.#leaseStart = undefined;
    this.#trustFrom = Infinity;
    this.#superseded.clear();
  }

  /** When this member counts as silent, by its last report. */
  get #reportEnd(): number {
    if (this.#report === undefined) return -Infinity;
    // Reports on a shorter lease may have arrived, and their acknowledgements not.
    return this.#report.sentAt + Math.min(this.#report.leaseMs, this.leaseMs);
  }

  #supersede(now: number): void {
    for (const [epoch, end] of this.#superseded) {
      if (end <= now) this.#superseded.delete(epoch);
    }
    if (this.leaseEnd !== undefined) this.#superseded.set(this.#state?.epoch ?? 0, this.leaseEnd);
    this.#state = this.#read;
  }

  /** A log that was made anew and is empty, or holds less, is no order to go back. */
  #reachesFloor(): boolean {
    const floor = this.#floor;
    if (floor === undefined) return this.#state !== undefined || (this.#read?.epoch ?? 0) >= (this.#reportedEpoch ?? 0);
    if (this.#read === undefined) return false;
    return this.#read.epoch > floor.epoch || sameState(this.#read, floor);
  }
}
