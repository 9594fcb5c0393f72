import {
  Dispatcher,
  newOutgoing,
  OwlmqUnreachableError,
  routeOf,
  type OwlmqApi,
  type PublisherReport,
  type PublishResult,
  type Route,
  type RoutingState,
  type TopicPartitions,
  DEFAULT_LEASE_MS,
} from '@owlmq/kafka-bridge/protocol';
import type { Process, World } from '../clock/world.js';
import type { Ledger } from '../ledger.js';
import { PARTITIONS, TOPIC, type Stored } from '../systems/message.js';
import type { Systems } from '../systems/systems.js';
import { SimulatedKafkaLane, storedOf } from './kafka-lane.js';
import { RoutingLink } from './routing-link.js';

/** Bounds of a publisher, short: a run is a minute. */
const SETTINGS = {
  deliveryTimeoutMs: 3_000,
  holdTimeoutMs: 20_000,
  bufferTimeoutMs: 5_000,
  maxBufferedMessages: 60,
  maxBufferedBytes: 1_000_000,
  maxBacklogMessages: 10,
  maxBacklogBytes: 1_000_000,
  mirrorTimeoutMs: 400,
};

/** Told of every message as its bytes leave a publisher. */
export type Leaving = (publisher: Publisher, leg: 'kafka' | 'owlmq', message: Stored) => void;

export interface PublisherOptions {
  systems: Systems;
  ledger: Ledger;
  process: Process;
  migration: string;
  /** Keys that it publishes, in turn. */
  keys: readonly string[];
  /** Most time between two calls, ms. */
  everyMs: number;
  leaves: Leaving;
}

/**
 * A service with a `DualPublisher`: the production `Dispatcher`, lanes and mirror, on a simulated producer and OwlMQ
 * client, and in the place of `DualPublisher` what it does around them.
 */
export class Publisher {
  readonly process: Process;
  readonly link: RoutingLink;
  /** Epochs it has obeyed, in that order. */
  readonly epochs: number[] = [];
  readonly #options: PublisherOptions;
  readonly #world: World;
  readonly #dispatcher: Dispatcher;
  readonly #lane: SimulatedKafkaLane;
  #state: RoutingState | undefined;
  #announced = '';
  #stopping = false;

