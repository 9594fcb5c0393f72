import {
  allDrained,
  PartitionProgress,
  type ApplyGate,
  type ConsumingSide,
  type Standing,
} from '@owlmq/kafka-bridge/protocol';
import type { Process, World } from '../clock/world.js';
import type { Effect, Ledger } from '../ledger.js';
import { StaleMemberError, type Group, type Leg, type Membership } from '../systems/group.js';
import { TOPIC, type Stored } from '../systems/message.js';
import type { Systems } from '../systems/systems.js';

const FETCH_WAIT_MS = 500;
const FETCH_RECORDS = 10;

export interface SideOptions {
  systems: Systems;
  ledger: Ledger;
  process: Process;
  gate: ApplyGate;
  leg: Leg;
  group: string;
  /** Ids that this instance has applied: what is delivered again soon after is dropped. */
  recent: Set<string>;
  /** Most time that `apply` takes now, ms. */
  applyMs: () => number;
  stopping: () => boolean;
  epoch: () => number;
  /** An `apply` begins. */
  applies: (effect: Effect) => void;
  applied: () => void;
  changed: () => void;
}

interface Fetched {
  membership: Membership;
  partitions: { partition: number; from: number; records: Stored[] }[];
}

/**
 * A live side of a consumer: a member of its group on one leg, as `KafkaSide` and `OwlmqSide` are, around the
 * production `ApplyGate`, which decides before every `apply`, and the production rule of what counts as drained.
 */
export class Side implements ConsumingSide {
  readonly lastError = undefined;
  readonly #options: SideOptions;
  readonly #world: World;
  readonly #group: Group;
  #membership: Membership | undefined;
  #partitions: PartitionProgress[] = [];
  #joined = false;
  #stopped = false;
  #renewedAt = 0;
  #finished: Promise<void> = Promise.resolve();
  readonly #stop = new AbortController();
  #woken: (() => void) | undefined;

  constructor(options: SideOptions) {
    this.#options = options;
    this.#world = options.systems.world;
    this.#group = options.systems.group(options.leg, options.group);
  }

  get joined(): boolean {
    return this.#joined;
  }

  get memberId(): string | undefined {
    return this.#membership?.memberId;
  }

  get partitions(): readonly PartitionProgress[] {
    return this.#joined ? this.#partitions : [];
  }

