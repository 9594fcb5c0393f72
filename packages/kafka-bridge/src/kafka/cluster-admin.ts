import { Admin, ConfigResourceTypes } from '@platformatic/kafka';
import { backoffMs, pause } from '../async/bounded.js';
import { authorizedOnGroups, authorizedOnTopics, creatableTopics, type Authorized } from './authorized-operations.js';
import { persistently } from './group-coordinators.js';
import {
  commitOffsets,
  describeClassic,
  describeConsumer,
  fetchOffsets,
  leaveGroup,
  type KafkaGroupMember,
  type UntakenOffset,
  type WantedOffsets,
} from './group-requests.js';
import { directClientOptions, type KafkaConnection } from './kafka-connection.js';
import { brokerError } from './passing-errors.js';
import type { TopicOffsets } from '../routing/routing-state.js';

/** A group as the brokers list it. */
export interface ListedKafkaGroup {
  name: string;
  /** In lower case: `classic`, `consumer` (KIP-848), `share` (KIP-932), `streams` (KIP-1071), or what came later. */
  type: string;
  /** What members of a classic group speak: `consumer`, `connect`, …; empty where offsets were committed without members. */
  protocolType: string;
  /** In lower case, with hyphens: `stable`, `empty`, `preparing-rebalance`, … */
  state: string;
}

/** A group as its coordinator sees it. */
export interface KafkaGroup extends Omit<ListedKafkaGroup, 'type'> {
  /** Undefined for a group that the cluster does not know; its state is `dead`. */
  type: string | undefined;
  /** Not asked for, and empty, of types other than `classic` and `consumer`. */
  members: KafkaGroupMember[];
}

/** What a group has committed on a partition: offset of the next record. */
export interface CommittedOffset {
  topic: string;
  partition: number;
  offset: number;
  /** What the committer wrote beside it; empty mostly. */
  metadata: string;
}

/** `offsets[topic][partition]`, undefined where nothing was committed. */
type OffsetsByTopic = Record<string, (number | undefined)[]>;

/** Everything that a group has committed. */
export interface GroupCommits {
  /** Topics that the client may not describe are left out by Kafka. */
  offsets: CommittedOffset[];
  /** Partitions, as TOPIC/PARTITION, with a transactional commit that is not decided: the offset is the one before it. */
  undecided: string[];
}

/** The group has members, so that its offsets cannot be set: stop them first. */
export class KafkaGroupNotEmptyError extends Error {
  override readonly name = 'KafkaGroupNotEmptyError';
  constructor(
    readonly group: string,
    /** In words: client id, host and member id. */
    readonly members: readonly string[],
    options?: ErrorOptions,
  ) {
    super(
      members.length === 0
        ? `Kafka group ${group} had members a moment ago: try again.`
        : `Kafka group ${group} still has members (${members.join(', ')}): stop them first.`,
      options,
    );
  }
}

/** Kafka has not taken offsets of a group, for another reason than its members. */
export class KafkaOffsetsNotTakenError extends Error {
  override readonly name = 'KafkaOffsetsNotTakenError';
  constructor(
    readonly group: string,
    readonly partitions: readonly { topic: string; partition: number; reason: string }[],
    /** Whether the other partitions that were to be set have been. */
    readonly othersSet: boolean,
    options?: ErrorOptions,
  ) {
    const named = partitions.map(({ topic, partition, reason }) => `${topic}/${partition}: ${reason}`);
    super(
      `Kafka has not taken offsets of group ${group} (${someOf(named, '; ')}). ${othersSet ? 'The other partitions are set: put this right and do it again.' : 'Nothing is set.'}`,
      options,
    );
  }
}

/** Offsets were committed in a transaction that is neither committed nor aborted, for as long as it was waited. */
export class UndecidedOffsetsError extends Error {
  override readonly name = 'UndecidedOffsetsError';
  constructor(
    readonly group: string,
    readonly partitions: readonly string[],
  ) {
    super(
      `Kafka group ${group} has committed in a transaction that is still open, on ${someOf(partitions)}. Stop what writes it, or wait until Kafka ends it (transaction.timeout.ms), and try again.`,
    );
  }
}

