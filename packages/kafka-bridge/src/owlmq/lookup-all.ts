import type { CallOptions, OwlmqApi, PartitionOffset } from './owlmq-api.js';

const LOOKUP_BATCH = 500;

/** Where messages are on OwlMQ, by id; those that the topic does not have are absent. */
export async function lookupAll(
  owlmq: OwlmqApi,
  topic: string,
  ids: Iterable<string>,
  options: CallOptions = {},
): Promise<Map<string, PartitionOffset>> {
  const places = new Map<string, PartitionOffset>();
  const distinct = [...new Set(ids)];
  for (let start = 0; start < distinct.length; start += LOOKUP_BATCH) {
    const batch = distinct.slice(start, start + LOOKUP_BATCH);
    const found = await owlmq.lookup(topic, batch, options);
    for (const [index, id] of batch.entries()) {
      const place = found[index];
      if (place !== undefined) places.set(id, place);
    }
  }
  return places;
}
