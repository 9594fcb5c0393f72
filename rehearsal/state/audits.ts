import type { TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type { AuditFigures, Partitions } from '../../src/activities/migration-activities.js';
import { noAuditFigures } from '../../src/workflows/audit-figures.js';
import type { Partition } from './partition.js';
import type { ModelSystems } from './systems.js';

const MESSAGE_BYTES = 512;

/** What a run of an audit has seen, and where it stands. */
export interface Audited {
  figures: AuditFigures;
  checked: number;
}

interface Slice {
  /** Absent: all partitions. */
  partitions?: Partitions | undefined;
  /** Where it goes on; moved along. */
  positions: TopicOffsets;
}

/** Looks for the copy of each record of Kafka in OwlMQ, and makes those that are missing, up to the given offsets or the end. */
export function auditToOwlmq(
  systems: ModelSystems,
  slice: Slice,
  forward: { topics: readonly string[]; ratio: number },
  until?: TopicOffsets,
): Audited {
  const figures = newFigures();
  let checked = 0;
  for (const partition of partOf(systems, slice)) {
    const { topic, index } = partition;
    const end = Math.min(until?.[topic]?.[index] ?? Infinity, partition.end('kafka'));
    for (let offset = positionOf(slice.positions, partition); offset < end; offset += 1) {
      const message = partition.messageAt('kafka', offset);
      checked += 1;
      figures.kafkaMessages += 1;
      const foreign = partition.isForeign(message);
      if (foreign) add(figures.foreign, topic);
      const forwarded =
        foreign && forward.topics.includes(topic) && systems.isCopied(partition, message, forward.ratio);
      if (forwarded) add(figures.forwarded, topic);
      if (!forwarded && !partition.isIntended(message)) continue;
      figures.owlmqMessages += 1;
      if (partition.has('owlmq', message)) continue;
      partition.append('owlmq', message);
      if (forwarded) continue;
      figures.missing += 1;
      figures.repaired += 1;
    }
    move(slice.positions, partition, end);
  }
  return { figures: withBytes(figures), checked };
}

/** Looks for each record of OwlMQ in Kafka, and for late records of Kafka in OwlMQ; makes what is missing on either. */
export function auditBothWays(
  systems: ModelSystems,
  partitions: Partitions | undefined,
  positions: { kafka: TopicOffsets; owlmq: TopicOffsets },
): Audited {
  const figures = newFigures();
  let checked = 0;
  for (const partition of partOf(systems, { partitions, positions: positions.kafka })) {
    const { topic } = partition;
    for (let offset = positionOf(positions.kafka, partition); offset < partition.end('kafka'); offset += 1) {
      const message = partition.messageAt('kafka', offset);
      figures.kafkaMessages += 1;
      if (partition.isForeign(message)) add(figures.foreign, topic);
      if (partition.has('owlmq', message)) continue;
      partition.append('owlmq', message);
      add(figures.forwarded, topic);
    }
    for (let offset = positionOf(positions.owlmq, partition); offset < partition.end('owlmq'); offset += 1) {
      const message = partition.messageAt('owlmq', offset);
      checked += 1;
      figures.owlmqMessages += 1;
      if (partition.has('kafka', message)) continue;
      partition.append('kafka', message);
      figures.missing += 1;
      figures.repaired += 1;
    }
    move(positions.owlmq, partition, partition.end('owlmq'));
    // What was repaired just now has its original on OwlMQ.
    move(positions.kafka, partition, partition.end('kafka'));
  }
  return { figures: withBytes(figures), checked };
}

function newFigures(): AuditFigures {
  return { ...noAuditFigures, foreign: {}, forwarded: {} };
}

function withBytes(figures: AuditFigures): AuditFigures {
  const { kafkaMessages, owlmqMessages } = figures;
  return { ...figures, kafkaBytes: kafkaMessages * MESSAGE_BYTES, owlmqBytes: owlmqMessages * MESSAGE_BYTES };
}

function add(byTopic: Record<string, number>, topic: string): void {
  byTopic[topic] = (byTopic[topic] ?? 0) + 1;
}

function partOf(systems: ModelSystems, { partitions }: Slice): readonly Partition[] {
  if (partitions === undefined) return systems.partitions;
  return systems.partitions.filter(({ topic, index }) => partitions[topic]?.includes(index) === true);
}

function positionOf(positions: TopicOffsets, { topic, index }: Partition): number {
  return positions[topic]?.[index] ?? 0;
}

function move(positions: TopicOffsets, { topic, index }: Partition, offset: number): void {
  (positions[topic] ??= [])[index] = offset;
}
