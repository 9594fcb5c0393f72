import {
  cutoverId,
  importToKafka,
  importToOwlmq,
  mergeMirrorCheckpoints,
  OffsetsRefusedError,
  readLastPositions,
  translateToKafka,
  translateToOwlmq,
  type KafkaPosition,
  type MirrorCheckpoint,
  type TopicOffsets,
} from '@owlmq/kafka-bridge/operations';
import { ApplicationFailure } from '@temporalio/activity';
import type { Dependencies } from './dependencies.js';
import { withHeartbeat } from './heartbeat.js';
import type { MigrationActivities, OffsetMove } from './migration-activities.js';

/** Steps that move the positions of groups between the legs. */
export function offsetActivities(
  dependencies: Dependencies,
): Pick<MigrationActivities, 'moveOffsets' | 'restoreKafkaOffsets'> {
  const { kafka: connection, owlmq, admin, reader } = dependencies;
  return {
    moveOffsets: ({ direction, topics, groups, fences, audited, reset }) =>
      withHeartbeat<OffsetMove[], undefined>(async ({ signal }) => {
        // What audits have noted is not needed: what they have proven is given, and groups have drained.
        const options = { connection, owlmq, groups, topics, reset, signal, syncs: {} };
        const translations =
          direction === 'to-owlmq'
            ? await translateToOwlmq({ ...options, until: fences.kafka, proven: fences.kafka })
            : await translateToKafka({
                ...options,
                kafkaFrom: fences.kafka,
                proven: audited === undefined ? undefined : mergeMirrorCheckpoints(audited as MirrorCheckpoint[]),
              });
        // All or none: nothing is written while any group is refused.
        const refused = translations.flatMap(({ group, partitions }) =>
          partitions.filter(({ target }) => target === undefined).map((partition) => ({ group, partition })),
        );
        if (refused[0] !== undefined) {
          const { group } = refused[0];
          const error = new OffsetsRefusedError(
            group,
            refused.map(({ partition }) => partition),
          );
          throw ApplicationFailure.create({
            message: error.message,
            type: 'OffsetsRefused',
            nonRetryable: true,
            cause: error,
          });
        }
        const moves: OffsetMove[] = [];
        for (const { group, partitions } of translations) {
          const { exact, bounded, redeliveries } =
            direction === 'to-owlmq'
              ? await importToOwlmq(owlmq, group, partitions)
              : await importToKafka(admin, group, partitions);
          moves.push({ group, exact, bounded, redeliveries });
        }
        return moves;
      }),

    restoreKafkaOffsets: async ({ migration, fence, groups }) => {
      const noted = await readLastPositions(reader, migration, cutoverId(fence));
      const furthest = furthestOf(groups, noted.positions);
      let redeliveriesAtMost = 0;
      for (const [group, offsets] of Object.entries(furthest)) {
        await admin.setGroupOffsets(group, offsets);
        for (const [topic, positions] of Object.entries(offsets)) {
          const ends = await reader.ends(topic);
          for (const [partition, offset] of positions.entries())
            redeliveriesAtMost += (ends[partition] ?? offset) - offset;
        }
      }
      return { redeliveriesAtMost, positionsAt: noted.at ?? null };
    },
  };
}

/** Neither is above what a group has consumed: the higher one loses nothing, and delivers less again. */
function furthestOf(
  groups: Readonly<Record<string, TopicOffsets>>,
  noted: readonly KafkaPosition[],
): Record<string, TopicOffsets> {
  const furthest = structuredClone(groups);
  for (const { group, topic, partition, offset } of noted) {
    const offsets = furthest[group]?.[topic];
    const known = offsets?.[partition];
    if (offsets !== undefined && known !== undefined && offset > known) offsets[partition] = offset;
  }
  return furthest;
}
