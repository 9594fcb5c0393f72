import type { Contract } from '@owlmq/kafka-bridge/contract';
import { ProblemError } from '../http/problem.js';
import { assign, type AssignablePartition } from './assignment.js';

type TopicPartition = Contract['TopicPartition'];
type GroupOffset = Contract['GroupOffset'];

/** What a group asks of the topics. */
export interface GroupTopics {
  /** @throws {ProblemError} `unknown-topic` */
  partitionCount(topic: string): number;
  endOffset(topic: string, partition: number): number;
  /** @throws {ProblemError} `unknown-topic`, `unknown-partition`, `offset-out-of-range` */
  checkOffset(topic: string, partition: number, offset: number): void;
}

/** What of a group outlives the server. Leases do not: they start anew. */
export interface GroupSnapshot {
  generation: number;
  rebalancing: boolean;
  members: (Omit<Member, 'leaseEnds' | 'joined' | 'topics'> & { topics: string[] })[];
}

interface Member {
  memberId: string;
  clientId: string;
  topics: Set<string>;
  sessionTimeoutMs: number;
  offsetReset: 'earliest' | 'latest';
  /** What the member holds; nothing from its join in a rebalance to the end of that rebalance. */
  assignment: TopicPartition[];
  /** On the monotonic clock, ms. */
  leaseEnds: number;
  /** Joined (again) in the rebalance under way. */
  joined: boolean;
}

/**
 * A consumer group: members with leases, a generation that only rises, committed offsets.
 *
 * Times are on the monotonic clock and passed in. Every change of members or generation is reported with `changed`,
 * every change of offsets with `committed`, both before the method returns.
 */
export class Group {
  #generation = 0;
  readonly #members = new Map<string, Member>();
  readonly #offsets = new Map<string, GroupOffset>();
  /** Last owner of each partition, for assignments that move little. */
  #lastOwner = new Map<string, string>();
  /** When a rebalance is under way: when it ends without those who have not joined. */
  #rebalanceEnds: number | undefined;
  #turns = 0;

  constructor(
    readonly name: string,
    private readonly topics: GroupTopics,
    private readonly effects: { changed(): void; committed(offsets: GroupOffset[]): void },
  ) {}

