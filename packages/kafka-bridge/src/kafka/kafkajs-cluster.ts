import type { Kafka, TopicMessages } from 'kafkajs';

/**
 * Gives the cluster object of each producer that a client makes. kafkajs has no door to it: a method of this one client
 * is changed, found by the name that kafkajs 2.2.4 gives it, which is why the package pins that version. Where it is not
 * as expected nothing is changed, and `use` is not called.
 */
export function onCluster(kafka: Kafka, use: (cluster: unknown) => void): void {
  const client = kafka as unknown as Record<symbol, unknown>;
  const symbol = Object.getOwnPropertySymbols(kafka).find(
    ({ description }) => description === 'private:Kafka:createCluster',
  );
  const createCluster = symbol === undefined ? undefined : client[symbol];
  if (symbol === undefined || typeof createCluster !== 'function') return;
  client[symbol] = (...options: unknown[]): unknown => {
    const cluster: unknown = Reflect.apply(createCluster, kafka, options);
    use(cluster);
    return cluster;
  };
}

/** What is used of kafkajs's cluster object. */
interface Metadata {
  targetTopics: ReadonlySet<string>;
  addMultipleTargetTopics: (topics: string[]) => Promise<void>;
  findTopicPartitionMetadata: (topic: string) => readonly { partitionId: number; leader: number }[];
}

function isMetadata(cluster: unknown): cluster is Metadata {
  const { targetTopics, addMultipleTargetTopics, findTopicPartitionMetadata } = (cluster ?? {}) as Partial<Metadata>;
  return (
    targetTopics instanceof Set &&
    typeof addMultipleTargetTopics === 'function' &&
    typeof findTopicPartitionMetadata === 'function'
  );
}

/** Who leads which partition, as a producer of kafkajs itself sees it at the moment. */
export class LeaderView {
  #cluster: Metadata | undefined;

  constructor(kafka: Kafka) {
    onCluster(kafka, (cluster) => {
      if (isMetadata(cluster)) this.#cluster = cluster;
    });
  }

  /** Sees to it that the topics are known, if they can be. */
  async learn(topics: readonly string[]): Promise<void> {
    const cluster = this.#cluster;
    if (cluster === undefined || topics.every((topic) => cluster.targetTopics.has(topic))) return;
    // Who then sends to a topic that is none gets the reason.
    await cluster.addMultipleTargetTopics([...topics]).catch(() => undefined);
  }

  /** Messages in parts, each for one broker; each for one partition where the leaders are not known. */
  parts(topicMessages: readonly TopicMessages[]): TopicMessages[][] {
    const parts = new Map<number | string, TopicMessages[]>();
    for (const { topic, messages } of topicMessages) {
      const leaders = this.#leaders(topic);
      const [only] = leaders;
      if (only !== undefined && leaders.every((leader) => leader === only)) {
        add(parts, only, { topic, messages });
        continue;
      }
      const byPlace = new Map<number | string, TopicMessages['messages']>();
      for (const message of messages) {
        const { partition = 0 } = message;
        const place = leaders[partition] ?? `${topic}/${partition}`;
        const others = byPlace.get(place);
        if (others === undefined) byPlace.set(place, [message]);
        else others.push(message);
      }
      for (const [place, ofPlace] of byPlace) add(parts, place, { topic, messages: ofPlace });
    }
    return [...parts.values()];
  }

  /** By partition; undefined where none is known. */
  #leaders(topic: string): (number | undefined)[] {
    if (this.#cluster?.targetTopics.has(topic) !== true) return [];
    const leaders: (number | undefined)[] = [];
    try {
      for (const { partitionId, leader } of this.#cluster.findTopicPartitionMetadata(topic)) {
        leaders[partitionId] = leader >= 0 ? leader : undefined;
      }
    } catch {
      // kafkajs has no metadata; who sends gets it.
    }
    return Array.from(leaders);
  }
}

function add(
  parts: Map<number | string, TopicMessages[]>,
  place: number | string,
  { topic, messages }: TopicMessages,
): void {
  const part = parts.get(place);
  if (part === undefined) parts.set(place, [{ topic, messages }]);
  else part.push({ topic, messages });
}
