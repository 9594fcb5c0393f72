import {
  consumerGroupDescribeV0,
  createAPI,
  describeGroupsV5,
  leaveGroupV4,
  leaveGroupV5,
  offsetCommitV8,
  offsetCommitV9,
  offsetFetchV8,
  offsetFetchV9,
  type Admin,
  type Reader,
} from '@platformatic/kafka';
import { atCoordinators, spoken } from './group-coordinators.js';
import { brokerError } from './passing-errors.js';

/*
 * Requests about many groups at once. The client's own Admin describes classic groups alone, takes apart what members
 * say in a protocol that it may not know, and fails as a whole when one partition of one group has an error.
 */

/** A member of a group, as its coordinator knows it. */
export interface KafkaGroupMember {
  memberId: string;
  clientId: string;
  clientHost: string;
}

/** What a coordinator says of a group. */
export interface DescribedGroup {
  group: string;
  /** As Kafka spells it: `PreparingRebalance`. `Dead`, too, when there is no such group of the kind asked for. */
  state: string;
  members: KafkaGroupMember[];
}

/** Which offsets of a group are wanted: those of every topic, unless topics are named. */
export interface WantedOffsets {
  group: string;
  topics?: { name: string; partitionIndexes: number[] }[];
}

/** What a group has committed on one partition; -1 for nothing, and where an error is. */
interface FetchedOffset {
  topic: string;
  partition: number;
  offset: number;
  metadata: string;
  errorCode: number;
}

/** A partition whose offset was not taken, with the broker's error. */
export interface UntakenOffset {
  topic: string;
  partition: number;
  errorCode: number;
}

const OFFSET_COMMIT = 8;
const OFFSET_FETCH = 9;
const LEAVE_GROUP = 13;
const CONSUMER_GROUP_DESCRIBE = 69;

const NO_ERROR = 0;
const GROUP_ID_NOT_FOUND = 69;
const UNKNOWN_MEMBER_ID = 25;
/** The coordinator loads, is not there, or is another one: ask again. It has done nothing. */
const COORDINATOR_AWAY: ReadonlySet<number> = new Set([14, 15, 16]);

/** State and members of groups of the classic protocol, whatever their members speak among themselves. */
export async function describeClassic(admin: Admin, groups: readonly string[]): Promise<DescribedGroup[]> {
  return await atCoordinators(admin, groups, async (connection, some) => {
    const answer = await describeGroupsV5.api.async(connection, some, false);
    return answer.groups.map(({ groupId, groupState, members }) => ({ group: groupId, state: groupState, members }));
  });
}

/** State and members of groups of KIP-848's protocol, whose classic description says `Dead`. */
export async function describeConsumer(admin: Admin, groups: readonly string[]): Promise<DescribedGroup[]> {
  return await atCoordinators(admin, groups, (connection, some) =>
    consumerGroupDescribe.async(connection, some, false),
  );
}

/**
 * Committed offsets of groups. Topics that the client may not describe are left out by the broker where none are named.
 *
 * @param requireStable a partition with a pending transactional commit is answered with UNSTABLE_OFFSET_COMMIT.
 */
export async function fetchOffsets(
  admin: Admin,
  wanted: readonly WantedOffsets[],
  requireStable: boolean,
): Promise<{ group: string; offsets: FetchedOffset[] }[]> {
  const api = await spoken(admin, OFFSET_FETCH, offsetFetches);
  const topicsOf = new Map(wanted.map(({ group, topics }) => [group, topics]));
  return await atCoordinators(admin, [...topicsOf.keys()], (connection, some) => {
    const groups = some.map((groupId) => ({ groupId, memberId: null, memberEpoch: -1, topics: topicsOf.get(groupId) }));
    return api.async(connection, groups, requireStable);
  });
}

/** Commits offsets of a group without members; the coordinator refuses those of a group with members. */
export async function commitOffsets(
  admin: Admin,
  group: string,
  offsets: readonly { topic: string; partition: number; offset: number }[],
): Promise<UntakenOffset[]> {
  const api = await spoken(admin, OFFSET_COMMIT, offsetCommits);
  const partitionsOf = new Map<string, CommitTopics[number]['partitions']>();
  for (const { topic, partition, offset } of offsets) {
    const partitions = partitionsOf.get(topic) ?? [];
    partitionsOf.set(topic, partitions);
    partitions.push({
      partitionIndex: partition,
      committedOffset: BigInt(offset),
      committedLeaderEpoch: -1,
      committedMetadata: null,
    });
  }
  const topics = [...partitionsOf].map(([name, partitions]) => ({ name, partitions }));
  return await atCoordinators(admin, [group], (connection) => api.async(connection, group, -1, '', null, topics));
}

/** Takes members out of a group of the classic protocol, as if they had left it. Those that are not in it are passed over. */
export async function leaveGroup(admin: Admin, group: string, memberIds: readonly string[]): Promise<void> {
  const api = await spoken(admin, LEAVE_GROUP, leaves);
  const members = memberIds.map((memberId) => ({
    memberId,
    groupInstanceId: null,
    reason: 'counted out of the fleet',
  }));
  await atCoordinators(admin, [group], (connection) => api.async(connection, group, members));
}

