import { setMaxListeners } from 'node:events';
import { shadowLeg, type RoutingState } from '../routing/routing-state.js';
import type { Leg } from '../message/headers.js';
import { HandlerInterruptedError } from './handler-interrupted.js';

/** What the gate asks of the routing at the moment of a decision. */
export interface RoutingView {
  /** The state that this consumer obeys; undefined without a migration or before its first state. */
  readonly state: RoutingState | undefined;
  /** False once the state may be outdated; always true without a migration. */
  readonly leaseValid: boolean;
}

/** How a member stands with its group while it handles a message. */
export interface Standing {
  /** Aborts when the member takes nothing on any more: it stops, or learns that it lost its place. */
  readonly signal: AbortSignal;
  /** Aborts, with a `HandlerInterruptedError`, when what is in hand had better end too. */
  readonly interrupt: AbortSignal;
  /** Whether the partition is still the member's own: false once its lease with the group may be over. */
  owned(): boolean;
}

/**
 * Decides, right before it happens, whether a side of this process may act: the live sides run `apply`, the shadow runs
 * `process`. Only one live side has a message in hand at a time.
 */
export class ApplyGate {
  readonly #routing: RoutingView;
  readonly #inHand: Record<Leg, number> = { kafka: 0, owlmq: 0 };
  readonly #waiting = new Set<() => void>();
  #lease = newLease();

  constructor(routing: RoutingView) {
    this.#routing = routing;
  }

  /** Aborts, with a `HandlerInterruptedError`, when the present lease is lost; another one follows when it is back. */
  get lease(): AbortSignal {
    // The lease may be back without anybody having said so yet.
    if (this.#lease.signal.aborted && this.#routing.leaseValid) this.#lease = newLease();
    return this.#lease.signal;
  }

  /** Waits until the routing state is known to be current; false when the member takes nothing on any more. */
  async current({ signal }: Standing): Promise<boolean> {
    while (!signal.aborted) {
      if (this.#routing.leaseValid) return true;
      await this.#changed(signal);
    }
    return false;
  }

  /** Offset (exclusive) up to which a live side may apply now: 0 when it may not, infinite without a bound. */
  limit(side: Leg, topic: string, partition: number): number {
    const { state } = this.#routing;
    if (state === undefined) return side === 'kafka' ? Infinity : 0;
    if (state.live !== side || state.drain === 'stop') return 0;
    if (state.drain === undefined) return Infinity;
    // A partition that the drain does not name was made after it: nothing of it may be applied.
    return state.drain[topic]?.[partition] ?? 0;
  }

  /**
   * Waits until the live side may apply a message; false when it may not: it is past the limit, or the member's
   * standing with its group is gone.
   * After true, `apply` must be called in the same turn, and then `leave`.
   */
  async enter(side: Leg, topic: string, partition: number, offset: number, standing: Standing): Promise<boolean> {
    const other: Leg = side === 'kafka' ? 'owlmq' : 'kafka';
    for (;;) {
      if (standing.signal.aborted || !standing.owned()) return false;
      if (offset >= this.limit(side, topic, partition)) return false;
      if (this.#routing.leaseValid && this.#inHand[other] === 0) {
        this.#inHand[side] += 1;
        return true;
      }
      await this.#changed(standing.signal);
    }
  }

  /** The message that `enter` let in was applied, or failed. */
  leave(side: Leg): void {
    this.#inHand[side] -= 1;
    this.notify();
  }

  /** Waits until a shadow on a leg may process; false when none runs there now, or the member stops. */
  async enterShadow(leg: Leg, { signal }: Standing): Promise<boolean> {
    for (;;) {
      if (signal.aborted || shadowLeg(this.#routing.state) !== leg) return false;
      if (this.#routing.leaseValid) return true;
      await this.#changed(signal);
    }
  }

  /** Whether a live side has a message in hand. */
  busy(side: Leg): boolean {
    return this.#inHand[side] > 0;
  }

  /** To be called whenever the routing state or the lease changed. */
  notify(): void {
    if (!this.#routing.leaseValid) this.#lease.abort(new HandlerInterruptedError('lease-lost'));
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  async #changed(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }
}

function newLease(): AbortController {
  const lease = new AbortController();
  // As many as there are messages in hand.
  setMaxListeners(0, lease.signal);
  return lease;
}
