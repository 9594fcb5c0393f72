import { DualPublisher, type DualPublisherOptions, type PublishResult } from '../../src/index.js';
import type { RoutingState } from '../../src/routing/routing-state.js';
import { routingState } from '../publisher-fixture.js';
import { newKafka, type SimKafka, type Stored } from './kafka.js';
import { SimOwlmq } from './owlmq.js';
import type { World } from './world.js';

export const LEASE_MS = 2_000;
/** As the workflow has it: who has not reported for a lease and this is not waited for. */
const SILENCE_MARGIN_MS = 1_000;
const TOPIC = 'orders';
const MIGRATION = 'migration';

export const LIMITS = {
  deliveryTimeoutMs: 3_000,
  holdTimeoutMs: 3_000,
  bufferTimeoutMs: 2_000,
  mirrorTimeoutMs: 500,
  maxBufferedMessages: 12,
  maxBacklogMessages: 8,
} satisfies Partial<DualPublisherOptions>;

export const LINK_FAULTS = ['cut', 'muted', 'deaf'] as const;
type LinkFault = (typeof LINK_FAULTS)[number];

/** A `publish()` call and what came of it. */
interface Call {
  member: string;
  key: string;
  value: string;
  id: string;
  result?: PublishResult;
  error?: Error;
}

interface Member {
  name: string;
  publisher: DualPublisher;
  /** Epochs it said it obeys, in that order. */
  epochs: number[];
}

/** Publishers in one world, the one who commands them, and all that is checked of both. */
export class SimFleet {
  readonly kafka: SimKafka;
  readonly owlmq = new SimOwlmq();
  readonly calls: Call[] = [];
  readonly members: (Member | undefined)[] = [];
  #state: RoutingState | undefined;
  /** Since when all have acknowledged the standing fence. */
  #fencedSince: number | undefined;
  /** Times in which every member had acknowledged a fence. */
  readonly #fenced: { from: number; to: number; epoch: number }[] = [];
  #started = 0;
  #published = 0;

  constructor(
    readonly world: World,
    private readonly options: Partial<DualPublisherOptions> = {},
  ) {
    this.kafka = newKafka();
  }

  get violations(): string[] {
    return this.kafka.violations;
  }

