import { Admin, ConfigResourceTypes } from '@platformatic/kafka';
import { directClientOptions, type KafkaConnection } from './kafka-connection.js';
import type { TopicOffsets } from '../routing/routing-state.js';

/** A consumer group as its coordinator sees it. */
export interface KafkaGroup {
  name: string;
  /** `classic`, `consumer` (KIP-848) or `share`; undefined for a group that the cluster does not know. */
  type: string | undefined;
  /** As Kafka spells it: `STABLE`, `EMPTY`, `PREPARING_REBALANCE`, `DEAD`, … */
  state: string;
  members: { memberId: string; clientId: string; clientHost: string }[];
}

/** The group has members, so that its offsets cannot be set: stop them first. */
export class KafkaGroupNotEmptyError extends Error {
  override readonly name = 'KafkaGroupNotEmptyError';
  constructor(
    readonly group: string,
    readonly members: readonly string[],
    options?: ErrorOptions,
  ) {
    super(`Kafka group ${group} still has members (${members.join(', ') || 'unknown'}): stop them first.`, options);
  }
}

/** After an import the broker answered other offsets than those written. */
export class OffsetReadBackError extends Error {
  override readonly name = 'OffsetReadBackError';
}

/**
 * Administrative calls to Kafka. Group offsets go through one OffsetCommit request a group, which a group with members
 * refuses; kafkajs's `setOffsets` joins the group, and takes partitions from a live KIP-848 group.
 */
export class ClusterAdmin {
  readonly #admin: Admin;

  constructor(connection: KafkaConnection, options: { clientId: string }) {
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

  /** Every group of the cluster with its type and state. */
  async listGroups(): Promise<{ name: string; type: string; state: string }[]> {
    const groups = await this.#admin.listGroups();
    return [...groups.values()].map(({ id, groupType, state }) => ({ name: id, type: groupType, state }));
  }

  /** State and members of a group; `DEAD` and without a type when the cluster does not know it. */
  async describeGroup(group: string): Promise<KafkaGroup> {
    const listed = (await this.listGroups()).find(({ name }) => name === group);
    if (listed === undefined) return { name: group, type: undefined, state: 'DEAD', members: [] };
    const described = (await this.#admin.describeGroups({ groups: [group] })).get(group);
    return {
      name: group,
      type: listed.type,
      state: listed.state,
      members: [...(described?.members.values() ?? [])].map(({ id, clientId, clientHost }) => ({
        memberId: id,
        clientId,
        clientHost,
      })),
    };
  }

  /**
   * Committed offsets of a group on whole topics: `offsets[topic][partition]`, undefined where nothing was committed.
   * Unknown is not zero.
   */
  async groupOffsets(
    group: string,
    topics: Readonly<Record<string, number>>,
  ): Promise<Record<string, (number | undefined)[]>> {
    const [found] = await this.#admin.listConsumerGroupOffsets({
      groups: [
        {
          groupId: group,
          topics: Object.entries(topics).map(([name, count]) => ({
            name,
            partitionIndexes: Array.from({ length: count }, (_, index) => index),
          })),
        },
      ],
      requireStable: true,
    });
    const result: Record<string, (number | undefined)[]> = {};
    for (const [topic, count] of Object.entries(topics)) {
      const committed = new Array<number | undefined>(count).fill(undefined);
      for (const entry of found?.topics.find(({ name }) => name === topic)?.partitions ?? []) {
        if (entry.committedOffset >= 0n) committed[entry.partitionIndex] = Number(entry.committedOffset);
      }
      result[topic] = committed;
    }
    return result;
  }

  /**
   * Sets the offsets of an empty group and reads them back.
   *
   * @throws {KafkaGroupNotEmptyError} when it has members.
   * @throws {OffsetReadBackError} when the broker then answers others.
   */
  async setGroupOffsets(group: string, offsets: TopicOffsets): Promise<void> {
    const { members } = await this.describeGroup(group);
    if (members.length > 0) {
      throw new KafkaGroupNotEmptyError(
        group,
        members.map(({ memberId }) => memberId),
      );
    }
    await this.#admin.alterConsumerGroupOffsets({
      groupId: group,
      topics: Object.entries(offsets).map(([name, partitions]) => ({
        name,
        partitionOffsets: partitions.map((offset, partition) => ({ partition, offset: BigInt(offset) })),
      })),
    });
    const counts = Object.fromEntries(Object.entries(offsets).map(([topic, list]) => [topic, list.length]));
    const stored = await this.groupOffsets(group, counts);
    for (const [topic, partitions] of Object.entries(offsets)) {
      for (const [partition, offset] of partitions.entries()) {
        const answered = stored[topic]?.[partition];
        if (answered !== offset) {
          throw new OffsetReadBackError(
            `Group ${group}, ${topic}/${partition}: wrote offset ${offset}, read back ${answered ?? 'none'}.`,
          );
        }
      }
    }
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