type CommitTopics = Parameters<typeof offsetCommitV9.createRequest>[4];

/** The client's own parser of this answer takes a list of topics for one name. */
const consumerGroupDescribe = createAPI<[groups: string[], authorizedOperations: boolean], DescribedGroup[]>(
  CONSUMER_GROUP_DESCRIBE,
  0,
  consumerGroupDescribeV0.createRequest,
  (_id, _key, _version, reader) => {
    reader.readInt32();
    return reader.readArray((groups) => {
      const errorCode = groups.readInt16();
      groups.readNullableString();
      const group = groups.readString();
      const state = groups.readString();
      groups.readInt32();
      groups.readInt32();
      groups.readString();
      const members = groups.readArray(consumerMember);
      groups.readInt32();
      if (errorCode === GROUP_ID_NOT_FOUND) return { group, state: 'Dead', members: [] };
      if (errorCode !== NO_ERROR) throw brokerError(errorCode);
      return { group, state, members };
    });
  },
);

function consumerMember(reader: Reader): KafkaGroupMember {
  const memberId = reader.readString();
  reader.readNullableString();
  reader.readNullableString();
  reader.readInt32();
  const clientId = reader.readString();
  const clientHost = reader.readString();
  reader.readArray((topics) => topics.readString(), true, false);
  reader.readNullableString();
  skipAssignment(reader);
  skipAssignment(reader);
  return { memberId, clientId, clientHost };
}

function skipAssignment(reader: Reader): void {
  reader.readArray((topics) => {
    topics.readUUID();
    topics.readString();
    topics.readArray((partitions) => partitions.readInt32(), true, false);
  });
  reader.readTaggedFields();
}

/** The versions that name topics by name, the newest first. Their answers have the same layout. */
const offsetFetches = new Map([
  [9, offsetFetch(9, offsetFetchV9.createRequest)],
  [8, offsetFetch(8, offsetFetchV8.createRequest)],
]);

function offsetFetch(version: number, createRequest: typeof offsetFetchV9.createRequest) {
  return createAPI<Parameters<typeof createRequest>, { group: string; offsets: FetchedOffset[] }[]>(
    OFFSET_FETCH,
    version,
    createRequest,
    (_id, _key, _version, reader) => {
      reader.readInt32();
      return reader.readArray((groups) => {
        const group = groups.readString();
        const offsets = groups.readArray((topics) => {
          const topic = topics.readString();
          return topics.readArray((each) => {
            const partition = each.readInt32();
            const offset = Number(each.readInt64());
            each.readInt32();
            return { topic, partition, offset, metadata: each.readNullableString() ?? '', errorCode: each.readInt16() };
          });
        });
        const errorCode = groups.readInt16();
        if (errorCode !== NO_ERROR) throw brokerError(errorCode);
        return { group, offsets: offsets.flat() };
      });
    },
  );
}

/** The versions that name topics by name, the newest first. Their answers have the same layout. */
const offsetCommits = new Map([
  [9, offsetCommit(9, offsetCommitV9.createRequest)],
  [8, offsetCommit(8, offsetCommitV8.createRequest)],
]);

function offsetCommit(version: number, createRequest: typeof offsetCommitV9.createRequest) {
  return createAPI<Parameters<typeof createRequest>, UntakenOffset[]>(
    OFFSET_COMMIT,
    version,
    createRequest,
    (_id, _key, _version, reader) => {
      reader.readInt32();
      const answers = reader.readArray((topics) => {
        const topic = topics.readString();
        return topics.readArray((each) => ({ topic, partition: each.readInt32(), errorCode: each.readInt16() }));
      });
      const untaken = answers.flat().filter(({ errorCode }) => errorCode !== NO_ERROR);
      const away = untaken.find(({ errorCode }) => COORDINATOR_AWAY.has(errorCode));
      if (away !== undefined) throw brokerError(away.errorCode);
      return untaken;
    },
  );
}

/** The newest first. Their answers have the same layout. */
const leaves = new Map([
  [5, leave(5, leaveGroupV5.createRequest)],
  [4, leave(4, leaveGroupV4.createRequest)],
]);

function leave(version: number, createRequest: typeof leaveGroupV5.createRequest) {
  return createAPI<Parameters<typeof createRequest>, string[]>(
    LEAVE_GROUP,
    version,
    createRequest,
    (_id, _key, _version, reader) => {
      reader.readInt32();
      const errorCode = reader.readInt16();
      if (errorCode !== NO_ERROR) throw brokerError(errorCode);
      const left = reader.readArray((members) => {
        const memberId = members.readNullableString() ?? '';
        members.readNullableString();
        return { memberId, errorCode: members.readInt16() };
      });
      const failed = left.find((one) => one.errorCode !== NO_ERROR && one.errorCode !== UNKNOWN_MEMBER_ID);
      if (failed !== undefined) throw brokerError(failed.errorCode);
      return left.map(({ memberId }) => memberId);
    },
  );
}
