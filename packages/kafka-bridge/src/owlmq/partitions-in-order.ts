import type { TopicDescription } from './owlmq-api.js';

/** Begin and end of a topic's partitions, by index; none of a topic that OwlMQ does not have. */
export function partitionsInOrder(topic: TopicDescription | undefined): TopicDescription['partitions'] {
  return [...(topic?.partitions ?? [])].sort((one, other) => one.partition - other.partition);
}
