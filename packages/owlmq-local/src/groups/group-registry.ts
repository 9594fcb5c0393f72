import type { Contract } from '@owlmq/kafka-bridge/contract';
import type { Notifier } from '../notifier.js';
import type { Store } from '../store/store.js';
import { Group, type GroupSnapshot, type GroupTopics } from './group.js';

type GroupOffset = Contract['GroupOffset'];

/** How often leases are looked at, ms. They are looked at before every request to their group as well. */
const EXPIRY_INTERVAL_MS = 50;

/** Event that a long poll on a group's membership waits for. */
export function groupEvent(group: string): string {
  return `group ${group}`;
}

/** All groups, kept on disk. */
export class GroupRegistry {
  readonly #groups = new Map<string, Group>();
  /** Last queued write of each group; the queue keeps its order, so it stands for all before it. */
  readonly #written = new Map<string, Promise<void>>();
  readonly #timer: NodeJS.Timeout;

  constructor(
    private readonly store: Store,
    private readonly notifier: Notifier,
    private readonly topics: GroupTopics,
  ) {
    const now = performance.now();
    for (const { key, value } of store.groups.getRange({})) {
      this.#of(key.toString()).restore(JSON.parse(value.toString()) as GroupSnapshot, now);
    }
    for (const { key, value } of store.offsets.getRange({})) {
      const [group, topic, partition] = JSON.parse(key.toString()) as [string, string, number];
      this.#of(group).restoreOffset({ topic, partition, offset: Number(value.toString()) });
    }
    this.#timer = setInterval(() => {
      for (const group of this.#groups.values()) group.expire(performance.now());
    }, EXPIRY_INTERVAL_MS);
  }

  names(): string[] {
    return [...this.#groups.values()]
      .filter(({ exists }) => exists)
      .map(({ name }) => name)
      .sort();
  }

  countByState(): Record<Contract['GroupState'], number> {
    const counts = { empty: 0, rebalancing: 0, stable: 0 };
    for (const group of this.#groups.values()) if (group.exists) counts[group.state]++;
    return counts;
  }

  /** A group as it is now; undefined when it is unknown. */
  find(name: string): Group | undefined {
    const group = this.#groups.get(name);
    group?.expire(performance.now());
    return group;
  }

  /** A group as it is now; a new one comes to be with its first change. */
  get(name: string): Group {
    return this.find(name) ?? this.#create(name);
  }

  /**
   * Resolves when all changes of the group so far are on disk. Nobody may be told of a change before.
   *
   * @throws {ProblemError} `unavailable` when the store has failed.
   */
  async durable(name: string): Promise<void> {
    await this.#written.get(name);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #of(name: string): Group {
    const group = this.#groups.get(name) ?? this.#create(name);
    this.#groups.set(name, group);
    return group;
  }

  #create(name: string): Group {
    const group: Group = new Group(name, this.topics, {
      changed: () => {
        this.#groups.set(name, group);
        const snapshot = Buffer.from(JSON.stringify(group.snapshot()));
        this.#write(name, [[Buffer.from(name), snapshot]], this.store.groups);
        this.notifier.notify(groupEvent(name));
      },
      committed: (offsets: GroupOffset[]) => {
        this.#groups.set(name, group);
        const entries = offsets.map(({ topic, partition, offset }): [Buffer, Buffer] => [
          Buffer.from(JSON.stringify([name, topic, partition])),
          Buffer.from(String(offset)),
        ]);
        this.#write(name, entries, this.store.offsets);
      },
    });
    return group;
  }

  #write(name: string, entries: [Buffer, Buffer][], table: Store['groups']): void {
    const written = this.store.write(0, (turn) => {
      for (const [key, value] of entries) turn.put(table, key, value);
    });
    // A failure is told to whoever awaits `durable`; with nobody waiting the store reports it itself.
    written.catch(() => undefined);
    this.#written.set(name, written);
  }
}