  constructor(options: PublisherOptions) {
    const { systems, process, migration } = options;
    this.#options = options;
    this.process = process;
    this.#world = systems.world;
    this.link = new RoutingLink({
      systems,
      process,
      migration,
      report: () => this.#report(),
      onChange: (state) => {
        this.#obey(state);
      },
      onLease: (valid) => {
        if (!valid) this.#inBackground(this.#dispatcher.leaseLost());
        this.#dispatcher.routesChanged();
        this.#announce();
      },
      onReady: () => {
        this.#dispatcher.open();
      },
    });
    this.#lane = new SimulatedKafkaLane({
      ...{ systems, process, deliveryTimeoutMs: SETTINGS.deliveryTimeoutMs },
      leaves: (message) => {
        options.leaves(this, 'kafka', message);
      },
    });
    const owlmq = this.#owlmqApi();
    this.#dispatcher = new Dispatcher({
      instance: process.name,
      settings: SETTINGS,
      kafka: this.#lane.asLane,
      owlmq: () => owlmq,
      partitions: { leaders: () => new Array<number>(PARTITIONS).fill(1) } as unknown as TopicPartitions,
      routeOf: (topic) => this.#routeOf(topic),
      mayWrite: () => this.#mayWrite,
      mayWriteUnder: (epoch) => this.#world.now < this.link.view.leaseEndOf(epoch),
      onChange: () => {
        this.#announce();
      },
      onEvent: () => undefined,
      meter: undefined,
    });
  }

  start(): void {
    this.link.start();
    this.#publishSoon();
  }

  /** Publishes nothing more. */
  stopPublishing(): void {
    this.#stopping = true;
  }

  /** Calls that are not settled, and copies that wait. */
  get open(): number {
    const { unsettled, backlog, inFlight } = this.#dispatcher.status;
    return unsettled + backlog + inFlight;
  }

  get epoch(): number {
    return this.#state?.epoch ?? 0;
  }

  get mayWrite(): boolean {
    return this.#mayWrite;
  }

  #publishSoon(): void {
    const { random } = this.#world;
    this.#world.timer(this.process, random.between(1, this.#options.everyMs), () => {
      if (this.#stopping) return;
      this.publish(random.chance(0.2) ? random.between(2, 5) : 1);
      this.#publishSoon();
    });
  }

  /** Calls `publish()` a number of times, in one turn. */
  publish(count: number): void {
    for (let n = 0; n < count; n++) this.#publish();
  }

  #publish(): void {
    const { ledger, keys } = this.#options;
    const [first = ''] = keys;
    const call = ledger.call(keys[this.#world.random.between(0, keys.length - 1)] ?? first, this.process.name);
    const settle = {
      resolve: () => (call.acknowledgedAt = this.#world.now),
      reject: (error: Error) => (call.failed = error.name),
    };
    this.#dispatcher.accept(
      newOutgoing(TOPIC, call.id, { key: call.key, id: call.id, timestamp: this.#world.now }, settle),
    );
  }

  // What DualPublisher does. Its own code on a simulated Kafka is tested in fleet-model.test.ts.

  #obey(state: RoutingState): void {
    const wasFenced = this.#state?.fence !== undefined;
    const superseded = this.#state?.epoch ?? 0;
    this.#state = state;
    this.epochs.push(state.epoch);
    this.#endEpoch(superseded);
    this.#dispatcher.epochChanged();
    if (state.fence !== undefined) {
      if (!wasFenced) this.#dispatcher.resetHolds();
      this.#inBackground(this.#dispatcher.settleInFlight(() => this.#state === state));
    }
    this.#dispatcher.routesChanged();
    this.#announce();
  }

  #endEpoch(epoch: number): void {
    const leftMs = this.link.view.leaseEndOf(epoch) - this.#world.now;
    if (leftMs <= 0) {
      this.#inBackground(this.#dispatcher.epochOver(epoch, true));
      return;
    }
    if (!Number.isFinite(leftMs)) return;
    this.#world.timer(this.process, leftMs + 1, () => {
      this.#inBackground(this.#dispatcher.epochOver(epoch, false));
    });
  }

  get #mayWrite(): boolean {
    return this.link.leaseValid;
  }

  #routeOf(topic: string): Route {
    return routeOf(topic, this.#state, this.link.view.inKafkaBefore);
  }

  #condition(): Pick<PublisherReport, 'epoch' | 'state'> {
    const known = this.#state?.epoch ?? 0;
    const epoch = Math.min(known, this.#dispatcher.lowestEpoch ?? known);
    if (!this.#mayWrite) return { epoch, state: 'lease-lost' };
    const fenced = this.#state?.fence !== undefined && this.#dispatcher.isQuiet();
    return { epoch, state: fenced ? 'fenced' : 'publishing' };
  }

  #report(): PublisherReport {
    const { unsettled: _, ...figures } = this.#dispatcher.status;
    return {
      version: 1,
      role: 'publisher',
      migration: this.#options.migration,
      instance: this.process.name,
      ...this.#condition(),
      leaseMs: this.#state?.leaseMs ?? DEFAULT_LEASE_MS,
      at: '',
      ...figures,
    };
  }

  #announce(): void {
    const { epoch, state } = this.#condition();
    const now = `${epoch} ${state}`;
    if (now === this.#announced) return;
    this.#announced = now;
    this.link.reportNow();
  }

  #inBackground(work: Promise<void>): void {
    work.then(
      () => {
        this.#announce();
      },
      (error: unknown) => {
        this.#options.ledger.violate('defect', `${this.process.name}: ${String(error)}`);
      },
    );
  }

  #owlmqApi(): OwlmqApi {
    const { systems, process, leaves } = this.#options;
    const { network, world } = systems;
    const publish: OwlmqApi['publish'] = async (_topic, records, options = {}) => {
      const messages = records.map(({ partition, id, key, headers }) => ({
        partition,
        message: storedOf(id, Object.fromEntries(headers), String(key), process.name, world.now),
      }));
      for (const { message } of messages) leaves(this, 'owlmq', message);
      const serve = (): PublishResult[] =>
        messages.map(({ partition, message }) => ({ ok: true, ...systems.publish(partition, message) }));
      const { timeoutMs = 1_000, signal } = options;
      try {
        return await network.ask(process, systems.owlmq, serve, { timeoutMs: Math.min(1_000, timeoutMs), signal });
      } catch (error) {
        throw new OwlmqUnreachableError(String(error), 'timeout');
      }
    };
    const lookup: OwlmqApi['lookup'] = (_topic, ids, options = {}) =>
      network.ask(process, systems.owlmq, () => ids.map((id) => systems.lookup(id)), {
        timeoutMs: Math.min(1_000, options.timeoutMs ?? 1_000),
      });
    return { publish, lookup } as unknown as OwlmqApi;
  }
}
