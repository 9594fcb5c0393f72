import type { RoutingState, TopicOffsets } from '@owlmq/kafka-bridge/operations';
import { Random } from '../../chaos/random.js';
import { Consumer, Publisher, type Member } from './members.js';
import { Applied, LEGS, Partition, type Leg } from './partition.js';

/** What the fleet and its traffic are made of. */
export interface SystemsOptions {
  topics: readonly string[];
  partitionsEach: number;
  groups: readonly string[];
  publishers: number;
  consumersEach: number;
  /** Time between two messages of a topic, ms: before the cutover, and after it. */
  intervalMs: { before: number; after: number };
  /** Topics to which a producer without the library writes too, until so long after the cutover, ms. */
  foreign: { topics: readonly string[]; untilMs: number };
  /** One in so many copies is given up by its publisher, and left to the audit. */
  droppedEvery: number;
  seed: number;
}

/** Members apply a state, and publishers have nothing in flight any more, in such a time after it was written, ms. */
const FOLLOW_MS = [20, 180] as const;
/** From the append of a record to the commit behind it, ms. */
const PROCESS_MS = 50;
/** One in so many messages to a topic with foreign producers is theirs. */
const FOREIGN_EVERY = 10;
const SHARES = 10_000;

type Positions = Record<Leg, Map<Partition, number>>;

/**
 * Both systems and the fleet as a state that moves on with time: publishers write each message where the routing state
 * that they have applied says, consumers apply what is on their live leg. Nothing here knows of the playbook.
 */
export class ModelSystems {
  readonly partitions: readonly Partition[];
  readonly publishers: readonly Publisher[];
  readonly consumers: readonly Consumer[];
  readonly members: readonly Member[];
  /** What must never be, and was: empty at the end of a run that kept its promises. */
  readonly violations = new Set<string>();
  owlmqAlive = true;
  /** Unix ms up to which the state is. */
  now = 0;
  readonly #random: Random;
  readonly #positions = new Map<string, Positions>();
  readonly #applied = new Map<string, Map<Partition, Applied>>();
  readonly #byName = new Map<string, Partition>();
  readonly #traffic: { topic: string; count: number; nextAt: number }[];
  /** Ends of the legs some time ago: records behind them are not processed yet. */
  #seen: { at: number; ends: Map<Partition, Record<Leg, number>> }[] = [];
  #lastEpoch = 0;
  #primarySince: number | undefined;
  #copies = 0;
  #quiet = false;

  constructor(readonly options: SystemsOptions) {
    const { topics, partitionsEach, groups, publishers, consumersEach, seed } = options;
    this.#random = new Random(seed, 'systems');
    this.partitions = topics.flatMap((topic) => count(partitionsEach, (index) => new Partition(topic, index)));
    for (const partition of this.partitions) this.#byName.set(nameOf(partition.topic, partition.index), partition);
    this.publishers = count(publishers, (index) => new Publisher(`publisher-${index + 1}`));
    this.consumers = groups.flatMap((group) =>
      count(consumersEach, (index) => new Consumer(`${group}-${index + 1}`, group)),
    );
    this.members = [...this.publishers, ...this.consumers];
    for (const group of groups) {
      this.#positions.set(group, { kafka: new Map(this.partitions.map((one) => [one, 0])), owlmq: new Map() });
      this.#applied.set(group, new Map(this.partitions.map((one) => [one, new Applied()])));
    }
    this.#traffic = topics.map((topic) => ({ topic, count: 0, nextAt: 0 }));
  }

  partition(topic: string, index: number): Partition {
    const found = this.#byName.get(nameOf(topic, index));
    if (found === undefined) throw new RangeError(`the model has no partition ${nameOf(topic, index)}`);
    return found;
  }

  // -- time ---------------------------------------------------------------------------------------------------------

  /** Lets everything happen up to a time (Unix ms). */
  advance(to: number): void {
    if (this.now === 0) this.#begin(to);
    for (;;) {
      const until = Math.max(this.now, Math.min(to, ...this.members.map(({ nextAt }) => nextAt)));
      const seenUntil = until - PROCESS_MS;
      if (seenUntil > this.now) {
        this.#publishUntil(seenUntil);
        this.#look(seenUntil);
      }
      this.#publishUntil(until);
      this.now = until;
      this.#look(until);
      this.#consume();
      for (const member of this.members) {
        while (member.nextAt <= this.now) this.#apply(member);
      }
      this.#check();
      if (until >= to) return;
    }
  }

