import type { RoutingState } from '@owlmq/kafka-bridge/operations';
import type { Leg } from './partition.js';

/** An instance of the fleet: applies each routing state some time after it was written, and none once it is dead. */
export class Member {
  /** Of the state that is applied. */
  routing: RoutingState | undefined;
  /** Unix ms. */
  diedAt: number | undefined;
  #pending: { state: RoutingState; at: number }[] = [];

  constructor(readonly name: string) {}

  get epoch(): number {
    return this.routing?.epoch ?? 0;
  }

  /** When the next state is applied, Unix ms. */
  get nextAt(): number {
    return this.diedAt === undefined ? (this.#pending[0]?.at ?? Infinity) : Infinity;
  }

  /** @param at when it will have applied the state, Unix ms; never before an earlier one. */
  receive(state: RoutingState, at: number): void {
    this.#pending.push({ state, at: Math.max(at, this.#pending.at(-1)?.at ?? 0) });
  }

  applyNext(): void {
    this.routing = this.#pending.shift()?.state;
  }

  isLiving(now: number): boolean {
    return this.diedAt === undefined || now < this.diedAt;
  }

  /** When nobody waits for it any more, Unix ms: a lease after it died. */
  countedOutAt(leaseMs: number): number {
    return this.diedAt === undefined ? Infinity : this.diedAt + leaseMs;
  }
}

/** A publisher, its held calls, and what it has counted since its start. */
export class Publisher extends Member {
  /** Calls that wait, by partition name, oldest first. */
  readonly held: { partition: string; since: number }[] = [];
  /** Since when it holds what is published; undefined while it does not. */
  holdsSince: number | undefined;
  /** Of the last fence. */
  longestHoldMs = 0;
  messages: Record<Leg, number> = { kafka: 0, owlmq: 0 };
  copies = 0;
  dropped = 0;

  get fenced(): boolean {
    return this.routing?.fence !== undefined;
  }

  get primary(): Leg {
    return this.routing?.primary ?? 'kafka';
  }
}

/** A consumer with its live side; its shadow is where the routing state says. */
export class Consumer extends Member {
  /** A handler that does not return until then, Unix ms. */
  stuckUntil = 0;

  constructor(
    name: string,
    readonly group: string,
  ) {
    super(name);
  }

  get live(): Leg {
    return this.routing?.live ?? 'kafka';
  }
}
