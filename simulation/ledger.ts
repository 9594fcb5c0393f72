import type { Leg } from './systems/group.js';

/** A `publish()` call and what came of it. */
export interface Call {
  id: string;
  key: string;
  /** Number among the calls of its key. */
  number: number;
  publisher: string;
  /** When the call resolved; undefined while it has not, or when it failed. */
  acknowledgedAt?: number;
  failed?: string;
}

/** An `apply` that began. */
export interface Effect {
  group: string;
  id: string;
  side: Leg;
  partition: number;
  /** On its side. */
  offset: number;
  consumer: string;
  /** Of the state that the consumer obeys. */
  epoch: number;
  startedAt: number;
  /** Undefined while it runs, or when its process died meanwhile. */
  endedAt?: number;
}

/** Positions of a group that were set on a leg, and what was said of them. */
export interface Move {
  group: string;
  partition: number;
  to: Leg;
  /** Commit on the other leg at that time; undefined where positions were restored without it. */
  source: number | undefined;
  target: number;
  /** Ids that were said to come again; undefined where only their number is bounded. */
  redelivered: readonly string[] | undefined;
  at: number;
}

/** Everything that counts in the end: what was promised to callers, and what handlers did. */
export class Ledger {
  readonly calls = new Map<string, Call>();
  readonly effects: Effect[] = [];
  readonly moves: Move[] = [];
  readonly violations: string[] = [];
  /** Effects out of order for a reason that is documented: see `Checker`. */
  repairedLate = 0;
  readonly #numbers = new Map<string, number>();

  call(key: string, publisher: string): Call {
    const number = (this.#numbers.get(key) ?? 0) + 1;
    this.#numbers.set(key, number);
    const call: Call = { id: `${key}:${number}`, key, number, publisher };
    this.calls.set(call.id, call);
    return call;
  }

  /** Notes what must never be, once for each kind. */
  violate(invariant: string, what: string): void {
    if (this.violations.length < 50) this.violations.push(`${invariant}: ${what}`);
  }
}
