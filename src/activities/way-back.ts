import {
  bounded,
  isLiving,
  kafkaGroups,
  mergeMirrorCheckpoints,
  proveKafka,
  proveOwlmq,
  translateToKafka,
  type MirrorCheckpoint,
} from '@owlmq/kafka-bridge/operations';
import type { Dependencies } from './dependencies.js';
import { GroupMembership } from './group-members.js';
import { withHeartbeat } from './heartbeat.js';
import type { MigrationActivities, WayBack, WayBackCheck, WayBackRequest } from './migration-activities.js';
import { acknowledgedByOwlmq, cutOff } from './mirror-watch.js';
import { canaryCheck, messageOf } from './readiness.js';
import { owlmqEnds, recordsBetween } from './topic-offsets.js';

/** How long OwlMQ may take to answer before it counts as dead, ms. */
const OWLMQ_WITHIN_MS = 10_000;
const REPAIR_KAFKA = 'Repair Kafka: until then nothing can return to it.';

/** The step that tries a rollback without doing it. */
export function wayBackActivities(dependencies: Dependencies): Pick<MigrationActivities, 'proveWayBack'> {
  const { admin, reader, roster, owlmq, kafka } = dependencies;
  const membership = new GroupMembership(dependencies);
  return {
    proveWayBack: (request) =>
      withHeartbeat<WayBack, undefined>(async ({ signal }) => {
        const takesWrites = await canaryCheck('Kafka takes writes', 'a canary went there and back', REPAIR_KAFKA, () =>
          proveKafka(kafka),
        );
        const checks: WayBackCheck[] = [{ ...takesWrites, takes: 'repair' }];
        const owlmqAnswers = await answers(signal);
        // Nothing more can be asked of a Kafka that does not answer.
        if (!takesWrites.ok) return { checks, owlmqAnswers, lossAtMost: 0, redeliveries: null };
        await roster.readToEnd();
        checks.push(await leadersCheck(request), ...(await groupChecks(request)));
        if (owlmqAnswers) {
          const { check, redeliveries } = await positionsCheck(request, signal);
          checks.push(await behindCheck(request), check);
          return { checks, owlmqAnswers, lossAtMost: 0, redeliveries };
        }
        const { check, lossAtMost } = completeCheck(request);
        checks.push(check);
        return { checks, owlmqAnswers, lossAtMost, redeliveries: null };
      }),
  };

  async function answers(signal: AbortSignal): Promise<boolean> {
    try {
      await bounded(proveOwlmq(owlmq), OWLMQ_WITHIN_MS, () => new Error('OwlMQ has not answered in time'));
      return true;
    } catch {
      signal.throwIfAborted();
      return false;
    }
  }

  /** A canary is of a topic of its own: each partition that is to take writes again must have a leader. */
  async function leadersCheck({ topics }: WayBackRequest): Promise<WayBackCheck> {
    const name = 'every partition in Kafka answers';
    try {
      const ends = await Promise.all(topics.map((topic) => reader.ends(topic)));
      const detail = `${ends.reduce((sum, { length }) => sum + length, 0)} partitions of ${topics.join(', ')}`;
      return { name, ok: true, detail, todo: REPAIR_KAFKA, takes: 'repair' };
    } catch (error) {
      return { name, ok: false, detail: messageOf(error), todo: REPAIR_KAFKA, takes: 'repair' };
    }
  }

  /** Somebody must be there to go on in Kafka, and nobody may be in the groups whose positions are to be set. */
  async function groupChecks({ migration, groups, external = [] }: WayBackRequest): Promise<WayBackCheck[]> {
    const inTheWay = await whoIsInKafkaGroups(groups);
    const living = roster
      .members(migration)
      .filter(isLiving)
      .map(({ report }) => report);
    return groups.flatMap((group): WayBackCheck[] => {
      const members = living.filter(
        (report) => report.role === 'consumer' && report.group === group && report.only !== 'shadow',
      );
      const obstacle = inTheWay.get(group);
      const isExternal = external.includes(group);
      return [
        {
          name: `members of ${group}`,
          ok: isExternal || members.length > 0,
          detail: isExternal
            ? 'a hook starts them again'
            : `${members.length} report, and would consume from Kafka again`,
          todo: `Start consumers of ${group}, or roll back with force: nobody consumes then until they are there.`,
          takes: 'force',
        },
        {
          name: `group ${group} in Kafka`,
          ok: obstacle === undefined,
          detail: obstacle ?? 'its positions can be set: nobody but the fleet is in it',
          todo: `Stop every consumer of ${group} that reads Kafka past this migration.`,
          takes: 'repair',
        },
      ];
    });
  }

  /** Why positions of groups cannot be set. Members of the fleet leave as they are told to, and dead ones are put out. */
  async function whoIsInKafkaGroups(groups: string[]): Promise<Map<string, string>> {
    const members = await membership.withoutDead('kafka', groups);
    const standings = await kafkaGroups(admin, groups);
    return new Map(
      standings.flatMap(({ group, refusal }): [string, string][] => {
        if (refusal !== undefined) return [[group, refusal]];
        const others = members.get(group)?.others ?? [];
        return others.length === 0 ? [] : [[group, `in use in Kafka by ${others.join(', ')}`]];
      }),
    );
  }

  async function behindCheck({ topics, from, audited }: WayBackRequest): Promise<WayBackCheck> {
    const name = 'Kafka has everything';
    const todo = 'Make OwlMQ answer.';
    try {
      const unproven = recordsBetween(provenBy(audited)?.owlmq ?? from.owlmq, await owlmqEnds(owlmq, topics));
      const detail = `${unproven} messages on OwlMQ are not proven yet; what is missing is repaired before anything returns`;
      return { name, ok: true, detail, todo, takes: 'attention' };
    } catch (error) {
      return { name, ok: false, detail: messageOf(error), todo, takes: 'attention' };
    }
  }

  /** With OwlMQ dead nothing can be repaired from it. */
  function completeCheck({ migration, mirror }: WayBackRequest): { check: WayBackCheck; lossAtMost: number } {
    const members = roster.members(migration);
    const away = cutOff(members);
    const incomplete = mirror.incomplete || away.length > 0;
    const since = Math.max(0, acknowledgedByOwlmq(members) - mirror.acknowledged);
    const lossAtMost = incomplete ? mirror.unproven + since : 0;
    const who =
      away.length === 0 ? 'publishers did not reach Kafka for a while' : `${away.join(', ')} did not reach Kafka`;
    return {
      lossAtMost,
      check: {
        name: 'Kafka has everything',
        ok: !incomplete,
        detail: incomplete
          ? `${who}, and OwlMQ does not answer, so that nothing can be repaired: Kafka lacks at most ${lossAtMost} acknowledged messages, by what publishers report`
          : 'no publisher was cut off from Kafka since it was proven last; OwlMQ does not answer: groups go on from the positions noted last',
        todo: 'Make OwlMQ answer, so that they can be repaired; or roll back with force, which leaves them on OwlMQ alone.',
        takes: 'force',
      },
    };
  }

  /** Positions as a rollback would translate them, and how many messages would come again. */
  async function positionsCheck(
    { topics, groups, from, audited }: WayBackRequest,
    signal: AbortSignal,
  ): Promise<{ check: WayBackCheck; redeliveries: number | null }> {
    const check: Omit<WayBackCheck, 'ok' | 'detail'> = {
      name: 'positions can be translated',
      todo: 'See what is refused: a rollback that cannot translate goes by the positions noted last.',
      takes: 'attention',
    };
    try {
      const translations = await translateToKafka({
        ...{ connection: kafka, owlmq, groups, topics, signal },
        ...{ reset: 'earliest', kafkaFrom: from.kafka, proven: provenBy(audited), syncs: {} },
      });
      const partitions = translations.flatMap(({ group, partitions: of }) => of.map((one) => ({ group, ...one })));
      const refused = partitions.filter(({ target }) => target === undefined);
      const redeliveries = partitions.reduce((sum, one) => sum + (one.redeliveries ?? 0), 0);
      const detail =
        refused.length === 0
          ? `${partitions.length} positions, ${redeliveries} messages would come again`
          : refused
              .slice(0, 5)
              .map(
                ({ group, topic, partition, reason }) => `${group} on ${topic}/${partition}: ${reason ?? 'no target'}`,
              )
              .join('; ');
      return { check: { ...check, ok: refused.length === 0, detail }, redeliveries };
    } catch (error) {
      signal.throwIfAborted();
      return { check: { ...check, ok: false, detail: messageOf(error) }, redeliveries: null };
    }
  }
}

function provenBy(audited: readonly unknown[]): MirrorCheckpoint | undefined {
  return audited.length === 0 ? undefined : mergeMirrorCheckpoints(audited as MirrorCheckpoint[]);
}
