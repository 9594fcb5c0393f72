import type { TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type { Dependencies } from './dependencies.js';
import { GroupMembership } from './group-members.js';
import type { AwaitDrainedRequest, Commits, Drained } from './migration-activities.js';
import type { Judgement } from './until-ready.js';

/** Who is in groups costs more to ask than what they have committed. */
const MEMBERS_EVERY_MS = 250;

type Needs = Pick<Dependencies, 'roster' | 'admin' | 'reader' | 'owlmq'>;
type Found = Record<string, (number | undefined)[]>;

/**
 * Watches groups commit up to offsets of a leg. What members hold that are counted out goes to the others, who drain it;
 * a group that has nobody left stays where it is.
 */
export class Drain {
  readonly #dependencies: Needs;
  readonly #request: AwaitDrainedRequest;
  readonly #membership: GroupMembership;
  readonly #furthest: TopicOffsets;
  /** Groups that have not come to the offsets yet. */
  #open: readonly string[];
  /** Those among them without a member, as of the last look. */
  #deserted = new Set<string>();
  #membersAt = -Infinity;
  /** Members of groups that must have none, as of the last look; undefined before it. */
  #staying: string[] | undefined;
  #stayingAt = -Infinity;

  constructor(dependencies: Needs, request: AwaitDrainedRequest) {
    this.#dependencies = dependencies;
    this.#request = request;
    this.#membership = new GroupMembership(dependencies);
    this.#furthest = structuredClone(request.offsets);
    this.#open = request.groups;
  }

  /** Ready once nobody drains any more. */
  async look(): Promise<Judgement<Drained>> {
    const committed = await this.#committed(this.#open);
    const begins = new Map<string, Promise<number[]>>();
    const behind = new Map<string, string>();
    for (const [group, found] of committed) {
      const lacks = await this.#lacks(group, found, begins);
      if (lacks !== undefined) behind.set(group, lacks);
    }
    this.#open = [...behind.keys()];
    const staying = await this.#whoStays();
    if (behind.size === 0 && staying.length === 0) return { ready: { furthest: this.#furthest, behind: {} } };
    await this.#lookAtMembers();
    const waitFor = [
      ...[...behind].flatMap(([group, lacks]) => (this.#deserted.has(group) ? [] : [lacks])),
      ...staying,
    ];
    if (waitFor.length > 0) return { waitFor };
    // What the last of them has committed came before it was put out, and may not have been seen.
    const last = await this.#committed(this.#open);
    return {
      ready: {
        furthest: this.#furthest,
        behind: Object.fromEntries([...last].map(([group, found]) => [group, asCommits(found)])),
      },
    };
  }

  /** What a group has not committed yet, in words; and raises the furthest commits. */
  async #lacks(group: string, found: Found, begins: Map<string, Promise<number[]>>): Promise<string | undefined> {
    let lacks: string | undefined;
    for (const [topic, wanted] of Object.entries(this.#request.offsets)) {
      for (const [partition, offset] of wanted.entries()) {
        const reached = found[topic]?.[partition];
        const highest = this.#furthest[topic];
        if (highest !== undefined) highest[partition] = Math.max(highest[partition] ?? 0, reached ?? 0);
        if (reached !== undefined && reached >= offset) continue;
        if (reached === undefined) {
          // A group commits nothing on a partition that never held anything for it.
          const begin = begins.get(topic) ?? this.#begins(topic);
          begins.set(topic, begin);
          if (((await begin)[partition] ?? 0) >= offset) continue;
        }
        lacks ??= `${group} on ${topic}/${partition}: committed ${reached ?? 'nothing'}, fence ${offset}`;
      }
    }
    return lacks;
  }

  /** Looks now and then which groups nobody is left in. */
  async #lookAtMembers(): Promise<void> {
    const { migration, leg } = this.#request;
    if (migration === undefined || performance.now() < this.#membersAt + MEMBERS_EVERY_MS) return;
    this.#membersAt = performance.now();
    const left = await this.#membership.withoutDead(leg, this.#open);
    const living = await this.#membership.living(migration);
    this.#deserted = new Set(
      this.#open.filter((group) => {
        const { ofFleet = [], others = [] } = left.get(group) ?? {};
        return ofFleet.length === 0 && others.length === 0 && !living.has(group);
      }),
    );
  }

  /** Members of groups that must have none, in words. Nobody reports of them: the leg itself says who is there. */
  async #whoStays(): Promise<string[]> {
    const { leg, stopped = [] } = this.#request;
    const known = this.#staying;
    const isGone = known?.length === 0;
    if (stopped.length === 0 || isGone) return [];
    if (known !== undefined && performance.now() < this.#stayingAt + MEMBERS_EVERY_MS) return known;
    this.#stayingAt = performance.now();
    const left = await this.#membership.withoutDead(leg, stopped);
    this.#staying = [...left].flatMap(([group, { ofFleet, others }]) =>
      [...ofFleet, ...others].map((member) => `${member} to leave ${group} on ${leg}`),
    );
    return this.#staying;
  }

  async #committed(groups: readonly string[]): Promise<Map<string, Found>> {
    const { leg, offsets } = this.#request;
    const { admin, owlmq } = this.#dependencies;
    if (leg === 'kafka') {
      const counts = Object.entries(offsets).map(([topic, partitions]) => [topic, partitions.length]);
      return await admin.offsetsOfGroups(groups, Object.fromEntries(counts) as Record<string, number>);
    }
    const asked = groups.map(async (group): Promise<[string, Found]> => {
      const found: Found = Object.fromEntries(Object.keys(offsets).map((topic) => [topic, []]));
      for (const { topic, partition, offset } of (await owlmq.describeGroup(group))?.offsets ?? []) {
        const partitions = found[topic];
        if (partitions !== undefined) partitions[partition] = offset;
      }
      return [group, found];
    });
    return new Map(await Promise.all(asked));
  }

  async #begins(topic: string): Promise<number[]> {
    const { reader, owlmq } = this.#dependencies;
    const partitions =
      this.#request.leg === 'kafka' ? await reader.bounds(topic) : (await owlmq.describeTopic(topic))?.partitions;
    return (partitions ?? []).map(({ beginOffset }) => beginOffset);
  }
}

/** Safe as JSON, which knows no undefined in a list. */
function asCommits(found: Found): Commits {
  return Object.fromEntries(
    Object.entries(found).map(([topic, offsets]) => [topic, Array.from(offsets, (offset) => offset ?? null)]),
  );
}
