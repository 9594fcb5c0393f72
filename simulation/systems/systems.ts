import type { MemberReport, RoutingState } from '@owlmq/kafka-bridge/protocol';
import type { World } from '../clock/world.js';
import { Group, type Leg } from './group.js';
import { PARTITIONS, type Stored } from './message.js';
import { Network, Service, type NetworkFaults } from './network.js';

/** A record of the routing topic. */
export interface RoutingEntry {
  offset: number;
  key: Buffer;
  value: Buffer;
  state: RoutingState;
}

/** A record of the members topic. */
export interface MemberEntry {
  report: MemberReport;
}

/** A log of messages, and whoever waits for more of it. */
export class MessageLog {
  readonly partitions: Stored[][] = Array.from({ length: PARTITIONS }, () => []);
  readonly #woken = new Set<() => void>();

  get ends(): number[] {
    return this.partitions.map((log) => log.length);
  }

  /** Where a message is; the first place, when it is there more than once. */
  find(partition: number, id: string): number | undefined {
    const offset = this.partitions[partition]?.findIndex((stored) => stored.id === id) ?? -1;
    return offset < 0 ? undefined : offset;
  }

  append(partition: number, message: Stored): number {
    const log = this.partitions[partition] ?? [];
    log.push(message);
    return log.length - 1;
  }

  wake(): void {
    const woken = [...this.#woken];
    this.#woken.clear();
    for (const wake of woken) wake();
  }

  onAppend(wake: () => void): () => void {
    this.#woken.add(wake);
    return () => this.#woken.delete(wake);
  }
}

/** Both systems: their logs, groups and the bridge's topics, and the network that leads there. */
export class Systems {
  readonly network: Network;
  readonly kafka = new Service('kafka');
  readonly owlmq = new Service('owlmq');
  readonly logs: Readonly<Record<Leg, MessageLog>> = { kafka: new MessageLog(), owlmq: new MessageLog() };
  readonly groups: Readonly<Record<Leg, Map<string, Group>>> = { kafka: new Map(), owlmq: new Map() };
  readonly routing: RoutingEntry[] = [];
  readonly members: MemberEntry[] = [];
  /** Positions that the warm watch noted last, by group and partition. */
  readonly positions: { group: string; partition: number; offset: number }[] = [];
  /** Batches that producers sent, so that repetitions are not stored. */
  /** Told of every state as it is written. */
  onWritten: (state: RoutingState) => void = () => undefined;
  readonly #batches = new Map<string, number[]>();
  readonly #places = new Map<string, { partition: number; offset: number }>();
  readonly #routingTold = new Set<() => void>();
  readonly #reportTold = new Set<() => void>();

  constructor(
    readonly world: World,
    faults: NetworkFaults,
    groups: readonly string[],
    sessionMs: number,
  ) {
    this.network = new Network(world, faults);
    for (const leg of ['kafka', 'owlmq'] as const) {
      for (const name of groups) this.groups[leg].set(name, new Group(world, leg, name, sessionMs));
    }
  }

  service(leg: Leg): Service {
    return leg === 'kafka' ? this.kafka : this.owlmq;
  }

  group(leg: Leg, name: string): Group {
    const group = this.groups[leg].get(name);
    if (group === undefined) throw new Error(`There is no group ${name}.`);
    return group;
  }

  appendRouting(state: RoutingState): void {
    const { migration } = state;
    const key = Buffer.from(migration);
    this.routing.push({ offset: this.routing.length, key, value: Buffer.from(JSON.stringify(state)), state });
    this.onWritten(state);
    this.world.say(() => `routing: epoch ${state.epoch}, ${state.reason}`);
    const told = [...this.#routingTold];
    this.#routingTold.clear();
    for (const wake of told) wake();
  }

  /** The same of a producer that may repeat itself. */
  appendRoutingOnce(batch: string, state: RoutingState): void {
    if (this.#batches.has(batch)) return;
    this.#batches.set(batch, []);
    this.appendRouting(state);
  }

  appendReport(report: MemberReport): void {
    this.members.push({ report });
    const told = [...this.#reportTold];
    this.#reportTold.clear();
    for (const wake of told) wake();
  }

  onReport(wake: () => void): () => void {
    this.#reportTold.add(wake);
    return () => this.#reportTold.delete(wake);
  }

  onRouting(wake: () => void): () => void {
    this.#routingTold.add(wake);
    return () => this.#routingTold.delete(wake);
  }

  /** Stores a batch once, whatever its producer repeats. @returns the offsets. */
  produce(batch: string, messages: readonly { partition: number; message: Stored }[]): number[] {
    const before = this.#batches.get(batch);
    if (before !== undefined) return before;
    const offsets = messages.map(({ partition, message }) => this.logs.kafka.append(partition, message));
    this.#batches.set(batch, offsets);
    this.logs.kafka.wake();
    return offsets;
  }

  /** Stores a message once by its id. */
  publish(partition: number, message: Stored): { partition: number; offset: number; duplicate: boolean } {
    const before = this.#places.get(message.id);
    if (before !== undefined) return { ...before, duplicate: true };
    const place = { partition, offset: this.logs.owlmq.append(partition, message) };
    this.#places.set(message.id, place);
    this.logs.owlmq.wake();
    return { ...place, duplicate: false };
  }

  lookup(id: string): { partition: number; offset: number } | undefined {
    return this.#places.get(id);
  }
}