  get state(): Contract['GroupState'] {
    if (this.#members.size === 0) return 'empty';
    return this.#rebalanceEnds === undefined ? 'stable' : 'rebalancing';
  }

  /** Whether anyone could miss it. */
  get exists(): boolean {
    return this.#members.size > 0 || this.#offsets.size > 0;
  }

  snapshot(): GroupSnapshot {
    const members = [...this.#members.values()].map(
      ({ memberId, clientId, topics, sessionTimeoutMs, offsetReset, assignment }) => ({
        memberId,
        clientId,
        topics: [...topics],
        sessionTimeoutMs,
        offsetReset,
        assignment,
      }),
    );
    return { generation: this.#generation, rebalancing: this.#rebalanceEnds !== undefined, members };
  }

  /** Takes up what a snapshot says, with leases that begin now. */
  restore(snapshot: GroupSnapshot, now: number): void {
    this.#generation = snapshot.generation;
    for (const member of snapshot.members) {
      const leaseEnds = now + member.sessionTimeoutMs;
      this.#members.set(member.memberId, { ...member, topics: new Set(member.topics), leaseEnds, joined: false });
      for (const partition of member.assignment) this.#lastOwner.set(partitionName(partition), member.memberId);
    }
    if (snapshot.rebalancing && this.#members.size > 0) this.#rebalanceEnds = now + this.#longestSession();
  }

  restoreOffset(offset: GroupOffset): void {
    this.#offsets.set(partitionName(offset), offset);
  }

  /** Joins or joins again. The caller waits until the state is `stable`; see `membership`. */
  join(memberId: string, request: Contract['Join'], now: number): void {
    for (const topic of request.topics) this.topics.partitionCount(topic);
    const topics = new Set(request.topics);
    const present = this.#members.get(memberId);
    if (present !== undefined) {
      present.leaseEnds = now + present.sessionTimeoutMs;
      // The answer to an earlier join got lost, or the member only goes on waiting.
      const sameTopics =
        present.topics.size === topics.size && request.topics.every((topic) => present.topics.has(topic));
      if (sameTopics && (this.#rebalanceEnds === undefined || present.joined)) return;
    }
    const { clientId, sessionTimeoutMs, offsetReset } = request;
    const leaseEnds = now + sessionTimeoutMs;
    this.#members.set(memberId, {
      memberId,
      clientId,
      topics,
      sessionTimeoutMs,
      offsetReset,
      assignment: [],
      leaseEnds,
      joined: true,
    });
    this.#rebalanceEnds ??= now + this.#longestSession();
    this.#completeIfAllJoined(now);
    this.effects.changed();
  }

  leave(memberId: string, now: number): void {
    if (this.#members.has(memberId)) this.#remove([memberId], now);
  }

  /** Removes members whose lease is over, and ends a rebalance whose time is. */
  expire(now: number): void {
    const overdue = this.#rebalanceEnds !== undefined && now >= this.#rebalanceEnds;
    const over = [...this.#members.values()].filter(
      ({ leaseEnds, joined }) => now >= leaseEnds || (overdue && !joined),
    );
    if (over.length > 0)
      this.#remove(
        over.map(({ memberId }) => memberId),
        now,
      );
  }

  /**
   * Renews a member's lease and says where it stands.
   *
   * @throws {ProblemError} `stale-generation`
   */
  heartbeat(memberId: string, generation: number, now: number): Contract['Membership'] {
    const member = this.#current(memberId, generation);
    member.leaseEnds = now + member.sessionTimeoutMs;
    return this.#describe(member, now);
  }

  /**
   * Where a member stands, without renewing anything.
   *
   * @throws {ProblemError} `stale-generation` when it is no member (any more).
   */
  membership(memberId: string, now: number): Contract['Membership'] {
    return this.#describe(this.#member(memberId), now);
  }

  /** Counts fetches, so that each can begin with another partition. */
  nextTurn(): number {
    return this.#turns++;
  }

  /** A third of the member's lease: the longest that one of its requests may wait. */
  longestWait(memberId: string): number {
    return this.#member(memberId).sessionTimeoutMs / 3;
  }

  /** @throws {ProblemError} `stale-generation` unless the partitions are the member's under this generation. */
  checkOwned(memberId: string, generation: number, partitions: TopicPartition[]): void {
    const owned = new Set(this.#current(memberId, generation).assignment.map(partitionName));
    for (const partition of partitions) {
      if (owned.has(partitionName(partition))) continue;
      throw stale(`${partitionName(partition)} is not assigned to member ${memberId} in generation ${generation}`);
    }
  }

  commit(memberId: string, generation: number, offsets: GroupOffset[], now: number): void {
    this.checkOwned(memberId, generation, offsets);
    this.#storeOffsets(offsets);
    this.heartbeat(memberId, generation, now);
  }

  /** @throws {ProblemError} `group-not-empty` */
  setOffsets(offsets: GroupOffset[]): void {
    if (this.#members.size > 0) {
      const members = [...this.#members.keys()];
      throw new ProblemError('group-not-empty', `Group ${this.name} has ${members.length} members; stop them first`, {
        members,
      });
    }
    this.#storeOffsets(offsets);
  }

  describe(): Contract['Group'] {
    return {
      name: this.name,
      generation: this.#generation,
      state: this.state,
      members: [...this.#members.values()].map(({ memberId, clientId, assignment }) => ({
        memberId,
        clientId,
        assignment,
      })),
      offsets: [...this.#offsets.values()].map((committed) => {
        const endOffset = this.topics.endOffset(committed.topic, committed.partition);
        return { ...committed, endOffset, lag: Math.max(0, endOffset - committed.offset) };
      }),
    };
  }

  #describe(member: Member, now: number): Contract['Membership'] {
    const rebalancing = this.#rebalanceEnds !== undefined;
    const ends = rebalancing ? Math.min(member.leaseEnds, this.#rebalanceEnds ?? 0) : member.leaseEnds;
    return {
      memberId: member.memberId,
      generation: this.#generation,
      state: rebalancing ? 'rebalancing' : 'stable',
      assignment: member.assignment.map((partition) => ({ ...partition, offset: this.#position(partition, member) })),
      leaseMs: Math.max(0, Math.floor(ends - now)),
    };
  }

  #position({ topic, partition }: TopicPartition, member: Member): number {
    const committed = this.#offsets.get(partitionName({ topic, partition }));
    if (committed !== undefined) return committed.offset;
    return member.offsetReset === 'earliest' ? 0 : this.topics.endOffset(topic, partition);
  }

  #storeOffsets(offsets: GroupOffset[]): void {
    for (const { topic, partition, offset } of offsets) this.topics.checkOffset(topic, partition, offset);
    const stored = offsets.map(({ topic, partition, offset }) => ({ topic, partition, offset }));
    for (const offset of stored) this.#offsets.set(partitionName(offset), offset);
    this.effects.committed(stored);
  }

  #remove(memberIds: string[], now: number): void {
    for (const memberId of memberIds) this.#members.delete(memberId);
    if (this.#members.size === 0) {
      this.#generation++;
      this.#rebalanceEnds = undefined;
    } else {
      this.#rebalanceEnds ??= now + this.#longestSession();
      this.#completeIfAllJoined(now);
    }
    this.effects.changed();
  }

  #completeIfAllJoined(now: number): void {
    const members = [...this.#members.values()];
    if (!members.every(({ joined }) => joined)) return;
    this.#rebalanceEnds = undefined;
    this.#generation++;
    const partitions = this.#subscribedPartitions();
    const owners = assign(partitions, members, this.#lastOwner);
    this.#lastOwner = owners;
    for (const member of members) {
      member.joined = false;
      member.leaseEnds = now + member.sessionTimeoutMs;
      member.assignment = partitions
        .filter(({ name }) => owners.get(name) === member.memberId)
        .map(({ topic, partition }) => ({ topic, partition }));
      this.#settleLatest(member);
    }
  }

  /** `latest` is resolved once and committed, so that a later rebalance skips nothing. */
  #settleLatest(member: Member): void {
    if (member.offsetReset === 'earliest') return;
    const unsettled = member.assignment.filter((partition) => !this.#offsets.has(partitionName(partition)));
    if (unsettled.length === 0) return;
    this.#storeOffsets(unsettled.map((partition) => ({ ...partition, offset: this.#position(partition, member) })));
  }

  #subscribedPartitions(): (AssignablePartition & TopicPartition)[] {
    const topics = new Set([...this.#members.values()].flatMap((member) => [...member.topics]));
    return [...topics].sort().flatMap((topic) =>
      Array.from({ length: this.topics.partitionCount(topic) }, (_, partition) => ({
        name: partitionName({ topic, partition }),
        topic,
        partition,
      })),
    );
  }

  #longestSession(): number {
    return Math.max(...[...this.#members.values()].map(({ sessionTimeoutMs }) => sessionTimeoutMs));
  }

  #member(memberId: string): Member {
    const member = this.#members.get(memberId);
    if (member === undefined) throw stale(`${memberId} is no member of group ${this.name}; join again`);
    return member;
  }

  #current(memberId: string, generation: number): Member {
    const member = this.#member(memberId);
    if (generation === this.#generation) return member;
    throw stale(`Generation ${generation} of group ${this.name} is over; it is in generation ${this.#generation}`);
  }
}

function partitionName({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`;
}

function stale(detail: string): ProblemError {
  return new ProblemError('stale-generation', detail);
}
