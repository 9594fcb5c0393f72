import { KafkaGroupNotEmptyError } from '@owlmq/kafka-bridge/operations';
import type { World } from '../clock/world.js';
import { PARTITIONS } from './message.js';

export type Leg = 'kafka' | 'owlmq';

/** The group went on without this member. */
export class StaleMemberError extends Error {
  override readonly name = 'StaleMemberError';
}

export interface Membership {
  memberId: string;
  generation: number;
  state: 'stable' | 'rebalancing';
  /** Partitions with the offsets to go on at; undefined where there is no commit. */
  assignment: { partition: number; offset: number | undefined }[];
}

interface Member {
  id: string;
  /** Instance that it is of. */
  clientId: string;
  seenAt: number;
  /** Whether it has joined the generation that is being formed. */
  ready: boolean;
}

/** A consumer group as its coordinator has it, on either leg. */
export class Group {
  readonly commits: (number | undefined)[] = [];
  readonly #members = new Map<string, Member>();
  #generation = 0;
  #rebalancing = false;
  #joins = 0;
  readonly #woken = new Set<() => void>();

  constructor(
    readonly world: World,
    readonly leg: Leg,
    readonly name: string,
    readonly sessionMs: number,
  ) {}

  get members(): { memberId: string; clientId: string }[] {
    this.#expire();
    return [...this.#members.values()].map(({ id, clientId }) => ({ memberId: id, clientId }));
  }

  join(clientId: string, memberId: string | undefined): Membership {
    this.#expire();
    let member = memberId === undefined ? undefined : this.#members.get(memberId);
    if (member === undefined) {
      member = { id: `${this.leg}-${++this.#joins}`, clientId, seenAt: this.world.now, ready: true };
      this.#members.set(member.id, member);
      this.#rebalance();
    }
    member.seenAt = this.world.now;
    member.ready = true;
    this.#settle();
    return this.#membershipOf(member);
  }

  /** Renews the membership. */
  heartbeat(memberId: string, generation: number): Membership {
    return this.#membershipOf(this.#member(memberId, generation));
  }

  commit(memberId: string, generation: number, offsets: readonly { partition: number; offset: number }[]): void {
    this.#member(memberId, generation);
    for (const { partition, offset } of offsets) this.commits[partition] = offset;
  }

  leave(memberId: string): void {
    if (!this.#members.delete(memberId)) return;
    this.#rebalance();
    this.#settle();
  }

  setOffsets(offsets: readonly { partition: number; offset: number }[]): void {
    const { members } = this;
    if (members.length > 0) {
      // On either leg: who imports positions takes both errors alike.
      throw new KafkaGroupNotEmptyError(
        this.name,
        members.map(({ clientId }) => clientId),
      );
    }
    for (const { partition, offset } of offsets) this.commits[partition] = offset;
  }

  /** Calls once when a rebalance is announced. Returns what forgets it. */
  onRebalance(wake: () => void): () => void {
    this.#woken.add(wake);
    return () => this.#woken.delete(wake);
  }

  #member(memberId: string, generation: number): Member {
    this.#expire();
    const member = this.#members.get(memberId);
    if (member === undefined || generation !== this.#generation)
      throw new StaleMemberError(`${memberId} is not in ${this.name}`);
    member.seenAt = this.world.now;
    return member;
  }

  #membershipOf(member: Member): Membership {
    const ids = [...this.#members.keys()].sort();
    const own = ids.indexOf(member.id);
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition).filter(
      (partition) => partition % ids.length === own,
    );
    return {
      memberId: member.id,
      generation: this.#generation,
      state: this.#rebalancing ? 'rebalancing' : 'stable',
      assignment: this.#rebalancing
        ? []
        : partitions.map((partition) => ({ partition, offset: this.commits[partition] })),
    };
  }

  #rebalance(): void {
    if (this.#rebalancing) return;
    this.#rebalancing = true;
    for (const member of this.#members.values()) member.ready = false;
    const woken = [...this.#woken];
    this.#woken.clear();
    for (const wake of woken) wake();
  }

  #settle(): void {
    if (!this.#rebalancing) return;
    for (const { ready } of this.#members.values()) if (!ready) return;
    this.#rebalancing = false;
    this.#generation++;
  }

  #expire(): void {
    let gone = false;
    for (const { id, seenAt } of [...this.#members.values()]) {
      if (this.world.now - seenAt <= this.sessionMs) continue;
      this.#members.delete(id);
      gone = true;
    }
    if (!gone) return;
    this.#rebalance();
    this.#settle();
  }
}
