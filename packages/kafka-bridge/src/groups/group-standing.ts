import { eachLimited } from '../audit/each-limited.js';
import { rootMessages } from '../async/causes.js';
import {
  UndecidedOffsetsError,
  type ClusterAdmin,
  type GroupCommits,
  type KafkaGroup,
} from '../kafka/cluster-admin.js';
import type { Leg } from '../message/headers.js';
import type { CallOptions, GroupDescription, OwlmqApi } from '../owlmq/owlmq-api.js';
import { OwlmqProblemError } from '../owlmq/owlmq-errors.js';

/** Where a group stands on one side: what it is, who is in it, what it has committed. Safe as JSON. */
export interface GroupStanding {
  group: string;
  leg: Leg;
  /**
   * In Kafka `classic` and `consumer` (KIP-848) are groups of consumers; `share` (KIP-932), `streams` (KIP-1071),
   * `connect` and `other` are what else there is. `unknown`: the side does not know the group.
   */
  kind: GroupKind;
  /**
   * In lower case. Kafka: `stable`, `empty`, `preparing-rebalance`, `completing-rebalance`, `assigning`,
   * `reconciling`, `not-ready`, `dead`. OwlMQ: `empty`, `rebalancing`, `stable`. `unknown` where the kind is.
   */
  state: string;
  /** Not asked for, and empty, of kinds other than `classic`, `consumer`, `connect`, `other` and `owlmq`. */
  members: { memberId: string; clientId: string; host?: string }[];
  /** Every commit of the group, whatever the topic: offset of the next record. */
  offsets: GroupCommit[];
  /** Why its offsets cannot be moved at all; absent when they can. Members are no reason: they can be stopped. */
  refusal?: string;
}

type GroupKind = 'classic' | 'consumer' | 'share' | 'streams' | 'connect' | 'other' | 'owlmq' | 'unknown';

interface GroupCommit {
  topic: string;
  partition: number;
  offset: number;
  /** What the committer wrote beside it; only where that is not empty. */
  metadata?: string;
  /** End offset of the partition, where the side tells it with the commit: OwlMQ does. */
  endOffset?: number;
}

/** OwlMQ is asked for each group by itself. */
const OWLMQ_GROUPS_AT_ONCE = 8;

/**
 * Where groups stand in Kafka, in the order given, those that it does not know too. A handful of requests, however many
 * groups they are. Transactional commits are waited for, for five seconds by default; a group where one is still open is
 * refused, and its offsets are those before it.
 *
 * @param options `topics`: by name the number of partitions of the topics that matter: an open transaction is seen on
 *   partitions where something was committed before, and on these.
 */
export async function kafkaGroups(
  admin: ClusterAdmin,
  groups: readonly string[],
  options: { topics?: Readonly<Record<string, number>> } = {},
): Promise<GroupStanding[]> {
  const described = await admin.describeGroups(groups);
  const withOffsets = described.filter((group) => kindOf(group) !== 'unknown' && kindOf(group) !== 'share');
  const commits = await admin.committedOffsets(
    withOffsets.map(({ name }) => name),
    options.topics,
  );
  return described.map((group) => kafkaStanding(group, commits.get(group.name)));
}

/**
 * Where groups stand on OwlMQ, in the order given, those that it does not know too.
 *
 * @throws {AggregateError} of what the calls failed with.
 */
export async function owlmqGroups(
  owlmq: OwlmqApi,
  groups: readonly string[],
  options?: CallOptions,
): Promise<GroupStanding[]> {
  const found = new Map<string, GroupStanding>();
  const errors = await eachLimited(
    groups,
    OWLMQ_GROUPS_AT_ONCE,
    async (group) => {
      found.set(group, await owlmqStanding(owlmq, group, options));
    },
    () => true,
  );
  if (errors.length > 0) throw new AggregateError(errors, [...new Set(errors.flatMap(rootMessages))].join('; '));
  return groups.flatMap((group) => found.get(group) ?? []);
}

function kafkaStanding(group: KafkaGroup, commits: GroupCommits | undefined): GroupStanding {
  const kind = kindOf(group);
  const refusal = refusalOf(group, kind, commits);
  return {
    group: group.name,
    leg: 'kafka',
    kind,
    state: kind === 'unknown' ? 'unknown' : group.state,
    members: group.members.map(({ memberId, clientId, clientHost }) => ({
      memberId,
      clientId,
      host: clientHost.replace(/^\//, ''),
    })),
    offsets: (commits?.offsets ?? []).map(({ topic, partition, offset, metadata }) => ({
      topic,
      partition,
      offset,
      ...(metadata === '' ? {} : { metadata }),
    })),
    ...(refusal === undefined ? {} : { refusal }),
  };
}

function kindOf({ type, protocolType }: KafkaGroup): GroupKind {
  switch (type) {
    case undefined:
      return 'unknown';
    case 'classic':
      // A group whose offsets were committed without members has no protocol.
      if (protocolType === 'consumer' || protocolType === '') return 'classic';
      return protocolType === 'connect' ? 'connect' : 'other';
    case 'consumer':
    case 'share':
    case 'streams':
      return type;
    default:
      return 'other';
  }
}

function refusalOf(group: KafkaGroup, kind: GroupKind, commits: GroupCommits | undefined): string | undefined {
  switch (kind) {
    case 'share':
      return 'it is a share group (KIP-932): its records are acknowledged one by one, so there is no committed offset of a partition';
    case 'streams':
      return 'it is a group of Kafka Streams (KIP-1071): its offsets belong to the state of its tasks, which are not moved';
    case 'connect':
      return 'it is a group of Kafka Connect workers: they share out connectors, and commit no offsets of topics in it';
    case 'other':
      return group.type === 'classic'
        ? `its members are no consumers: they speak the protocol "${group.protocolType}"`
        : `it is of the type "${group.type ?? ''}", which this version does not know`;
    case 'classic':
    case 'consumer':
      if (group.state === 'dead') return 'Kafka is just removing it, or changing its kind: try again in a moment';
      if (commits !== undefined && commits.undecided.length > 0) {
        return new UndecidedOffsetsError(group.name, commits.undecided).message;
      }
      return undefined;
    case 'owlmq':
    case 'unknown':
      return undefined;
  }
}

async function owlmqStanding(owlmq: OwlmqApi, group: string, options?: CallOptions): Promise<GroupStanding> {
  const unknown: GroupStanding = { group, leg: 'owlmq', kind: 'unknown', state: 'unknown', members: [], offsets: [] };
  let found: GroupDescription | undefined;
  try {
    found = await owlmq.describeGroup(group, options);
  } catch (error) {
    // Kafka takes any text for a name.
    if (!(error instanceof OwlmqProblemError) || error.type !== 'invalid-request') throw error;
    return { ...unknown, refusal: `its name is none that OwlMQ takes (${error.problem.detail})` };
  }
  if (found === undefined) return unknown;
  return {
    group,
    leg: 'owlmq',
    kind: 'owlmq',
    state: found.state,
    members: found.members.map(({ memberId, clientId }) => ({ memberId, clientId })),
    offsets: found.offsets.map(({ topic, partition, offset, endOffset }) => ({ topic, partition, offset, endOffset })),
  };
}
