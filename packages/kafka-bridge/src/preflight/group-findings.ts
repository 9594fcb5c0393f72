import { bypassingMembers } from '../groups/bypassing-members.js';
import { kafkaGroups } from '../groups/group-standing.js';
import type { ClusterAdmin } from '../kafka/cluster-admin.js';
import type { RosterEntry } from '../members/member-roster.js';
import type { RoutingState } from '../routing/routing-state.js';
import type { PreflightRequest } from '../playbook/preflight-request.js';
import type { Finding } from './finding.js';
import type { TopicsInKafka } from './preflight.js';

/** Groups that there are not, or that cannot be moved as they are. */
export async function groupFindings(
  { groups, external = [], topics: moved }: Pick<PreflightRequest, 'groups' | 'external' | 'topics'>,
  topics: TopicsInKafka['topics'],
  admin: ClusterAdmin,
  reported: readonly RosterEntry[] | undefined,
): Promise<Finding[]> {
  const standings = await kafkaGroups(admin, groups, { topics });
  const unknown = standings.some(({ kind }) => kind === 'unknown');
  const names = unknown ? (await admin.listGroups()).map(({ name }) => name).slice(0, 20) : [];
  return standings.flatMap(({ group, kind, refusal, offsets, members }): Finding[] => {
    if (kind === 'unknown') {
      return [
        {
          kind: 'input',
          what: `Consumer group ${group} does not exist in Kafka.`,
          todo: `Correct the name, or let the group consume once. Groups there: ${names.join(', ') || 'none'}.`,
        },
      ];
    }
    if (refusal !== undefined) {
      const todo = 'Mend that, or leave the group out: its positions cannot be moved.';
      return [{ kind: 'state', what: `Group ${group} of Kafka: ${refusal}.`, todo }];
    }
    if (kind !== 'classic') {
      return [
        {
          kind: 'input',
          what: `Consumer group ${group} is of the type "${kind}", which DualConsumer does not join.`,
          todo: 'Move the group to the classic protocol first.',
        },
      ];
    }
    const findings: Finding[] = [];
    const others = [...new Set(offsets.map(({ topic }) => topic).filter((topic) => !moved.includes(topic)))];
    if (others.length > 0) {
      findings.push({
        kind: 'warning',
        what: `Group ${group} has committed on topics that are not moved: ${others.slice(0, 10).join(', ')}.`,
        todo: 'Add them to topics, or see that the group does not consume them any more: from the cutover on it consumes OwlMQ alone.',
      });
    }
    if (members.length === 0) {
      findings.push({
        kind: 'warning',
        what: `Group ${group} has no members in Kafka.`,
        todo: 'Start its consumers before the soak: without them there is nothing to compare.',
      });
    }
    const judged = reported !== undefined && !external.includes(group);
    const bypassing = judged ? bypassingMembers({ group, members }, reported) : undefined;
    if (bypassing !== undefined && bypassing !== '') {
      findings.push({
        kind: 'warning',
        what: `Group ${group} has members in Kafka that do not report to this migration: ${bypassing}.`,
        todo: 'Deploy DualConsumer to them before the cutover, or stop them: it waits for that.',
      });
    }
    if (offsets.every(({ topic, metadata }) => topics[topic] === undefined || metadata === undefined)) return findings;
    return [
      ...findings,
      {
        kind: 'warning',
        what: `Group ${group} keeps metadata with its commits, and OwlMQ keeps none.`,
        todo: 'Make sure that its consumers can do without.',
      },
    ];
  });
}

/** A measurement of noise uses groups in Kafka that nobody else may be in. */
export async function shadowGroupFindings(
  request: PreflightRequest,
  standing: readonly RoutingState[],
  admin: Pick<ClusterAdmin, 'listGroups'>,
): Promise<Finding[]> {
  // Of a run before, whose shadows still measure: they are the same.
  const own = standing.some(({ migration, shadow }) => migration === request.migration && shadow === 'noise');
  if (request.noise !== true || own) return [];
  const known = await admin.listGroups();
  const taken = request.groups.filter((group) =>
    known.some(({ name, state }) => name === `${group}.shadow` && !/^(empty|dead)$/i.test(state)),
  );
  return taken.map((group) => ({
    kind: 'state',
    what: `Group ${group}.shadow has members in Kafka, and noise is measured in a group of that name.`,
    todo: `Give them another group, or start the migration without noise.`,
  }));
}
