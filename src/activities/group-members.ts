import {
  isCountedOut,
  KafkaGroupNotEmptyError,
  OwlmqGroupNotEmptyError,
  pause,
  type RosterEntry,
} from '@owlmq/kafka-bridge/operations';
import type { Dependencies } from './dependencies.js';

/** Who is in a group, once those that cannot apply anything any more have been put out of it. */
export interface GroupMembers {
  /** Instances of the fleet. */
  ofFleet: string[];
  /** Members that the fleet does not know, in words. */
  others: string[];
}

interface Member {
  memberId: string;
  clientId: string;
}

const LOOK_EVERY_MS = 200;
/** A lease, and the time that a member takes to leave. */
const EMPTY_WITHIN_MS = 20_000;

/** Looks at who is in groups, and sees to it that dead members hold nothing up. */
export class GroupMembership {
  readonly #dependencies: Pick<Dependencies, 'admin' | 'owlmq' | 'roster'>;

  constructor(dependencies: Pick<Dependencies, 'admin' | 'owlmq' | 'roster'>) {
    this.#dependencies = dependencies;
  }

  /**
   * Puts members out of groups that are counted out of the fleet, or have left it: they hold by themselves, but their
   * groups would wait for them, and keep their partitions for them, until their session timeouts. One that wakes up
   * joins anew, and what it commits before that is refused.
   *
   * @returns who is left, by group.
   */
  async withoutDead(leg: 'kafka' | 'owlmq', groups: readonly string[]): Promise<Map<string, GroupMembers>> {
    const found = await this.#members(leg, groups);
    const entries = byName(await this.#dependencies.roster.readAll());
    return new Map(
      await Promise.all(
        [...found].map(async ([group, members]): Promise<[string, GroupMembers]> => {
          const known = members.map((member) => ({
            member,
            entry: entries.get(member.memberId) ?? entries.get(member.clientId),
          }));
          const dead = known.filter(({ entry }) => entry !== undefined && appliesNothing(entry));
          await this.#putOut(leg, group, dead);
          const left = known.filter((one) => !dead.includes(one));
          return [
            group,
            {
              ofFleet: left.flatMap(({ entry }) => entry?.report.instance ?? []),
              others: left.flatMap(({ member, entry }) => (entry === undefined ? [words(member)] : [])),
            },
          ];
        }),
      ),
    );
  }

  /** Groups that have a member of the fleet which is not counted out, in its group or on its way there. */
  async living(migration: string): Promise<Set<string>> {
    const members = await this.#dependencies.roster.readMembers(migration);
    return new Set(
      members.flatMap((entry) => {
        const { report } = entry;
        const drains = report.role === 'consumer' && report.only !== 'shadow' && !appliesNothing(entry);
        return drains ? [report.group] : [];
      }),
    );
  }

  /**
   * Does what needs a group without members: again as long as those in it are of the fleet alone, and so leave or are
   * put out. For twenty seconds at most.
   *
   * @throws what the work does, {KafkaGroupNotEmptyError} and {OwlmqGroupNotEmptyError} when others are in the group.
   */
  async whenEmpty<T>(leg: 'kafka' | 'owlmq', group: string, work: () => Promise<T>): Promise<T> {
    const until = performance.now() + EMPTY_WITHIN_MS;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof KafkaGroupNotEmptyError) && !(error instanceof OwlmqGroupNotEmptyError)) throw error;
        const left = (await this.withoutDead(leg, [group])).get(group);
        if ((left?.others.length ?? 0) > 0 || performance.now() > until) throw error;
        if ((left?.ofFleet.length ?? 0) > 0) await pause(LOOK_EVERY_MS);
      }
    }
  }

  async #members(leg: 'kafka' | 'owlmq', groups: readonly string[]): Promise<Map<string, Member[]>> {
    const { admin, owlmq } = this.#dependencies;
    if (leg === 'owlmq') {
      const described = groups.map(async (group): Promise<[string, Member[]]> => [
        group,
        (await owlmq.describeGroup(group))?.members ?? [],
      ]);
      return new Map(await Promise.all(described));
    }
    return new Map((await admin.describeGroups(groups)).map(({ name, members }) => [name, members]));
  }

  async #putOut(leg: 'kafka' | 'owlmq', group: string, dead: readonly { member: Member }[]): Promise<void> {
    const { admin, owlmq } = this.#dependencies;
    const memberIds = dead.map(({ member }) => member.memberId);
    if (leg === 'kafka') await admin.removeMembers(group, memberIds);
    else for (const memberId of memberIds) await owlmq.leaveGroup(group, memberId);
  }
}

/** By the names that members have in their groups: the ids they have reported, or their instances as client ids. */
function byName(entries: readonly RosterEntry[]): Map<string, RosterEntry> {
  return new Map(
    entries.flatMap((entry): [string, RosterEntry][] => {
      const { report } = entry;
      const names = [report.instance, ...(report.role === 'consumer' ? [report.memberId ?? report.instance] : [])];
      return names.map((name) => [name, entry]);
    }),
  );
}

function appliesNothing(entry: RosterEntry): boolean {
  return entry.report.state === 'left' || isCountedOut(entry);
}

function words({ clientId, memberId }: Member): string {
  return `${clientId} (${memberId})`;
}
