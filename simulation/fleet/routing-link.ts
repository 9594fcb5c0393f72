import { RoutingView, type MemberReport, type RoutingNews, type RoutingState } from '@owlmq/kafka-bridge/protocol';
import type { Event, Process, World } from '../clock/world.js';
import type { RoutingEntry, Systems } from '../systems/systems.js';

const REPORT_EVERY_MS = 1_000;
const FIRST_REPORT_TIMEOUT_MS = 15_000;
const MAX_WAIT_MS = 1_000;

export interface RoutingLinkOptions {
  systems: Systems;
  process: Process;
  migration: string;
  report: () => MemberReport;
  onChange: (state: RoutingState) => void;
  onLease: (valid: boolean) => void;
  /** Registered, read to the end, and with a lease: the member may begin. */
  onReady: () => void;
}

/** What gets lost of a member's connection to the bridge's topics, while all else passes. */
export interface LinkFaults {
  muted: boolean;
  deaf: boolean;
}

interface Answer {
  records: RoutingEntry[];
  end: number;
}

/**
 * A member's connection to the routing and the members topic: what `RoutingFollower` and `MemberReporter` do, around
 * the production `RoutingView`, which makes every decision on epochs and leases.
 */
export class RoutingLink {
  readonly view: RoutingView;
  readonly faults: LinkFaults = { muted: false, deaf: false };
  readonly #options: RoutingLinkOptions;
  readonly #world: World;
  #offset = 0;
  #leaseTold = false;
  #leaseTimer: Event | undefined;
  #asking = false;
  #ready = false;
  #sending = false;
  #again = false;
  #last: { text: string; at: number } | undefined;
  #stopped = false;

  constructor(options: RoutingLinkOptions) {
    this.#options = options;
    this.#world = options.systems.world;
    this.view = new RoutingView(options.migration);
  }

  /** Registers, and follows the routing from then on. */
  start(): void {
    this.#send(() => {
      this.#fetch();
      this.#schedule();
    });
  }

  get leaseValid(): boolean {
    return this.view.leaseValid(this.#world.now);
  }

  /** Reports at once; what is asked for while a report is under way goes with the next. */
  reportNow(): void {
    if (this.#stopped || this.#last === undefined) return;
    if (this.#sending) this.#again = true;
    else this.#send();
  }

  /** The last report; nothing is trusted after it. */
  stop(last: MemberReport): void {
    this.#stopped = true;
    this.#write(last, 3_000, () => undefined);
    this.view.end();
  }

  #fetch(): void {
    if (this.#stopped) return;
    const { systems, process } = this.#options;
    const fetchStartedAt = this.#world.now;
    const from = this.#offset;
    const waitMs = Math.floor(Math.min(MAX_WAIT_MS, this.view.leaseMs / 5));
    systems.network.send<Answer>(
      process,
      systems.kafka,
      (reply) => {
        if (this.faults.deaf) return;
        const answer = (): void => {
          forget();
          timer.cancelled = true;
          // What was fetched may end before the end that is there.
          const all = systems.routing.slice(from);
          const cut = all.length > 1 && this.#world.random.chance(0.1);
          reply({ records: cut ? all.slice(0, 1) : all, end: systems.routing.length });
        };
        const forget = systems.onRouting(answer);
        const timer = this.#world.timer(undefined, waitMs, answer);
        if (systems.routing.length > from) answer();
      },
      { timeoutMs: waitMs + 600 },
      (error, answer) => {
        if (this.#stopped) return;
        if (answer === undefined || error !== undefined || this.faults.deaf) {
          this.#world.timer(process, this.#world.random.between(10, 100), () => {
            this.#fetch();
          });
          return;
        }
        this.#offset = from + answer.records.length;
        const atEnd = this.#offset >= answer.end;
        // A lease that ran out unnoticed is told as lost before it is told as regained.
        this.#watchLease();
        this.#learn(this.view.take({ records: answer.records, atEnd, fetchStartedAt, fromBegin: from === 0 }));
        if (this.view.seemsUnbegun) this.#askMembers();
        this.#fetch();
      },
    );
  }

  #askMembers(): void {
    if (this.#asking) return;
    this.#asking = true;
    const { systems, process, migration } = this.#options;
    const highest = (): number =>
      systems.members.reduce(
        (high, { report }) => (report.migration === migration ? Math.max(high, report.epoch) : high),
        0,
      );
    systems.network.send<number>(
      process,
      systems.kafka,
      (reply) => {
        reply(highest());
      },
      {},
      (_, epoch) => {
        this.#asking = false;
        if (epoch !== undefined && !this.#stopped) this.#learn(this.view.membersReported(epoch));
      },
    );
  }

  #learn({ state }: RoutingNews): void {
    if (state !== undefined) this.#options.onChange(state);
    this.#watchLease();
    if (this.#ready || this.view.leaseEnd === undefined) return;
    this.#ready = true;
    this.#options.onReady();
  }

  #watchLease(): void {
    if (this.#leaseTimer !== undefined) this.#leaseTimer.cancelled = true;
    const valid = this.leaseValid;
    const end = this.view.leaseEnd ?? 0;
    if (valid && Number.isFinite(end)) {
      this.#leaseTimer = this.#world.timer(this.#options.process, end - this.#world.now + 1, () => {
        this.#watchLease();
      });
    }
    if (valid === this.#leaseTold) return;
    this.#leaseTold = valid;
    this.#options.onLease(valid);
  }

  #schedule(): void {
    if (this.#stopped) return;
    const { process, report } = this.#options;
    const everyMs = Math.min(REPORT_EVERY_MS, this.view.leaseMs / 4);
    this.#world.timer(process, everyMs, () => {
      if (this.#stopped) return;
      if (!this.#sending && this.#isDue(report)) this.#send();
      this.#schedule();
    });
  }

  #isDue(report: () => MemberReport): boolean {
    if (this.#last === undefined) return true;
    if (this.#world.now + REPORT_EVERY_MS > this.#last.at + this.view.leaseMs / 4) return true;
    return JSON.stringify(report()) !== this.#last.text;
  }

  #send(first?: () => void): void {
    const report = this.#options.report();
    const timeoutMs = this.#last === undefined ? FIRST_REPORT_TIMEOUT_MS : report.leaseMs / 2;
    this.#sending = true;
    const sentAt = this.#world.now;
    this.#write(report, timeoutMs, (error) => {
      this.#sending = false;
      if (this.#stopped) return;
      if (error === undefined) {
        const acknowledgedAt = this.#world.now;
        this.#last = { text: JSON.stringify(report), at: acknowledgedAt };
        this.#watchLease();
        this.view.reported({ sentAt, acknowledgedAt, leaseMs: report.leaseMs });
        this.#watchLease();
        first?.();
      } else if (first !== undefined) {
        this.#send(first);
        return;
      }
      if (!this.#again) return;
      this.#again = false;
      this.#send();
    });
  }

  #write(report: MemberReport, timeoutMs: number, done: (error: Error | undefined) => void): void {
    const { systems, process } = this.#options;
    systems.network.send<true>(
      process,
      systems.kafka,
      (reply) => {
        if (this.faults.muted) return;
        systems.appendReport(report);
        reply(true);
      },
      { timeoutMs },
      done,
    );
  }
}