  /** When something changes next that a step may wait for, at most a moment from now. Unix ms. */
  get nextChangeAt(): number {
    const leaseMs = this.members.map(({ routing }) => routing?.leaseMs ?? 0).reduce((a, b) => Math.max(a, b), 0);
    const times = [
      ...this.members.flatMap((member) => [member.nextAt, member.countedOutAt(leaseMs)]),
      ...this.consumers.map(({ stuckUntil }) => stuckUntil),
    ].filter((at) => at > this.now);
    const stuck = this.consumers.some(({ stuckUntil }) => stuckUntil > this.now);
    const waits = stuck || this.publishers.some(({ diedAt }) => diedAt !== undefined);
    const next = Math.min(...times);
    return waits && Number.isFinite(next) ? next : Math.min(next, this.now + PROCESS_MS + 1);
  }

  /** Traffic ends, and consumers get to the end of their legs. A skipped clock has run on to the end of time by then. */
  settle(): void {
    this.#quiet = true;
    this.advance(this.now + 60_000);
  }

  #begin(at: number): void {
    this.now = at;
    for (const [index, topic] of this.#traffic.entries()) topic.nextAt = at + index * 7 + 1;
  }

  // -- what the playbook does to it ---------------------------------------------------------------------------------

  write(state: RoutingState): void {
    if (state.epoch <= this.#lastEpoch) this.violations.add(`epoch ${state.epoch} came after ${this.#lastEpoch}`);
    this.#lastEpoch = state.epoch;
    for (const member of this.members) member.receive(state, this.now + this.#random.within(FOLLOW_MS));
  }

  /** Sets positions of a group that has nobody who consumes on that leg. */
  setPositions(group: string, leg: Leg, targets: ReadonlyMap<Partition, number>): void {
    const busy = this.consumers.filter(
      (member) => member.group === group && member.live === leg && !this.isDrained(member),
    );
    for (const { name } of busy) this.violations.add(`positions of ${group} on ${leg} were set while ${name} consumes`);
    for (const [partition, target] of targets) {
      for (let offset = 0; offset < target; offset += 1) {
        if (this.#timesApplied(group, partition, partition.messageAt(leg, offset)) > 0) continue;
        this.violations.add(
          `position ${target} of ${group} on ${leg} ${nameOf(partition.topic, partition.index)} skips a message`,
        );
        break;
      }
      this.#positionsOf(group)[leg].set(partition, target);
    }
  }

  // -- what can be seen of it ---------------------------------------------------------------------------------------

  /** Committed position; undefined: never committed. A handler that hangs has not committed the message in hand. */
  committed(group: string, leg: Leg, partition: Partition): number | undefined {
    const position = this.#positionsOf(group)[leg].get(partition);
    if (position === undefined) return undefined;
    const owner = this.#owner(group, partition);
    const inHand = owner !== undefined && owner.live === leg && owner.stuckUntil > this.now ? 1 : 0;
    return Math.max(0, position - inHand);
  }

  isDrained(member: Consumer): boolean {
    const drain = member.routing?.drain;
    if (drain === undefined || member.stuckUntil > this.now) return false;
    if (drain === 'stop') return true;
    return this.partitions.every((partition) => {
      if (this.#owner(member.group, partition) !== member) return true;
      const position = this.committed(member.group, member.live, partition) ?? 0;
      return position >= (drain[partition.topic]?.[partition.index] ?? 0);
    });
  }

  ends(leg: Leg, topics: readonly string[]): TopicOffsets {
    return Object.fromEntries(
      topics.map((topic) => [
        topic,
        this.partitions.filter((one) => one.topic === topic).map((partition) => partition.end(leg)),
      ]),
    );
  }

  /** Whether a message is among those that a ratio copies: raising it only adds messages. */
  isCopied(partition: Partition, message: number, ratio: number): boolean {
    const hash = Math.imul(message + 1, 0x9e3779b1) ^ Math.imul(partition.index + 1, 0x85ebca6b);
    return (Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0) % SHARES < Math.round(ratio * SHARES);
  }

  #timesApplied(group: string, partition: Partition, message: number): number {
    return this.#applied.get(group)?.get(partition)?.timesOf(message) ?? 0;
  }

  /** Of what was acknowledged: how much, and how much of it which group has never, or more than once, applied. */
  count(): ModelCount {
    const acknowledged: Record<Leg, number> = { kafka: 0, owlmq: 0 };
    const counted: ModelCount = { acknowledged, absent: 0, notInKafka: 0, neverApplied: 0, appliedAgain: 0, held: 0 };
    for (const partition of this.partitions) {
      const groups = this.options.groups.map((group) => this.#applied.get(group)?.get(partition));
      for (let message = 0; message < partition.messages; message += 1) {
        let known = false;
        for (const leg of LEGS) {
          if (!partition.isAcknowledged(leg, message)) continue;
          known = true;
          acknowledged[leg] += 1;
          if (!partition.has(leg, message)) counted.absent += 1;
        }
        if (!known) continue;
        if (!partition.has('kafka', message)) counted.notInKafka += 1;
        for (const applied of groups) {
          const times = applied?.timesOf(message) ?? 0;
          if (times === 0) counted.neverApplied += 1;
          if (times > 1) counted.appliedAgain += times - 1;
        }
      }
    }
    counted.held = this.publishers.reduce((sum, { held }) => sum + held.length, 0);
    return counted;
  }

  // -- publishers ---------------------------------------------------------------------------------------------------

  #publishUntil(until: number): void {
    if (this.#quiet) return;
    for (const topic of this.#traffic) {
      for (; topic.nextAt <= until; topic.count += 1) {
        this.#publish(topic.topic, topic.count, topic.nextAt);
        const { before, after } = this.options.intervalMs;
        topic.nextAt += this.#primarySince === undefined ? before : after;
      }
    }
  }

  #publish(topic: string, nth: number, at: number): void {
    const partition = this.partition(topic, nth % this.options.partitionsEach);
    const { foreign } = this.options;
    const untilForeign = this.#primarySince === undefined ? Infinity : this.#primarySince + foreign.untilMs;
    if (foreign.topics.includes(topic) && nth % FOREIGN_EVERY === FOREIGN_EVERY - 1 && at < untilForeign) {
      const message = partition.add({ foreign: true });
      partition.append('kafka', message);
      partition.acknowledge('kafka', message);
      return;
    }
    let publisher = this.publishers[nth % this.publishers.length];
    if (publisher?.isLiving(at) !== true) publisher = this.publishers.find((one) => one.isLiving(at));
    if (publisher === undefined) return;
    if (publisher.fenced || (publisher.primary === 'owlmq' && !this.owlmqAlive)) {
      publisher.holdsSince ??= at;
      publisher.held.push({ partition: nameOf(topic, partition.index), since: at });
      return;
    }
    this.#write(publisher, partition);
  }

  #write(publisher: Publisher, partition: Partition): void {
    const { ratio = 0, mirror = true, shadow = 'off' } = publisher.routing ?? {};
    const { primary } = publisher;
    const other: Leg = primary === 'kafka' ? 'owlmq' : 'kafka';
    const intended = primary === 'kafka' ? this.isCopied(partition, partition.messages, ratio) : mirror;
    const message = partition.add({ intended });
    partition.append(primary, message);
    publisher.messages[primary] += 1;
    if (!intended) {
      partition.acknowledge(primary, message);
      return;
    }
    this.#copies += 1;
    // A copy that is late while shadows are compared would set the soak back: publishers give up none there.
    const givesUp = shadow === 'off' && ratio === 1 && this.#copies % this.options.droppedEvery === 0;
    if (givesUp || (other === 'owlmq' && !this.owlmqAlive)) {
      publisher.dropped += 1;
      // Behind the cutover both legs have to answer: a publisher that dies between them has acknowledged nothing.
      if (primary === 'kafka') partition.acknowledge(primary, message);
      return;
    }
    partition.append(other, message);
    partition.acknowledge(primary, message);
    publisher.messages[other] += 1;
    if (other === 'owlmq') publisher.copies += 1;
  }

  #apply(member: Member): void {
    member.applyNext();
    if (!(member instanceof Publisher)) return;
    if (member.primary === 'owlmq' && !member.fenced) this.#primarySince ??= this.now;
    if (member.fenced) {
      // As of a service that publishes all the time: a call waits from this moment on.
      member.holdsSince ??= this.now;
      member.longestHoldMs = 0;
      return;
    }
    if (member.holdsSince === undefined || (member.primary === 'owlmq' && !this.owlmqAlive)) return;
    member.longestHoldMs = this.now - member.holdsSince;
    member.holdsSince = undefined;
    for (const { partition } of member.held.splice(0)) {
      const found = this.#byName.get(partition);
      if (found !== undefined) this.#write(member, found);
    }
  }

  // -- consumers ----------------------------------------------------------------------------------------------------

  #look(at: number): void {
    const ends = new Map(
      this.partitions.map((one) => [one, { kafka: one.end('kafka'), owlmq: one.end('owlmq') }] as const),
    );
    this.#seen.push({ at, ends });
  }

