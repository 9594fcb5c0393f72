import {
  ApplyGate,
  DEFAULT_LEASE_MS,
  shadowLeg,
  SideSlot,
  type ConsumerReport,
  type ConsumingSide,
  type RoutingState,
} from '@owlmq/kafka-bridge/protocol';
import type { Process } from '../clock/world.js';
import type { Effect, Ledger } from '../ledger.js';
import type { Systems } from '../systems/systems.js';
import { RoutingLink } from './routing-link.js';
import { Side } from './side.js';

export interface ConsumerOptions {
  systems: Systems;
  ledger: Ledger;
  process: Process;
  migration: string;
  group: string;
  /** Most time that `apply` takes now, ms. */
  applyMs: () => number;
  applies: (effect: Effect) => void;
}

/**
 * A service with a `DualConsumer`: the production `ApplyGate` and slots of sides, and in the place of `DualConsumer`
 * what it does around them. Shadows have no effects and are left out; a member says that it has one.
 */
export class Consumer {
  readonly process: Process;
  readonly link: RoutingLink;
  readonly group: string;
  readonly epochs: number[] = [];
  readonly #options: ConsumerOptions;
  readonly #gate: ApplyGate;
  readonly #slots: Record<'kafka' | 'owlmq', SideSlot>;
  readonly #recent = new Set<string>();
  #state: RoutingState | undefined;
  #appliedEpoch = 0;
  #applied = 0;
  #shown = '';
  #running = false;

  constructor(options: ConsumerOptions) {
    const { systems, process, migration, group } = options;
    this.#options = options;
    this.process = process;
    this.group = group;
    const { world } = systems;
    const link = new RoutingLink({
      systems,
      process,
      migration,
      report: () => this.#report(),
      onChange: (state) => {
        this.epochs.push(state.epoch);
        this.#state = state;
        if (this.#running) this.#reconcile();
      },
      onLease: () => {
        this.#routingChanged();
      },
      onReady: () => {
        this.#running = true;
        this.#reconcile();
      },
    });
    this.link = link;
    const state = (): RoutingState | undefined => this.#state;
    this.#gate = new ApplyGate({
      get state() {
        return state();
      },
      get leaseValid() {
        return link.view.leaseValid(world.now);
      },
    });
    const changed = (): void => {
      this.#evaluate();
    };
    this.#slots = {
      kafka: new SideSlot(() => this.#side('kafka'), changed),
      owlmq: new SideSlot(() => this.#side('owlmq'), changed),
    };
  }

  start(): void {
    this.link.start();
  }

  /** How far its live side is, for the end of a run. */
  get live(): ConsumingSide | undefined {
    return this.#slots[this.#state?.live ?? 'kafka'].current;
  }

  // What DualConsumer does.

  #reconcile(): void {
    const live = this.#state?.live ?? 'kafka';
    this.#slots.kafka.set(live === 'kafka');
    this.#slots.owlmq.set(live === 'owlmq');
    this.#routingChanged();
  }

  #routingChanged(): void {
    this.#gate.notify();
    for (const { current } of Object.values(this.#slots)) current?.routingChanged();
    this.#evaluate();
  }

  #evaluate(): void {
    this.#applyInFull();
    const shown = `${this.#shownState()} ${this.#appliedEpoch} ${shadowLeg(this.#state) ?? ''} ${this.live?.memberId ?? ''}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.link.reportNow();
  }

  #applyInFull(): void {
    const state = this.#state;
    if (!this.#running || state === undefined || state.epoch <= this.#appliedEpoch) return;
    if (this.#appliedInFull(state)) this.#appliedEpoch = state.epoch;
  }

  #appliedInFull(state: RoutingState): boolean {
    const { kafka } = this.#slots;
    if (kafka.wanted !== (state.live === 'kafka')) return false;
    const drained = state.drain !== undefined && this.live?.drained === true;
    const live = this.#slots[state.live];
    if (!Object.values(this.#slots).every((slot) => slot.settled || (slot === live && drained))) return false;
    return state.drain === undefined || drained;
  }

  #report(): ConsumerReport {
    this.#applyInFull();
    const state = this.#state;
    const memberId = this.live?.memberId;
    return {
      version: 1,
      ...(memberId === undefined ? {} : { memberId }),
      migration: this.#options.migration,
      instance: this.process.name,
      epoch: this.#appliedEpoch,
      leaseMs: state?.leaseMs ?? DEFAULT_LEASE_MS,
      at: '',
      role: 'consumer',
      group: this.group,
      state: this.#shownState(),
      shadow: shadowLeg(state) !== undefined,
      live: {},
      watermarks: { live: {}, shadow: {} },
      applied: this.#applied,
      failed: 0,
    };
  }

  #shownState(): ConsumerReport['state'] {
    const side = this.live;
    if (this.#state?.drain !== undefined && side?.drained === true) return 'drained';
    if (!this.link.leaseValid) return 'lease-lost';
    if (side?.joined !== true) return 'idle';
    return this.#state?.live === 'owlmq' ? 'live-owlmq' : 'live-kafka';
  }

  #side(leg: 'kafka' | 'owlmq'): ConsumingSide {
    const { systems, ledger, process, applyMs, group, applies } = this.#options;
    return new Side({
      ...{ systems, ledger, process, gate: this.#gate, leg, group, recent: this.#recent, applyMs, applies },
      epoch: () => this.#state?.epoch ?? 0,
      stopping: () => this.#state?.drain === 'stop',
      applied: () => {
        this.#applied++;
      },
      changed: () => {
        this.#evaluate();
      },
    });
  }
}