  start(slot: number): void {
    if (this.members[slot] !== undefined) return;
    const name = `member-${++this.#started}`;
    const member: Member = { name, epochs: [], publisher: this.world.as(name, () => this.#open(name)) };
    this.members[slot] = member;
    this.#connect(member);
  }

  /** SIGKILL; another one takes its place later. */
  crash(slot: number): void {
    const member = this.members[slot];
    if (member === undefined) return;
    this.world.kill(member.name);
    this.members[slot] = undefined;
  }

  freeze(slot: number): void {
    const name = this.members[slot]?.name;
    if (name !== undefined) this.world.freeze(name);
  }

  thaw(slot: number): void {
    const name = this.members[slot]?.name;
    if (name !== undefined) this.world.thaw(name);
  }

  /** A member's link to Kafka is broken, or its reports get lost, or it hears nothing of the routing; or no longer. */
  link(slot: number, fault: LinkFault, broken: boolean): void {
    const name = this.members[slot]?.name;
    if (name === undefined) return;
    if (broken) this.kafka[fault].add(name);
    else this.kafka[fault].delete(name);
  }

  publish(slot: number, count: number): void {
    const member = this.members[slot];
    if (member === undefined || this.world.isFrozen(member.name)) return;
    for (let n = 0; n < count; n++) {
      const value = String(this.#published++);
      const call: Call = { member: member.name, key: `k${this.world.between(0, 3)}`, value, id: `id-${value}` };
      this.calls.push(call);
      this.world.as(member.name, () => {
        member.publisher.publish(TOPIC, value, { key: call.key, id: call.id }).then(
          (result) => (call.result = result),
          (error: unknown) => (call.error = error as Error),
        );
      });
    }
  }

  /** The next state: a fence, or what comes after one; the primary changes only under a fence that all obey. */
  route(change: { ratio?: number; fence?: boolean; flip?: boolean }): void {
    const before = this.#state ?? routingState({ migration: MIGRATION, epoch: 0, topics: [TOPIC], leaseMs: LEASE_MS });
    const { fence: _, ...rest } = before;
    const flip = change.flip === true && change.fence !== true && this.#fencedSince !== undefined;
    const primary = flip === (before.primary === 'kafka') ? 'owlmq' : 'kafka';
    this.#write({
      ...rest,
      ...{ epoch: before.epoch + 1, ratio: change.ratio ?? before.ratio, primary, live: primary },
      ...(change.fence === true ? { fence: { reason: 'simulated' } } : {}),
    });
  }

  /** A record of a lost writer, lower than the standing state. */
  stray(): void {
    const state = this.#state;
    if (state === undefined) return;
    this.kafka.appendRouting({ ...state, epoch: Math.max(1, state.epoch - 1), ratio: 0.123 });
    // The writer puts the standing state behind it.
    this.kafka.appendRouting(state);
  }

  /**
   * The routing topic is deleted and made anew, empty or with the standing state. Empty only when some member has
   * reported an epoch: else nothing is left that tells of the migration.
   */
  remake(empty: boolean): void {
    this.kafka.remakeRouting();
    const known = [...this.kafka.reports.values()].some(({ report }) => report.epoch > 0);
    if (!(empty && known) && this.#state !== undefined) this.kafka.appendRouting(this.#state);
  }

  /** Looks whether everybody obeys the fence, as the workflow does; call it after each event. */
  look(): void {
    const state = this.#state;
    if (state?.fence === undefined || this.#fencedSince !== undefined) return;
    const { now } = this.world;
    for (const { report, at } of this.kafka.reports.values()) {
      if (report.role !== 'publisher' || report.state === 'left') continue;
      if (now - at > report.leaseMs + SILENCE_MARGIN_MS) continue;
      const follows = report.epoch >= state.epoch && report.state === 'fenced';
      if (!follows || report.inFlight > 0) return;
    }
    this.#fencedSince = now;
  }

  async advance(ms: number): Promise<void> {
    await this.world.advance(ms, () => {
      this.look();
    });
  }

  /** Ends all faults, and waits until everything is settled and all members follow. */
  async heal(): Promise<void> {
    this.owlmq.down = false;
    this.owlmq.refusals = 0;
    for (const slot of this.members.keys()) {
      this.thaw(slot);
      for (const fault of LINK_FAULTS) this.link(slot, fault, false);
    }
    if (this.#state !== undefined) this.route({});
    const alive = this.members.flatMap((member) => (member === undefined ? [] : [member]));
    for (let waited = 0; waited < 30_000; waited += 500) {
      for (const member of alive) this.#connect(member);
      await this.advance(500);
      // Mirror writes that no call waits for any more count as in flight.
      const quiet = ({ publisher }: Member): boolean => publisher.status().inFlight === 0;
      if (this.#unsettled().length === 0 && alive.every((member) => this.#follows(member) && quiet(member))) break;
    }
    this.#endFence();
    for (const { key, value, member } of this.#unsettled()) {
      this.violations.push(`${value} of ${key} from ${member} was never settled`);
    }
    for (const member of alive) {
      if (!this.#follows(member)) {
        const { epoch, state } = member.publisher.status();
        this.violations.push(`${member.name} stays at epoch ${epoch} (${state}), ${this.#state?.epoch ?? 0} stands`);
      }
      const { unsettled, inFlight } = member.publisher.status();
      if (unsettled !== 0 || inFlight !== 0) {
        this.violations.push(`${member.name} counts ${unsettled} unsettled, ${inFlight} in flight; there are none`);
      }
    }
  }

  async close(): Promise<void> {
    const closing = this.members.flatMap((member) => {
      if (member === undefined) return [];
      const closed = this.world.as(member.name, () => member.publisher.close({ timeoutMs: 2_000 }));
      const seen = { name: member.name, done: false };
      closed.then(
        () => (seen.done = true),
        () => (seen.done = true),
      );
      return [seen];
    });
    await this.advance(20_000);
    for (const { name, done } of closing) {
      if (!done) this.violations.push(`${name} did not close`);
      else if (![...this.kafka.reports.values()].some(({ report }) => report.state === 'left')) {
        this.violations.push(`${name} did not say that it left`);
      }
    }
  }

  /** What holds whatever happened. */
  judge(): string[] {
    const { violations } = this;
    for (const { name, epochs } of this.members.flatMap((member) => (member === undefined ? [] : [member]))) {
      if (epochs.some((epoch, n) => n > 0 && epoch <= (epochs[n - 1] ?? 0))) {
        violations.push(`${name} obeyed epochs ${epochs.join(', ')}`);
      }
    }
    for (const [leg, partitions] of this.#legs()) {
      for (const { value, member, leftAt } of partitions.flat()) {
        for (const { from, to, epoch } of this.#fenced) {
          if (leftAt > from && leftAt < to) {
            violations.push(`${member} wrote ${value} to ${leg} while all obeyed the fence of epoch ${epoch}`);
          }
        }
      }
      this.#judgeOrder(leg, partitions);
    }
    for (const call of this.calls) this.#judgeCall(call);
    return violations;
  }

  #open(name: string): DualPublisher {
    const member = (): Member | undefined => this.members.find((candidate) => candidate?.name === name);
    return new DualPublisher({
      ...{ kafka: { brokers: ['simulated:1'], clientId: name }, owlmq: { client: this.owlmq.of(name) } },
      ...{ migration: MIGRATION, ...LIMITS, ...this.options },
      onEvent: (event) => {
        if (event.type === 'routing') member()?.epochs.push(event.state.epoch);
        const { backlog, inFlight } = member()?.publisher.status() ?? { backlog: 0, inFlight: 0 };
        if (backlog > LIMITS.maxBacklogMessages) this.violations.push(`${name} keeps ${backlog} copies`);
        if (inFlight > 2 * LIMITS.maxBufferedMessages) this.violations.push(`${name} has ${inFlight} in flight`);
      },
    });
  }

  /** Does nothing when it is connected; after a failure it may be tried again. */
  #connect({ name, publisher }: Member): void {
    this.world.as(name, () => {
      publisher.connect().catch(() => undefined);
    });
  }

  #write(state: RoutingState): void {
    this.#endFence();
    this.#state = state;
    this.kafka.appendRouting(state);
  }

  #endFence(): void {
    if (this.#fencedSince !== undefined) {
      this.#fenced.push({ from: this.#fencedSince, to: this.world.now, epoch: this.#state?.epoch ?? 0 });
    }
    this.#fencedSince = undefined;
  }

  #follows({ publisher }: Member): boolean {
    const { epoch, state } = publisher.status();
    return state === 'publishing' && epoch === (this.#state?.epoch ?? 0);
  }

  #unsettled(): Call[] {
    return this.calls.filter(
      ({ member, result, error }) => result === undefined && error === undefined && !this.world.isDead(member),
    );
  }

