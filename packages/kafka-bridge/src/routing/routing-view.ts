import { asError } from '../async/bounded.js';
import type { FollowedSlice } from '../kafka/partition-follower.js';
import { RoutingLostError } from './routing-errors.js';
import { decodeRoutingRecord, newerState, sameState, type RoutingRecord } from './routing-log.js';
import { DEFAULT_LEASE_MS, isFinal, type RoutingState } from './routing-state.js';

/** What one fetch of the routing topic brought. */
export type RoutingSlice = Omit<FollowedSlice, 'records'> & { records: readonly RoutingRecord[] };

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
 * higher one. So nobody acts under an epoch for longer than its lease after a higher one was written. Epochs only rise.
 */
export class RoutingView {
  readonly #migration: string;
  /** Newest of the log that is being read, which may be ahead of `#state` until its end is reached. */
  #read: RoutingState | undefined;
  #state: RoutingState | undefined;
  #leaseStart: number | undefined;
  /** Epochs that were obeyed before, with the ends of their leases. */
  readonly #superseded = new Map<number, number>();
  /** What a log that was begun anew must hold at least, before anything of it counts. */
  #floor: RoutingState | undefined;
  /** Epoch that was found below the floor and told of; 0 for none. */
  #toldLost: number | undefined;

  constructor(migration: string) {
    this.#migration = migration;
  }

  /** The state to obey; undefined when none was written yet for this migration. */
  get state(): RoutingState | undefined {
    return this.#state;
  }

  get leaseMs(): number {
    return this.#state?.leaseMs ?? DEFAULT_LEASE_MS;
  }

  /** When the lease of the present state is over; infinite for a final state, undefined before the first end. */
  get leaseEnd(): number | undefined {
    if (this.#leaseStart === undefined) return undefined;
    return isFinal(this.#state) ? Infinity : this.#leaseStart + this.leaseMs;
  }

  leaseValid(now: number): boolean {
    return now < (this.leaseEnd ?? -Infinity);
  }

  /** When the lease of an epoch is over, that of the present state or of an earlier one. */
  leaseEndOf(epoch: number): number {
    if (epoch === (this.#state?.epoch ?? 0)) return this.leaseEnd ?? -Infinity;
    return this.#superseded.get(epoch) ?? -Infinity;
  }

  /** Takes a slice, in the order of the fetches. */
  take({ records, atEnd, fetchStartedAt, fromBegin }: RoutingSlice): RoutingNews {
    const errors: Error[] = [];
    if (fromBegin) {
      this.#read = undefined;
      this.#floor = this.#state;
      this.#toldLost = undefined;
    }
    for (const record of records) {
      if (record.key?.toString() !== this.#migration) continue;
      try {
        const candidate = decodeRoutingRecord(record);
        if (candidate !== undefined) this.#read = newerState(this.#read, candidate);
      } catch (error) {
        errors.push(asError(error));
      }
    }
    // Before the end a higher epoch may follow: nothing is acted on yet.
    if (!atEnd) return { state: undefined, errors };
    if (!this.#reachesFloor()) {
      const found = this.#read?.epoch ?? 0;
      if (this.#floor !== undefined && this.#toldLost !== found) {
        this.#toldLost = found;
        errors.push(new RoutingLostError(this.#floor, this.#read));
      }
      return { state: undefined, errors };
    }
    this.#floor = undefined;
    const changed = this.#read !== undefined && this.#read.epoch > (this.#state?.epoch ?? 0);
    if (changed) this.#supersede(fetchStartedAt);
    this.#leaseStart = fetchStartedAt;
    return { state: changed ? this.#state : undefined, errors };
  }

  /** Nothing is trusted any more. */
  end(): void {
    this.#leaseStart = undefined;
    this.#superseded.clear();
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
    if (floor === undefined) return true;
    if (this.#read === undefined) return false;
    return this.#read.epoch > floor.epoch || sameState(this.#read, floor);
  }
}
