import type { TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type { Leg, Partition } from './partition.js';
import type { ModelSystems } from './systems.js';

/** Where a group goes on in a partition of the other leg. */
export interface Translated {
  partition: Partition;
  target: number;
  /** Records behind the target that the group has consumed on the leg where it was. */
  redeliveries: number;
  /** A record that the group has not consumed, and that the other leg lacks. */
  lacks: boolean;
}

/**
 * Translates a group's positions to the other leg: before the first record there that it has not consumed. Records are
 * in another order there where audits have repaired, so that consumed ones may lie behind it.
 *
 * @param fences where both legs ended at the cutover: before Kafka's the group has consumed everything; what foreign
 *   producers write behind it while publishers are held is for the audit to bring over.
 */
export function translate(
  systems: ModelSystems,
  group: string,
  to: Leg,
  fences: { kafka: TopicOffsets },
): Translated[] {
  const from: Leg = to === 'kafka' ? 'owlmq' : 'kafka';
  return systems.partitions.map((partition) => {
    const position = systems.committed(group, from, partition) ?? 0;
    const isConsumed = (offset: number): boolean => {
      const there = partition.offsetOf(from, partition.messageAt(to, offset));
      return there >= 0 && there < position;
    };
    const end = partition.end(to);
    const fence = fences.kafka[partition.topic]?.[partition.index] ?? 0;
    let target = to === 'kafka' ? Math.min(end, fence) : 0;
    while (target < end && isConsumed(target)) target += 1;
    let redeliveries = 0;
    for (let offset = target; offset < end; offset += 1) if (isConsumed(offset)) redeliveries += 1;
    let lacks = false;
    const until = from === 'kafka' ? fence : partition.end(from);
    for (let offset = position; offset < until && !lacks; offset += 1) {
      lacks = !partition.has(to, partition.messageAt(from, offset));
    }
    return { partition, target, redeliveries, lacks };
  });
}
