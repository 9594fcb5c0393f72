import { setTimeout as sleep } from 'node:timers/promises';
import { BridgeTopicError } from './routing-errors.js';
import { ROUTING_TOPIC } from './routing-state.js';
import { VERDICTS_TOPIC } from '../comparator/verdict-record.js';
import { OBSERVATIONS_TOPIC } from '../consumer/observation.js';
import { ClusterAdmin } from '../kafka/cluster-admin.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, UnknownTopicError } from '../kafka/log-reader.js';
import { MEMBERS_TOPIC } from '../members/member-report.js';
import { POSITIONS_TOPIC } from '../offsets/position-log.js';
import { SYNCS_TOPIC } from '../offsets/sync-record.js';

const VISIBLE_WITHIN_MS = 10_000;
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/**
 * Records get the broker's time: it would refuse those of an instance whose clock is an hour ahead, which could then
 * neither register nor report. What is said of times stands in the records.
 */
const BROKER_TIME = { 'message.timestamp.type': 'LogAppendTime' };

/** As many comparisons as this can run side by side; one of them joins tens of thousands of pairs a second. */
const OBSERVATION_PARTITIONS = 8;

/**
 * Compacted soon, for what is written often: a report a second from each instance, the comparison's figures every few
 * seconds.
 */
const COMPACTED_SOON = {
  'segment.ms': String(10 * MINUTE_MS),
  'segment.bytes': String(16 * 1024 * 1024),
  'min.cleanable.dirty.ratio': '0.1',
};

/** Who needs a topic of the bridge: `audit` is one that runs by hand. */
type Role = 'worker' | 'consumer' | 'audit';

/**
 * The topics that the bridge itself needs. Replication and `min.insync.replicas` are the cluster's own defaults. Those
 * without `partitions` have one, for one order.
 */
const bridgeTopics: readonly {
  topic: string;
  partitions?: number;
  configs: Record<string, string>;
  for: readonly Role[];
}[] = [
  { topic: ROUTING_TOPIC, for: ['worker', 'consumer'], configs: { ...BROKER_TIME, 'cleanup.policy': 'compact' } },
  {
    // Instances that are gone for a week are forgotten.
    topic: MEMBERS_TOPIC,
    for: ['worker', 'consumer'],
    configs: {
      ...BROKER_TIME,
      ...COMPACTED_SOON,
      'cleanup.policy': 'compact,delete',
      'retention.ms': String(7 * DAY_MS),
    },
  },
  {
    topic: OBSERVATIONS_TOPIC,
    for: ['worker', 'consumer'],
    partitions: OBSERVATION_PARTITIONS,
    configs: { ...BROKER_TIME, 'cleanup.policy': 'delete', 'retention.ms': String(7 * DAY_MS) },
  },
  {
    topic: VERDICTS_TOPIC,
    for: ['worker'],
    configs: { ...BROKER_TIME, ...COMPACTED_SOON, 'cleanup.policy': 'compact' },
  },
  {
    topic: POSITIONS_TOPIC,
    for: ['worker'],
    configs: { ...BROKER_TIME, ...COMPACTED_SOON, 'cleanup.policy': 'compact' },
  },
  {
    topic: SYNCS_TOPIC,
    for: ['worker', 'audit'],
    configs: { ...BROKER_TIME, ...COMPACTED_SOON, 'cleanup.policy': 'compact' },
  },
];

/** What the names of all topics of the bridge begin with, that of its canaries too. */
export const BRIDGE_PREFIX = 'owlmq-bridge.';

export const bridgeTopicNames: readonly string[] = bridgeTopics.map(({ topic }) => topic);

/**
 * Creates the topics of the bridge that do not exist. May be called by many at once.
 *
 * @param role what others need is left out, so that no right on it is needed.
 * @throws {BridgeTopicError} when one that needs a single partition exists with more.
 */
export async function ensureBridgeTopics(
  connection: KafkaConnection,
  clientId: string,
  role: Role = 'worker',
): Promise<void> {
  const admin = new ClusterAdmin(connection, { clientId });
  const reader = new LogReader(connection, { clientId });
  try {
    for (const { topic, partitions: wanted, configs, for: roles } of bridgeTopics) {
      if (!roles.includes(role)) continue;
      // Asked for by name first: the list of all topics is long where there are many, and this is asked again and again.
      let partitions = await partitionsOf(reader, topic);
      if (partitions === undefined) {
        if (await admin.createTopic(topic, { partitions: wanted ?? 1, configs })) continue;
        partitions = await visiblePartitions(reader, topic);
      }
      if (wanted === undefined && partitions !== 1) {
        throw new BridgeTopicError(
          `Topic ${topic} has ${partitions} partitions where the bridge needs one, for one order. Delete it while no migration runs, and it is made anew.`,
        );
      }
    }
  } finally {
    await Promise.all([admin.close(), reader.close()]);
  }
}

/** A topic that somebody else has just created takes a moment to be seen by every broker. */
async function visiblePartitions(reader: LogReader, topic: string): Promise<number> {
  const deadline = performance.now() + VISIBLE_WITHIN_MS;
  for (;;) {
    const partitions = await partitionsOf(reader, topic);
    if (partitions !== undefined) return partitions;
    if (performance.now() > deadline) throw new UnknownTopicError(topic);
    await sleep(100);
  }
}

/** Undefined where there is no such topic. */
async function partitionsOf(reader: LogReader, topic: string): Promise<number | undefined> {
  try {
    return await reader.partitionCount(topic);
  } catch (error) {
    if (error instanceof UnknownTopicError) return undefined;
    throw error;
  }
}