/** After an import the broker answered other offsets than those written. */
export class OffsetReadBackError extends Error {
  override readonly name = 'OffsetReadBackError';
}

const COORDINATOR_NOT_AVAILABLE = 15;
const GROUP_ID_NOT_FOUND = 69;
const UNSTABLE_OFFSET_COMMIT = 88;

/**
 * How Kafka says that a group has members, or is about to: UNKNOWN_MEMBER_ID and ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS,
 * NON_EMPTY_GROUP, FENCED_INSTANCE_ID, GROUP_SUBSCRIBED_TO_TOPIC, FENCED_MEMBER_EPOCH, STALE_MEMBER_EPOCH.
 */
const IN_USE: ReadonlySet<number> = new Set([25, 22, 27, 68, 82, 86, 110, 113]);

/**
 * Administrative calls to Kafka. Group offsets go through one OffsetCommit request a group, which a group with members
 * refuses; kafkajs's `setOffsets` joins the group, and takes partitions from a live KIP-848 group.
 */
export class ClusterAdmin {
  readonly #admin: Admin;
  readonly #decidedWithinMs: number;
  /** Who this client is to Kafka, as ACLs name it; undefined where the connection does not tell. */
  readonly principal: string | undefined;

  /** @param options `decidedWithinMs`: how long transactional commits are waited for (default 5,000). */
  constructor(connection: KafkaConnection, options: { clientId: string; decidedWithinMs?: number }) {
    const { sasl } = connection;
    this.principal = sasl !== undefined && 'username' in sasl ? `User:${sasl.username}` : undefined;
    this.#decidedWithinMs = options.decidedWithinMs ?? 5_000;
    this.#admin = new Admin({
      ...directClientOptions(connection, options.clientId),
      timeout: 15_000,
      retries: 3,
      retryDelay: 300,
      metadataMaxAge: 5_000,
    });
  }

  /** Names of all topics but Kafka's internal ones. */
  async listTopics(): Promise<string[]> {
    return await this.#admin.listTopics();
  }

  /** What this client may do with topics, by name. */
  async authorizedOnTopics(topics: readonly string[]): Promise<ReadonlyMap<string, Authorized>> {
    return await authorizedOnTopics(this.#admin, topics);
  }

  /** What this client may do with consumer groups, by name; of those that do not exist, too. */
  async authorizedOnGroups(groups: readonly string[]): Promise<ReadonlyMap<string, Authorized>> {
    return await authorizedOnGroups(this.#admin, groups);
  }

  /** Those of the topics that this client may create, or that are there already. Creates none. */
  async creatableTopics(topics: readonly string[]): Promise<ReadonlySet<string>> {
    return await creatableTopics(this.#admin, topics);
  }

  /** Creates a topic; resolves false when it exists. */
  async createTopic(
    topic: string,
    options: { partitions: number; configs?: Record<string, string>; replicas?: number },
  ): Promise<boolean> {
    if ((await this.listTopics()).includes(topic)) return false;
    try {
      await this.#admin.createTopics({
        topics: [topic],
        partitions: options.partitions,
        // The cluster's own default.
        replicas: options.replicas ?? -1,
        configs: Object.entries(options.configs ?? {}).map(([name, value]) => ({ name, value })),
      });
      return true;
    } catch (error) {
      // Several members may start at once and create it together; the list may not show the other's topic yet.
      if (saysTopicExists(error)) return false;
      throw error;
    }
  }

  /** Configuration of a topic by name; values that Kafka hides are left out. */
  async topicConfig(topic: string): Promise<Record<string, string>> {
    const [found] = await this.#admin.describeConfigs({
      resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic }],
    });
    const config: Record<string, string> = {};
    for (const { name, value } of found?.configs ?? []) {
      if (typeof value === 'string') config[name] = value;
    }
    return config;
  }

  /**
   * Every group of the cluster, of each type; but for one with an empty name, which nothing can be asked of. A broker
   * that goes or comes leaves out the groups that it coordinates, without an error: whether a group is not there
   * `describeGroups` knows.
   */
  async listGroups(): Promise<ListedKafkaGroup[]> {
    // Without types the client asks for classic groups alone.
    const groups = await persistently(this.#admin, () => this.#admin.listGroups({ types: [] }));
    return [...groups.values()]
      .filter(({ id }) => id !== '')
      .map(({ id, groupType, protocolType, state }) => ({
        name: id,
        // Brokers that do not know of types have classic groups alone.
        type: (groupType as string | undefined)?.toLowerCase() ?? 'classic',
        protocolType,
        state: stateWords(state),
      }));
  }

  /** State and members of a group. */
  async describeGroup(group: string): Promise<KafkaGroup> {
    return (await this.describeGroups([group]))[0] ?? unknownGroup(group);
  }

  /** State and members of groups, in the order given. Costs a few requests, not one a group. */
  async describeGroups(groups: readonly string[]): Promise<KafkaGroup[]> {
    const listed = await this.#listed(groups);
    const ofType = (type: string): string[] => [...new Set(groups)].filter((name) => listed.get(name)?.type === type);
    const answers = await Promise.all([
      describeClassic(this.#admin, ofType('classic')),
      describeConsumer(this.#admin, ofType('consumer')),
    ]);
    const described = new Map(answers.flat().map((group) => [group.group, group]));
    return groups.map((name) => {
      const found = listed.get(name);
      if (found === undefined) return unknownGroup(name);
      const seen = described.get(name);
      if (seen === undefined) return { ...found, members: [] };
      // State and members of the same moment.
      return {
        ...found,
        state: stateWords(seen.state),
        members: seen.members.map(({ memberId, clientId, clientHost }) => ({ memberId, clientId, clientHost })),
      };
    });
  }

  /**
   * Takes members out of a classic group, as if they had left it: their partitions are free at once, where a member that
   * died holds them for its session timeout. What such a member commits after it is refused. For members that are known
   * to be dead or to hold by themselves, and for no others.
   */
  async removeMembers(group: string, memberIds: readonly string[]): Promise<void> {
    if (memberIds.length > 0) await leaveGroup(this.#admin, group, memberIds);
  }

  async #listed(groups: readonly string[]): Promise<Map<string, ListedKafkaGroup>> {
    const list = async () => new Map((await this.listGroups()).map((group) => [group.name, group]));
    const listed = await list();
    const missing = groups.filter((group) => !listed.has(group));
    if (missing.length === 0) return listed;
    // Any answer proves that their coordinators are there: what is then not listed does not exist.
    await describeClassic(this.#admin, missing);
    return await list();
  }

  /**
   * Everything that groups have committed, on every topic; nothing for groups that the cluster does not know. Waits for
   * transactional commits to be decided, for five seconds by default.
   *
   * @param topics by name the number of partitions: Kafka tells of a transactional commit on a partition without an
   *   earlier one only where the partition is named.
   */
  async committedOffsets(
    groups: readonly string[],
    topics: Readonly<Record<string, number>> = {},
  ): Promise<Map<string, GroupCommits>> {
    const names = [...new Set(groups)];
    const commits = await this.#commits(names.map((group) => ({ group })));
    if (Object.keys(topics).length === 0) return commits;
    // What was waited for once is not waited for again.
    const decided = names.filter((group) => commits.get(group)?.undecided.length === 0);
    const named = await this.#commits(decided.map((group) => ({ group, topics: wholeTopics(topics) })));
    for (const [group, found] of named) {
      const others = commits.get(group)?.offsets.filter(({ topic }) => topics[topic] === undefined) ?? [];
      commits.set(group, { offsets: [...others, ...found.offsets], undecided: found.undecided });
    }
    return commits;
  }

  /**
   * Committed offsets of a group on whole topics: `offsets[topic][partition]`, undefined where nothing was committed.
   * Unknown is not zero.
   *
   * @throws {UndecidedOffsetsError} when a transactional commit is not decided within five seconds.
   */
  async groupOffsets(group: string, topics: Readonly<Record<string, number>>): Promise<OffsetsByTopic> {
    return (await this.offsetsOfGroups([group], topics)).get(group) ?? {};
  }

  /** The same of many groups, in one request a broker. */
  async offsetsOfGroups(
    groups: readonly string[],
    topics: Readonly<Record<string, number>>,
  ): Promise<Map<string, OffsetsByTopic>> {
    const found = await this.#commits(groups.map((group) => ({ group, topics: wholeTopics(topics) })));
    return new Map(
      groups.map((group) => {
        const { offsets = [], undecided = [] } = found.get(group) ?? {};
        if (undecided.length > 0) throw new UndecidedOffsetsError(group, undecided);
        const result: OffsetsByTopic = {};
        for (const [topic, count] of Object.entries(topics))
          result[topic] = new Array<undefined>(count).fill(undefined);
        for (const { topic, partition, offset } of offsets) {
          const committed = result[topic];
          if (committed !== undefined) committed[partition] = offset;
        }
        return [group, result];
      }),
    );
  }

  /**
   * Sets the offsets of a group without members, of the partitions given, and reads them back.
   *
   * @param offsets by topic the offset of every partition, or any partitions one by one.
   * @throws {KafkaGroupNotEmptyError} when it has members: nothing is set. Kafka itself sees to it, so that no member
   *   can come in between.
   * @throws {KafkaOffsetsNotTakenError} when Kafka refuses some for another reason.
   * @throws {OffsetReadBackError} when the broker then answers others.
   */
  async setGroupOffsets(
    group: string,
    offsets: TopicOffsets | readonly { topic: string; partition: number; offset: number }[],
  ): Promise<void> {
    const wanted = partitionsOf(offsets);
    if (wanted.length === 0) return;
    const untaken = await commitOffsets(this.#admin, group, wanted);
    if (untaken.length > 0) throw await this.#refusal(group, untaken, wanted.length);
    // A transaction that is still open is older than what was just set: whatever becomes of it, this stands.
    const [stored] = await fetchOffsets(this.#admin, [{ group, topics: topicsOf(wanted) }], false);
    const answered = new Map(stored?.offsets.map((found) => [`${found.topic}/${found.partition}`, found.offset]));
    for (const { topic, partition, offset } of wanted) {
      const found = answered.get(`${topic}/${partition}`) ?? -1;
      if (found !== offset) {
        throw new OffsetReadBackError(
          `Group ${group}, ${topic}/${partition}: wrote offset ${offset}, read back ${found < 0 ? 'none' : found}.`,
        );
      }
    }
  }

  async #commits(wanted: readonly WantedOffsets[]): Promise<Map<string, GroupCommits>> {
    const commits = new Map<string, GroupCommits>();
    const until = performance.now() + this.#decidedWithinMs;
    let open = wanted;
    for (let attempt = 0; open.length > 0; attempt += 1) {
      const last = performance.now() >= until;
      for (const { group, offsets } of await fetchOffsets(this.#admin, open, true)) {
        const undecided = offsets.filter(({ errorCode }) => errorCode === UNSTABLE_OFFSET_COMMIT);
        const failed = offsets.find(({ errorCode }) => errorCode !== 0 && errorCode !== UNSTABLE_OFFSET_COMMIT);
        if (failed !== undefined) throw brokerError(failed.errorCode);
        if (undecided.length > 0 && !last) continue;
        commits.set(group, {
          offsets: committed(offsets),
          undecided: undecided.map(({ topic, partition }) => `${topic}/${partition}`),
        });
      }
      open = wanted.filter(({ group }) => !commits.has(group));
      // An answer that leaves a group out does not say that it has committed nothing.
      if (last && open.length > 0) throw brokerError(COORDINATOR_NOT_AVAILABLE);
      if (open.length > 0) await pause(backoffMs(attempt, 50, 500));
    }
    await this.#addUndecided(wanted, commits);
    return commits;
  }

  /** Of what is not decided the standing commit is the last one that is. */
  async #addUndecided(wanted: readonly WantedOffsets[], commits: ReadonlyMap<string, GroupCommits>): Promise<void> {
    const undecided = wanted.filter(({ group }) => (commits.get(group)?.undecided.length ?? 0) > 0);
    if (undecided.length === 0) return;
    for (const { group, offsets } of await fetchOffsets(this.#admin, undecided, false)) {
      const found = commits.get(group);
      if (found !== undefined) found.offsets = committed(offsets);
    }
  }

  async #refusal(group: string, untaken: readonly UntakenOffset[], wanted: number): Promise<Error> {
    const cause = brokerError(untaken[0]?.errorCode ?? 0);
    if (untaken.some(({ errorCode }) => IN_USE.has(errorCode))) {
      const { members } = await this.describeGroup(group);
      return new KafkaGroupNotEmptyError(group, members.map(memberWords), { cause });
    }
    const partitions = untaken.map(({ topic, partition, errorCode }) => ({
      topic,
      partition,
      reason:
        errorCode === GROUP_ID_NOT_FOUND
          ? 'the name is taken by a group of another kind, without offsets'
          : brokerError(errorCode).message,
    }));
    return new KafkaOffsetsNotTakenError(group, partitions, untaken.length < wanted, { cause });
  }

  async close(): Promise<void> {
    await this.#admin.close();
  }
}

function saysTopicExists(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  if ((error as { apiId?: string }).apiId === 'TOPIC_ALREADY_EXISTS') return true;
  const { errors } = error as { errors?: unknown };
  return Array.isArray(errors) && errors.some(saysTopicExists);
}

function unknownGroup(name: string): KafkaGroup {
  return { name, type: undefined, protocolType: '', state: 'dead', members: [] };
}

/** Kafka spells `PreparingRebalance`; the client makes capitals of it in lists. */
function stateWords(state: string): string {
  const lower = state.toLowerCase();
  return /^(preparing|completing)rebalance$/.test(lower) ? lower.replace('rebalance', '-rebalance') : lower;
}

/** A member as people look for it. */
function memberWords({ memberId, clientId, clientHost }: KafkaGroupMember): string {
  return `${clientId} at ${clientHost.replace(/^\//, '')}, member ${memberId}`;
}

function committed(
  offsets: readonly { topic: string; partition: number; offset: number; metadata: string }[],
): CommittedOffset[] {
  return offsets
    .filter(({ offset }) => offset >= 0)
    .map(({ topic, partition, offset, metadata }) => ({ topic, partition, offset, metadata }));
}

function partitionsOf(
  offsets: TopicOffsets | readonly { topic: string; partition: number; offset: number }[],
): readonly { topic: string; partition: number; offset: number }[] {
  if (Array.isArray(offsets)) return offsets as readonly { topic: string; partition: number; offset: number }[];
  return Object.entries(offsets as TopicOffsets).flatMap(([topic, partitions]) =>
    partitions.map((offset, partition) => ({ topic, partition, offset })),
  );
}

function wholeTopics(topics: Readonly<Record<string, number>>): NonNullable<WantedOffsets['topics']> {
  return Object.entries(topics).map(([name, count]) => ({
    name,
    partitionIndexes: Array.from({ length: count }, (_, index) => index),
  }));
}

function topicsOf(partitions: readonly { topic: string; partition: number }[]): NonNullable<WantedOffsets['topics']> {
  const indexes = new Map<string, number[]>();
  for (const { topic, partition } of partitions) indexes.set(topic, [...(indexes.get(topic) ?? []), partition]);
  return [...indexes].map(([name, partitionIndexes]) => ({ name, partitionIndexes }));
}

function someOf(names: readonly string[], separator = ', '): string {
  const shown = names.slice(0, 20).join(separator);
  return names.length > 20 ? `${shown}${separator}and ${names.length - 20} more` : shown;
}
