import { setTimeout as sleep } from 'node:timers/promises';
import { isCountedOut, type ConsumerReport, type PublisherReport } from '@owlmq/kafka-bridge/operations';
import type { Dependencies } from './dependencies.js';
import { attemptDeadline, withHeartbeat } from './heartbeat.js';
import type {
  AwaitConsumersRequest,
  AwaitDrainedRequest,
  AwaitPublishersRequest,
  ConsumerFleet,
  MigrationActivities,
  PublisherFleet,
} from './migration-activities.js';

const POLL_MS = 20;

/** The fleet, or a group, did not do what was asked in the time of the attempt. Says who and what. */
class FleetNotReadyError extends Error {
  override readonly name = 'FleetNotReadyError';
}

type FleetActivities = Pick<MigrationActivities, 'awaitPublishers' | 'awaitConsumers' | 'awaitDrained'>;

/** Steps that wait for the members of the fleet. */
export function fleetActivities({
  roster,
  admin,
  reader,
  owlmq,
}: Pick<Dependencies, 'roster' | 'admin' | 'reader' | 'owlmq'>): FleetActivities {
  return {
    awaitPublishers: (request) =>
      untilReady(async () => {
        return judgePublishers(request, await membersOf(request.migration, 'publisher'));
      }),

    awaitConsumers: (request) =>
      untilReady(async () => {
        return judgeConsumers(request, await membersOf(request.migration, 'consumer'));
      }),

    awaitDrained: (request) =>
      untilReady(async () => {
        const { behind, furthest } = await drained(request);
        return behind.length === 0 ? { ready: furthest } : { waitFor: behind };
      }),
  };

  async function membersOf<R extends 'publisher' | 'consumer'>(migration: string, role: R) {
    const members = await roster.readMembers(migration);
    const present = members.filter(({ report }) => report.role === role && report.state !== 'left');
    return present.map((member) => ({
      report: member.report as R extends 'publisher' ? PublisherReport : ConsumerReport,
      silent: isCountedOut(member),
    }));
  }

  /** Partitions of groups with less committed than wanted, in words; and the highest commits of any group. */
  async function drained({ leg, groups, offsets }: AwaitDrainedRequest) {
    const behind: string[] = [];
    const furthest = structuredClone(offsets);
    for (const group of groups) {
      const committed =
        leg === 'kafka'
          ? await admin.groupOffsets(group, partitionCounts(offsets))
          : await owlmqCommits(group, Object.keys(offsets));
      for (const [topic, wanted] of Object.entries(offsets)) {
        for (const [partition, offset] of wanted.entries()) {
          const reached = committed[topic]?.[partition];
          const highest = furthest[topic];
          if (highest !== undefined) highest[partition] = Math.max(highest[partition] ?? 0, reached ?? 0);
          if (reached !== undefined && reached >= offset) continue;
          // A group commits nothing on a partition that never held anything for it.
          if (reached === undefined && (await beginOf(leg, topic, partition)) >= offset) continue;
          behind.push(`${group} on ${topic}/${partition}: committed ${reached ?? 'nothing'}, fence ${offset}`);
        }
      }
    }
    return { behind, furthest };
  }

  async function owlmqCommits(group: string, topics: string[]): Promise<Record<string, (number | undefined)[]>> {
    const committed: Record<string, (number | undefined)[]> = Object.fromEntries(topics.map((topic) => [topic, []]));
    for (const { topic, partition, offset } of (await owlmq.describeGroup(group))?.offsets ?? []) {
      const partitions = committed[topic];
      if (partitions !== undefined) partitions[partition] = offset;
    }
    return committed;
  }

  async function beginOf(leg: 'kafka' | 'owlmq', topic: string, partition: number): Promise<number> {
    if (leg === 'kafka') return (await reader.bounds(topic))[partition]?.beginOffset ?? 0;
    return (await owlmq.describeTopic(topic))?.partitions[partition]?.beginOffset ?? 0;
  }
}

type Judgement<T> = { ready: T } | { waitFor: string[] };

