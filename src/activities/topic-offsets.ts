import type { OwlmqApi, TopicOffsets } from '@owlmq/kafka-bridge/operations';

/**
 * Where OwlMQ's partitions end, by topic.
 *
 * @throws {Error} when OwlMQ does not know a topic, and the client's errors when it does not answer.
 */
export async function owlmqEnds(
  owlmq: OwlmqApi,
  topics: readonly string[],
  options?: Parameters<OwlmqApi['describeTopic']>[1],
): Promise<TopicOffsets> {
  const ends = topics.map(async (topic): Promise<[string, number[]]> => {
    const described = await owlmq.describeTopic(topic, options);
    if (described === undefined) throw new Error(`OwlMQ does not know the topic ${topic}.`);
    return [topic, described.partitions.map(({ endOffset }) => endOffset)];
  });
  return Object.fromEntries(await Promise.all(ends));
}

/** Offsets from one position up to another, on the partitions that both name; none where it is further already. */
export function recordsBetween(from: TopicOffsets, to: TopicOffsets): number {
  let records = 0;
  for (const [topic, partitions] of Object.entries(to)) {
    for (const [partition, offset] of partitions.entries()) {
      records += Math.max(0, offset - (from[topic]?.[partition] ?? offset));
    }
  }
  return records;
}
