import { OffsetReadBackError, type ClusterAdmin } from '../kafka/cluster-admin.js';
import type { Leg } from '../message/headers.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
import { offsetLookup } from './translate-options.js';
import type { OffsetTranslation } from './translation.js';

/** Some partitions have no translated offset: nothing was imported. */
export class OffsetsRefusedError extends Error {
  override readonly name = 'OffsetsRefusedError';
  constructor(
    readonly group: string,
    readonly refused: readonly OffsetTranslation[],
  ) {
    super(
      `Offsets of group ${group} are not imported: ` +
        refused.map(({ topic, partition, reason }) => `${topic}/${partition}: ${reason ?? 'no target'}`).join('; '),
    );
  }
}

/** What an import has done, read back. Safe as JSON. */
export interface ImportReport {
  group: string;
  /** Where the offsets were written. */
  leg: Leg;
  partitions: {
    topic: string;
    partition: number;
    /** Committed before; absent when there was none. */
    before?: number;
    offset: number;
    verdict: 'exact' | 'bounded';
    redeliveries?: number;
  }[];
  exact: number;
  bounded: number;
  /** Known redeliveries over all partitions. */
  redeliveries: number;
  /** False when for some partition it is not known how many messages come again. */
  redeliveriesKnown: boolean;
}

/**
 * Sets the offsets of an OwlMQ group without members, all or none, and reads them back. Doing it again changes nothing.
 *
 * @throws {OffsetsRefusedError} when a translation is refused: nothing is written.
 * @throws {OwlmqGroupNotEmptyError} when the group has members.
 * @throws {OffsetReadBackError} when OwlMQ then answers others.
 */
export async function importToOwlmq(
  owlmq: OwlmqApi,
  group: string,
  translations: readonly OffsetTranslation[],
): Promise<ImportReport> {
  const targets = accepted(group, translations);
  const before = await owlmqCommits(owlmq, group);
  await owlmq.setGroupOffsets(
    group,
    targets.map(({ topic, partition, offset }) => ({ topic, partition, offset })),
  );
  const after = await owlmqCommits(owlmq, group);
  for (const { topic, partition, offset } of targets) {
    const stored = after(topic, partition);
    if (stored !== offset) {
      throw new OffsetReadBackError(
        `OwlMQ group ${group}, ${topic}/${partition}: wrote offset ${offset}, read back ${stored ?? 'none'}.`,
      );
    }
  }
  return report(group, 'owlmq', targets, before);
}

/**
 * Sets the offsets of a Kafka group without members, of the partitions that were translated, and reads them back. Doing
 * it again changes nothing.
 *
 * @throws {OffsetsRefusedError} when a translation is refused: nothing is written.
 * @throws {KafkaGroupNotEmptyError} when the group has members.
 * @throws {KafkaOffsetsNotTakenError} when Kafka refuses some for another reason.
 * @throws {OffsetReadBackError} when Kafka then answers others.
 */
export async function importToKafka(
  admin: ClusterAdmin,
  group: string,
  translations: readonly OffsetTranslation[],
): Promise<ImportReport> {
  const targets = accepted(group, translations);
  const before = offsetLookup((await admin.committedOffsets([group])).get(group)?.offsets ?? []);
  await admin.setGroupOffsets(group, targets);
  return report(group, 'kafka', targets, before);
}

type Target = ImportReport['partitions'][number];

function accepted(group: string, translations: readonly OffsetTranslation[]): Target[] {
  const refused: OffsetTranslation[] = [];
  const targets: Target[] = [];
  for (const translation of translations) {
    const { topic, partition, target, verdict, redeliveries } = translation;
    if (verdict === 'refused' || target === undefined) {
      refused.push(translation);
    } else {
      const known = redeliveries === undefined ? {} : { redeliveries };
      targets.push({ topic, partition, offset: target, verdict, ...known });
    }
  }
  if (refused.length > 0) throw new OffsetsRefusedError(group, refused);
  if (targets.length === 0) throw new RangeError(`There is nothing to import for group ${group}.`);
  return targets.sort((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
}

async function owlmqCommits(owlmq: OwlmqApi, group: string): Promise<ReturnType<typeof offsetLookup>> {
  return offsetLookup((await owlmq.describeGroup(group))?.offsets ?? []);
}

function report(
  group: string,
  leg: Leg,
  targets: readonly Target[],
  before: (topic: string, partition: number) => number | undefined,
): ImportReport {
  const partitions = targets.map((target) => {
    const earlier = before(target.topic, target.partition);
    return earlier === undefined ? target : { ...target, before: earlier };
  });
  return {
    group,
    leg,
    partitions,
    exact: targets.filter(({ verdict }) => verdict === 'exact').length,
    bounded: targets.filter(({ verdict }) => verdict === 'bounded').length,
    redeliveries: targets.reduce((sum, { redeliveries }) => sum + (redeliveries ?? 0), 0),
    redeliveriesKnown: targets.every(({ redeliveries }) => redeliveries !== undefined),
  };
}