/** Asks until it is ready, for as long as the attempt may take. */
async function untilReady<T>(ask: () => Promise<Judgement<T>>): Promise<T> {
  return await withHeartbeat<T, string[]>(async ({ signal, record }) => {
    const deadline = attemptDeadline();
    for (;;) {
      signal.throwIfAborted();
      const judgement = await ask();
      if ('ready' in judgement) return judgement.ready;
      // Shown in the UI with the pending activity.
      record(judgement.waitFor.slice(0, 20));
      if (performance.now() > deadline)
        throw new FleetNotReadyError(`Still waiting for ${judgement.waitFor.join('; ')}`);
      await sleep(POLL_MS, undefined, { signal });
    }
  });
}

function judgePublishers(
  { epoch, fenced }: AwaitPublishersRequest,
  members: { report: PublisherReport; silent: boolean }[],
): Judgement<PublisherFleet> {
  const follows = (report: PublisherReport): boolean =>
    report.epoch >= epoch && (!fenced || (report.state === 'fenced' && report.inFlight === 0));
  const pending = members.filter(({ report, silent }) => !silent && !follows(report));
  if (pending.length > 0) {
    const waitFor = pending.map(
      ({ report }) => `${report.instance} (${report.state}, epoch ${report.epoch}, ${report.inFlight} in flight)`,
    );
    return { waitFor };
  }
  // One that is silent past its lease holds its publishes by itself.
  const reports = members.filter(({ silent }) => !silent).map(({ report }) => report);
  const sum = (value: (report: PublisherReport) => number): number =>
    reports.reduce((total, report) => total + value(report), 0);
  return {
    ready: {
      acknowledged: reports.length,
      silent: members.filter(({ silent }) => silent).map(({ report }) => report.instance),
      longestHoldMs: Math.max(0, ...reports.map(({ longestHoldMs }) => longestHoldMs)),
      kafkaMessages: sum(({ kafka }) => kafka.messages),
      owlmqMessages: sum(({ owlmq }) => owlmq.messages),
      dropped: sum(({ dropped }) => dropped),
      backlog: sum(({ backlog }) => backlog),
      degraded: reports.filter(({ mirrorDegraded }) => mirrorDegraded).map(({ instance }) => instance),
    },
  };
}

function judgeConsumers(
  { epoch, groups, state, shadow }: AwaitConsumersRequest,
  members: { report: ConsumerReport; silent: boolean }[],
): Judgement<ConsumerFleet> {
  const waitFor: string[] = [];
  const fleet: ConsumerFleet = { groups: {}, silent: [] };
  for (const group of groups) {
    const ofGroup = members.filter(({ report }) => report.group === group);
    const reports = ofGroup.filter(({ silent }) => !silent).map(({ report }) => report);
    fleet.silent.push(...ofGroup.filter(({ silent }) => silent).map(({ report }) => report.instance));
    const live = reports.filter(({ only }) => only !== 'shadow');
    const shadows = reports.filter(({ only }) => only !== 'live');
    for (const report of reports) {
      const follows = report.only === 'shadow' || report.state === state;
      const lacksShadow = shadow && report.only !== 'live' && !report.shadow;
      if (report.epoch >= epoch && follows && !lacksShadow) continue;
      waitFor.push(
        `${report.instance} of ${group} (${report.state}, epoch ${report.epoch}${lacksShadow ? ', no shadow' : ''})`,
      );
    }
    // Nobody is needed to apply nothing, but somebody to apply.
    if (live.length === 0 && state !== 'drained') waitFor.push(`a consumer of group ${group}: none reports`);
    else if (shadow && shadows.length === 0) waitFor.push(`a shadow of group ${group}: none reports`);
    fleet.groups[group] = {
      members: reports.length,
      applied: reports.reduce((total, { applied }) => total + applied, 0),
    };
  }
  return waitFor.length > 0 ? { waitFor } : { ready: fleet };
}

function partitionCounts(offsets: Record<string, number[]>): Record<string, number> {
  return Object.fromEntries(Object.entries(offsets).map(([topic, partitions]) => [topic, partitions.length]));
}