  #consume(): void {
    const last = this.#seen.findLastIndex(({ at }) => at <= this.now - PROCESS_MS);
    const processed = this.#seen[last]?.ends;
    if (processed === undefined) return;
    this.#seen = this.#seen.slice(last);
    for (const [group, applied] of this.#applied) {
      for (const [partition, of] of applied) {
        const owner = this.#owner(group, partition);
        if (owner === undefined || owner.stuckUntil > this.now) continue;
        const { live } = owner;
        const drain = owner.routing?.drain;
        if (drain === 'stop' || (live === 'owlmq' && !this.owlmqAlive)) continue;
        const stop = drain?.[partition.topic]?.[partition.index] ?? Infinity;
        const limit = Math.min(stop, processed.get(partition)?.[live] ?? 0);
        const positions = this.#positionsOf(group)[live];
        const from = positions.get(partition) ?? 0;
        for (let offset = from; offset < limit; offset += 1) of.count(partition.messageAt(live, offset));
        positions.set(partition, Math.max(from, limit));
      }
    }
  }

  #owner(group: string, partition: Partition): Consumer | undefined {
    const living = this.consumers.filter((member) => member.group === group && member.isLiving(this.now));
    return living[partition.index % living.length];
  }

  #positionsOf(group: string): Positions {
    const found = this.#positions.get(group);
    if (found === undefined) throw new RangeError(`the model has no group ${group}`);
    return found;
  }

  /** What must hold at every moment. */
  #check(): void {
    for (const group of this.options.groups) {
      const members = this.consumers.filter((member) => member.group === group && member.isLiving(this.now));
      const legs = new Set(members.filter((member) => !this.isDrained(member)).map(({ live }) => live));
      if (legs.size > 1) this.violations.add(`group ${group} was live on both sides at ${iso(this.now)}`);
    }
    const open = this.publishers.filter((publisher) => publisher.isLiving(this.now) && !publisher.fenced);
    if (new Set(open.map(({ primary }) => primary)).size > 1)
      this.violations.add(`publishers had two primaries at ${iso(this.now)}`);
    const holding = open.filter(({ holdsSince }) => holdsSince !== undefined);
    if (holding.length > 0 && this.owlmqAlive)
      this.violations.add(`publishers were held outside of a fence at ${iso(this.now)}`);
  }
}

/** What became of the messages of a model. */
export interface ModelCount {
  /** Messages by the leg whose acknowledgement let `publish()` resolve. */
  acknowledged: Record<Leg, number>;
  /** Acknowledged, and not on that leg. */
  absent: number;
  notInKafka: number;
  /** Summed over groups, as the next. */
  neverApplied: number;
  appliedAgain: number;
  /** Calls that still wait. */
  held: number;
}

export function nameOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}

function count<T>(times: number, make: (index: number) => T): T[] {
  return Array.from({ length: times }, (_, index) => make(index));
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
