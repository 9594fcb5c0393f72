import type { RosterEntry } from '@owlmq/kafka-bridge/operations';
import { isLiving, type MemberReport } from '@owlmq/kafka-bridge/protocol';
import type { Process, World } from '../clock/world.js';
import type { Systems } from '../systems/systems.js';

interface Entry {
  report: MemberReport;
  seenAt: number;
}

/**
 * What `MemberRoster` knows: the last report of each member and when this worker read it. Follows the members topic as
 * long as the worker lives. Who counts as silent is the production rule.
 */
export class Roster {
  readonly #systems: Systems;
  readonly #process: Process;
  readonly #world: World;
  readonly #entries = new Map<string, Entry>();
  #position = 0;

  constructor(systems: Systems, process: Process) {
    this.#systems = systems;
    this.#process = process;
    this.#world = systems.world;
    this.#follow();
  }

  /** The members with all that was in the topic when this was called, and silent as of then. */
  async readMembers(): Promise<RosterEntry[]> {
    const asked = this.#world.now;
    await this.readToEnd();
    return this.#at(asked);
  }

  /** As far as they were read. */
  members(): RosterEntry[] {
    return this.#at(this.#world.now);
  }

  living(): MemberReport[] {
    return this.#at(this.#world.now)
      .filter(isLiving)
      .map(({ report }) => report);
  }

  async readToEnd(): Promise<void> {
    const { members, kafka, network } = this.#systems;
    const from = this.#position;
    this.#take(from, await network.ask(this.#process, kafka, () => members.slice(from)));
  }

  #at(now: number): RosterEntry[] {
    return [...this.#entries.values()].map(({ report, seenAt }) => ({ report, silentMs: now - seenAt }));
  }

  #follow(): void {
    const { members, kafka, network } = this.#systems;
    const from = this.#position;
    network.send<typeof members>(
      this.#process,
      kafka,
      (reply) => {
        const answer = (): void => {
          forget();
          timer.cancelled = true;
          reply(members.slice(from));
        };
        const forget = this.#systems.onReport(answer);
        const timer = this.#world.timer(undefined, 1_000, answer);
        if (members.length > from) answer();
      },
      { timeoutMs: 1_600 },
      (_, entries) => {
        if (entries !== undefined) this.#take(from, entries);
        this.#world.timer(this.#process, entries === undefined ? 50 : 1, () => {
          this.#follow();
        });
      },
    );
  }

  #take(from: number, entries: readonly { report: MemberReport }[]): void {
    for (const [index, { report }] of entries.entries()) {
      if (from + index < this.#position) continue;
      this.#entries.set(report.instance, { report, seenAt: this.#world.now });
    }
    this.#position = Math.max(this.#position, from + entries.length);
  }
}
