import {
  bypassingMembers,
  isLiving,
  kafkaGroups,
  nextOpening,
  owlmqGroups,
  proveKafka,
  proveOwlmq,
} from '@owlmq/kafka-bridge/operations';
import type { Dependencies } from './dependencies.js';
import type { MigrationActivities, ReadinessCheck, ReadinessRequest } from './migration-activities.js';

/** The step that looks before the window, at what the worker alone can see. */
export function readinessActivities(dependencies: Dependencies): Pick<MigrationActivities, 'checkReadiness'> {
  const { admin, reader, roster, owlmq, kafka } = dependencies;
  return {
    checkReadiness: async (request) => {
      await roster.readToEnd();
      const [groups, onOwlmq, wayBack, answers] = await Promise.all([
        groupChecks(request),
        owlmqGroupChecks(request),
        canaryCheck('the way back', 'Kafka takes writes and gives them back', 'Make Kafka take writes.', () =>
          proveKafka(kafka),
        ),
        canaryCheck('OwlMQ answers', 'OwlMQ takes writes and gives them back', 'Make OwlMQ take writes.', () =>
          proveOwlmq(owlmq),
        ),
      ]);
      return [followingCheck(request), ...groups, ...onOwlmq, wayBack, answers, ...hoursChecks(request, Date.now())];
    },
  };

  function followingCheck({ migration, epoch, minPublishers }: ReadinessRequest): ReadinessCheck {
    const publishers = livingMembers(migration).filter((report) => report.role === 'publisher');
    const behind = publishers.filter((report) => report.epoch < epoch || report.mirrorDegraded);
    return {
      name: 'publishers follow',
      ok: publishers.length >= minPublishers && behind.length === 0,
      detail:
        publishers.length < minPublishers
          ? `${publishers.length} of at least ${minPublishers} DualPublishers report to this migration`
          : `${publishers.length - behind.length} of ${publishers.length} are on epoch ${epoch} and reach OwlMQ`,
      todo: 'Start the publishers with this migration, and see in their logs why one does not follow.',
    };
  }

  /** Members that would drain each group, and how much. */
  async function groupChecks(request: ReadinessRequest): Promise<ReadinessCheck[]> {
    const { migration, topics, groups, external = [], drainableLag } = request;
    const bounds = await Promise.all(topics.map(async (topic) => [topic, await reader.bounds(topic)] as const));
    const counts = Object.fromEntries(bounds.map(([topic, partitions]) => [topic, partitions.length]));
    const standings = await kafkaGroups(admin, groups, { topics: counts });
    const members = roster.members(migration);
    return standings.flatMap((standing) => {
      const { group, offsets } = standing;
      const live = members.filter(
        (member) =>
          isLiving(member) &&
          member.report.role === 'consumer' &&
          member.report.group === group &&
          member.report.state === 'live-kafka',
      );
      const committed = new Map(offsets.map(({ topic, partition, offset }) => [`${topic}/${partition}`, offset]));
      let lag = 0;
      for (const [topic, partitions] of bounds) {
        for (const { partition, beginOffset, endOffset } of partitions) {
          lag += Math.max(0, endOffset - (committed.get(`${topic}/${partition}`) ?? beginOffset));
        }
      }
      const reports = !external.includes(group);
      const drains: ReadinessCheck = {
        name: `group ${group}`,
        ok: (live.length > 0 || !reports) && lag <= drainableLag,
        detail: `${reports ? `${live.length} live members` : 'moved by a hook'}, ${lag} records behind on Kafka`,
        todo: `Start members of ${group}, or wait until it is at most ${drainableLag} records behind.`,
      };
      const bypassing = reports ? bypassingMembers(standing, members) : undefined;
      if (bypassing === undefined) return [drains];
      return [
        drains,
        {
          name: `members of ${group}`,
          ok: bypassing === '',
          detail: bypassing === '' ? 'all on Kafka report to this migration' : `without the library: ${bypassing}`,
          todo: `Stop them, or deploy DualConsumer to them: they would go on consuming ${group} from Kafka.`,
        },
      ];
    });
  }

  /** Positions are imported into groups without members; and shadows must not be far behind what the window ends at. */
  async function owlmqGroupChecks({ groups, drainableLag }: ReadinessRequest): Promise<ReadinessCheck[]> {
    const shadowOf = (group: string): string => `${group}.shadow`;
    let standings;
    try {
      standings = await owlmqGroups(owlmq, [...groups, ...groups.map(shadowOf)]);
    } catch (error) {
      const detail = messageOf(error);
      return [{ name: 'groups on OwlMQ', ok: false, detail, todo: 'Make OwlMQ answer.' }];
    }
    return groups.flatMap((group): ReadinessCheck[] => {
      const own = standings.find((standing) => standing.group === group);
      const shadow = standings.find((standing) => standing.group === shadowOf(group));
      const names = (own?.members ?? []).map(({ clientId }) => clientId);
      const behind = (shadow?.offsets ?? []).reduce(
        (sum, { offset, endOffset }) => sum + Math.max(0, (endOffset ?? offset) - offset),
        0,
      );
      const empty: ReadinessCheck = {
        name: `positions of ${group}`,
        ok: names.length === 0,
        detail: names.length === 0 ? 'nobody consumes in the group on OwlMQ' : `in use on OwlMQ by ${names.join(', ')}`,
        todo: `Stop the members of ${group} on OwlMQ: positions are imported into groups without members.`,
      };
      // Shadows that report over HTTP need no group of their own; whether they are compared is another check.
      if (shadow === undefined || shadow.kind === 'unknown') return [empty];
      return [
        empty,
        {
          name: `shadow of ${group}`,
          ok: behind <= drainableLag,
          detail: `${behind} records behind on OwlMQ`,
          todo: `Wait until the shadow of ${group} is at most ${drainableLag} records behind, or add members.`,
        },
      ];
    });
  }

  function livingMembers(migration: string) {
    return roster
      .members(migration)
      .filter(isLiving)
      .map(({ report }) => report);
  }
}

/** A canary, as a check. */
export async function canaryCheck(
  name: string,
  proven: string,
  todo: string,
  prove: () => Promise<void>,
): Promise<ReadinessCheck> {
  try {
    await prove();
    return { name, ok: true, detail: proven, todo };
  } catch (error) {
    return { name, ok: false, detail: `a canary failed: ${messageOf(error)}`, todo };
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether a window may begin now (Unix ms), where there are hours for it. */
export function hoursChecks(
  { hours, windowMs }: Pick<ReadinessRequest, 'hours' | 'windowMs'>,
  now: number,
): ReadinessCheck[] {
  if (hours === undefined || windowMs === undefined) return [];
  const opensAt = nextOpening(hours, windowMs, now);
  const { from, to, timeZone, days } = hours;
  const when = `${days === undefined ? '' : `${days.join(', ')} `}${from} to ${to} ${timeZone}`;
  const opening = opensAt === undefined ? undefined : new Date(opensAt).toISOString();
  return [
    {
      name: 'allowed hours',
      ok: opensAt !== undefined && opensAt <= now,
      detail: `a cutover may begin ${when}${opening === undefined ? '' : `: next at ${opening}`}`,
      todo: 'Wait, or roll back and start anew with other hours.',
      ...(opening === undefined ? {} : { again: opening }),
    },
  ];
}
