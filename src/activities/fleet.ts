import {
  isCountedOut,
  type ConsumerReport,
  type PublisherReport,
  type RosterEntry,
} from '@owlmq/kafka-bridge/operations';
import type { Dependencies } from './dependencies.js';
import { Drain } from './drain.js';
import type {
  AwaitConsumersRequest,
  AwaitPublishersRequest,
  ConsumerFleet,
  MigrationActivities,
  PublisherFleet,
} from './migration-activities.js';
import { untilReady, type Judgement } from './until-ready.js';

type FleetActivities = Pick<MigrationActivities, 'awaitPublishers' | 'awaitConsumers' | 'awaitDrained'>;

/** Steps that wait for the members of the fleet. */
export function fleetActivities(
  dependencies: Pick<Dependencies, 'roster' | 'admin' | 'reader' | 'owlmq'>,
): FleetActivities {
  const { roster } = dependencies;
  return {
    awaitPublishers: (request) =>
      untilReady(async () => {
        return judgePublishers(request, await membersOf(request.migration, 'publisher'));
      }),

    awaitConsumers: (request) =>
      untilReady(async () => {
        return judgeConsumers(request, await membersOf(request.migration, 'consumer'));
      }),

    awaitDrained: async (request) => {
      const drain = new Drain(dependencies, request);
      const drained = await untilReady(() => drain.look());
      // A workflow of an earlier version, on another worker, knows no other answer.
      return request.migration === undefined ? drained.furthest : drained;
    },
  };

  async function membersOf<R extends 'publisher' | 'consumer'>(migration: string, role: R) {
    return present(await roster.readMembers(migration), role);
  }
}

/** Members of a role that have not left, and whether each has been silent for so long that it holds by itself. */
export function present<R extends 'publisher' | 'consumer'>(members: readonly RosterEntry[], role: R) {
  return members
    .filter(({ report }) => report.role === role && report.state !== 'left')
    .map((member) => ({
      report: member.report as R extends 'publisher' ? PublisherReport : ConsumerReport,
      silent: isCountedOut(member),
    }));
}

/** Whether every publisher follows an epoch, and holds with nothing in flight where that is asked. */
export function judgePublishers(
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

/** Whether every consumer of the groups follows an epoch and is in a state, with somebody there to apply. */
export function judgeConsumers(
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
