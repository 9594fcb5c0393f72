import {
  cutoverId,
  eachLimited,
  furthest,
  importToKafka,
  importToOwlmq,
  mergeMirrorCheckpoints,
  OffsetsRefusedError,
  readLastPositions,
  throwAll,
  translateToKafka,
  translateToOwlmq,
  withRecordsBehind,
  type GroupTranslation,
  type KafkaPosition,
  type MirrorCheckpoint,
} from '@owlmq/kafka-bridge/operations';
import { ApplicationFailure } from '@temporalio/activity';
import type { Dependencies } from './dependencies.js';
import { GroupMembership } from './group-members.js';
import { withHeartbeat } from './heartbeat.js';
import type { MigrationActivities, OffsetMove } from './migration-activities.js';

/** Each takes a few requests. */
const GROUPS_AT_ONCE = 8;

/** Steps that move the positions of groups between the legs. */
export function offsetActivities(
  dependencies: Dependencies,
): Pick<MigrationActivities, 'moveOffsets' | 'restoreKafkaOffsets'> {
  const { kafka: connection, owlmq, admin, reader } = dependencies;
  const membership = new GroupMembership(dependencies);
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
        const moves = new Map<string, OffsetMove>();
        const move = async ({ group, partitions }: GroupTranslation): Promise<void> => {
          const { exact, bounded, redeliveries } =
            direction === 'to-owlmq'
              ? await membership.whenEmpty('owlmq', group, () => importToOwlmq(owlmq, group, partitions))
              : await membership.whenEmpty('kafka', group, () => importToKafka(admin, group, partitions));
          moves.set(group, { group, exact, bounded, redeliveries });
        };
        // Publishers hold meanwhile.
        throwAll(await eachLimited(translations, GROUPS_AT_ONCE, move), 'The import', 'groups');
        return translations.flatMap(({ group }) => moves.get(group) ?? []);
      }),

    restoreKafkaOffsets: ({ migration, fence, groups }) =>
      withHeartbeat(async () => {
        const known = Object.entries(groups).flatMap(([group, topics]) =>
          Object.entries(topics).flatMap(([topic, offsets]) =>
            offsets.map((offset, partition): KafkaPosition => ({ group, topic, partition, offset })),
          ),
        );
        const noted = await readLastPositions(reader, migration, cutoverId(fence));
        const positions = await withRecordsBehind(reader, furthest([...known, ...noted.positions]));
        for (const group of Object.keys(groups)) {
          const own = positions.filter((position) => position.group === group);
          await membership.whenEmpty('kafka', group, () => admin.setGroupOffsets(group, own));
        }
        const redeliveriesAtMost = positions.reduce((sum, { behind }) => sum + behind, 0);
        return { redeliveriesAtMost, positionsAt: noted.at ?? null };
      }),
  };
}