  #legs(): [string, Stored[][]][] {
    return [
      ['Kafka', this.kafka.partitions],
      ['OwlMQ', this.owlmq.partitions],
    ];
  }

  #judgeOrder(leg: string, partitions: readonly Stored[][]): void {
    const last = new Map<string, number>();
    const ids = new Set<string>();
    for (const { id, key, value, member } of partitions.flat()) {
      const of = `${member}/${key}`;
      const before = last.get(of) ?? -1;
      if (Number(value) <= before) this.violations.push(`${leg} has ${value} of ${of} behind ${before}`);
      last.set(of, Number(value));
      if (ids.has(id)) this.violations.push(`${leg} has ${id} twice`);
      ids.add(id);
    }
  }

  #judgeCall({ id, result, error, value }: Call): void {
    const on = this.#legs().map(([, partitions]) => partitions.flat().some((stored) => stored.id === id));
    if (result !== undefined) {
      if (result.kafka === undefined && result.owlmq === undefined) this.violations.push(`${value} is on no leg`);
      for (const [place, log] of [
        [result.kafka, this.kafka.partitions],
        [result.owlmq, this.owlmq.partitions],
      ] as const) {
        if (place !== undefined && log[place.partition]?.[place.offset]?.id !== id) {
          this.violations.push(`${value} was acknowledged at ${place.partition}/${place.offset} and is not there`);
        }
      }
    }
    const saysNotSent = error !== undefined && error.name !== 'PublishOutcomeUnknownError';
    if (saysNotSent && on.includes(true)) this.violations.push(`${value} failed with ${error.name} and is on a leg`);
  }
}