  get drained(): boolean {
    const { leg, gate, stopping } = this.#options;
    const busy = (): boolean => gate.busy(leg);
    if (!this.#joined) return stopping() && !busy();
    return allDrained(this.#partitions, { limit: (topic, partition) => gate.limit(leg, topic, partition), busy });
  }

  get #name(): string {
    return this.#options.process.name;
  }

  start(): void {
    this.#finished = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stop.abort();
    this.#woken?.();
    await this.#finished;
  }

  routingChanged(): void {
    this.#woken?.();
  }

  async #run(): Promise<void> {
    const { process } = this.#options;
    let failures = 0;
    while (!this.#stopped) {
      try {
        await this.#join();
        await this.#consume();
        failures = 0;
      } catch (error) {
        this.#drop();
        if (error instanceof StaleMemberError) this.#membership = undefined;
        failures++;
        await this.#wait(Math.min(1_000, 50 * 2 ** failures));
      }
    }
    this.#drop();
    const memberId = this.#membership?.memberId;
    if (memberId === undefined || process.state === 'dead') return;
    await this.#ask(() => {
      this.#group.leave(memberId);
    }).catch(() => undefined);
  }

  async #join(): Promise<void> {
    while (!this.#stopped) {
      const sentAt = this.#world.now;
      this.#membership = await this.#ask(() => this.#group.join(this.#name, this.#membership?.memberId));
      this.#renewedAt = sentAt;
      if (this.#membership.state === 'stable') {
        this.#partitions = this.#membership.assignment.map(({ partition, offset = 0 }) => {
          return new PartitionProgress(TOPIC, partition, { next: offset, committed: offset });
        });
        this.#joined = true;
        this.#world.say(() => `${this.#name} has joined ${this.#options.leg}`);
        this.#options.changed();
        return;
      }
      await this.#wait(60);
    }
  }

  async #consume(): Promise<void> {
    const { gate, leg } = this.#options;
    while (!this.#stopped) {
      const membership = this.#membership;
      if (membership === undefined) return;
      if (membership.state === 'rebalancing') {
        await this.#commit();
        this.#drop();
        return;
      }
      const open = this.#partitions.filter(({ next, partition }) => next < gate.limit(leg, TOPIC, partition));
      const sentAt = this.#world.now;
      if (open.length === 0) {
        await this.#wait(FETCH_WAIT_MS);
        const { memberId, generation } = membership;
        this.#membership = await this.#ask(() => this.#group.heartbeat(memberId, generation));
        this.#renewedAt = sentAt;
        continue;
      }
      const fetched = await this.#fetch(membership, open);
      this.#membership = fetched.membership;
      this.#renewedAt = sentAt;
      try {
        for (const slice of fetched.partitions) await this.#handle(slice);
      } finally {
        await this.#commit();
        this.#options.changed();
      }
    }
  }

  async #fetch({ memberId, generation }: Membership, open: readonly PartitionProgress[]): Promise<Fetched> {
    const { systems, process, leg } = this.#options;
    const log = systems.logs[leg];
    const wanted = open.map(({ partition, next }) => ({ partition, next }));
    return await systems.network.poll<Fetched>(
      process,
      systems.service(leg),
      (reply) => {
        // A member that is not in its group hears of it at once.
        this.#group.heartbeat(memberId, generation);
        const answer = (): void => {
          forget();
          forgetToo();
          timer.cancelled = true;
          try {
            reply({
              membership: this.#group.heartbeat(memberId, generation),
              partitions: wanted.map(({ partition, next }) => ({
                partition,
                from: next,
                records: (log.partitions[partition] ?? []).slice(next, next + FETCH_RECORDS),
              })),
            });
          } catch {
            // Its next request says so.
          }
        };
        const forget = log.onAppend(answer);
        const forgetToo = this.#group.onRebalance(answer);
        const timer = this.#world.timer(undefined, FETCH_WAIT_MS, answer);
        if (wanted.some(({ partition, next }) => (log.partitions[partition]?.length ?? 0) > next)) answer();
      },
      { timeoutMs: FETCH_WAIT_MS + 1_000, signal: this.#stop.signal, ordered: true },
    );
  }

  async #handle({ partition, from, records }: Fetched['partitions'][number]): Promise<void> {
    const { gate, leg, process, recent, applyMs, applied, changed } = this.#options;
    const progress = this.#partitions.find((one) => one.partition === partition);
    if (progress === undefined) return;
    const standing: Standing = {
      signal: this.#stop.signal,
      interrupt: this.#stop.signal,
      owned: () => this.#world.now < this.#renewedAt + this.#group.sessionMs,
    };
    for (const [index, record] of records.entries()) {
      const offset = from + index;
      if (offset < progress.next) continue;
      if (this.#stopped || offset >= gate.limit(leg, TOPIC, partition)) return;
      if (!recent.has(record.id)) {
        if (!(await gate.enter(leg, TOPIC, partition, offset, standing))) return;
        const effect = this.#apply(record, partition, offset);
        const mostMs = applyMs();
        if (mostMs > 0) await this.#world.sleep(process, this.#world.random.between(1, mostMs));
        effect.endedAt = this.#world.now;
        recent.add(record.id);
        gate.leave(leg);
        applied();
      }
      progress.next = offset + 1;
      changed();
    }
  }

  #apply(record: Stored, partition: number, offset: number): Effect {
    const { ledger, group, leg, process, epoch, applies } = this.#options;
    const effect: Effect = {
      ...{ group, id: record.id, side: leg, partition, offset },
      ...{ consumer: process.name, epoch: epoch(), startedAt: this.#world.now },
    };
    ledger.effects.push(effect);
    applies(effect);
    this.#world.say(() => `${process.name}: ${group} applies ${record.id} from ${leg} ${partition}/${offset}`);
    return effect;
  }

  async #commit(): Promise<void> {
    const moved = this.#partitions.filter(({ next, committed }) => next !== committed);
    const membership = this.#membership;
    if (moved.length === 0 || membership === undefined) return;
    const offsets = moved.map(({ partition, next }) => ({ partition, offset: next }));
    const { memberId, generation } = membership;
    await this.#ask(() => {
      this.#group.commit(memberId, generation, offsets);
    });
    for (const [index, progress] of moved.entries()) progress.committed = offsets[index]?.offset ?? progress.committed;
    this.#options.changed();
  }

  #drop(): void {
    if (!this.#joined) return;
    this.#joined = false;
    this.#partitions = [];
    this.#world.say(() => `${this.#name} is out of ${this.#options.leg}`);
    this.#options.changed();
  }

  async #ask<T>(serve: () => T): Promise<T> {
    const { systems, process, leg } = this.#options;
    return await systems.network.ask(process, systems.service(leg), serve, { ordered: true });
  }

  /** Waits, but no longer than until something has changed. */
  async #wait(ms: number): Promise<void> {
    if (this.#stopped) return;
    await new Promise<void>((resolve) => {
      const timer = this.#world.timer(this.#options.process, ms, resolve);
      this.#woken = () => {
        timer.cancelled = true;
        resolve();
      };
    });
    this.#woken = undefined;
  }
}
