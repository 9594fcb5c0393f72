/** Most messages in one request. */
const MAX_COUNT = 1_000;
/** Kafka's default `max.message.bytes` (1 MiB) holds for what one request has for a partition. */
const MAX_PARTITION_BYTES = 900_000;
/** Over all partitions; brokers take 100 MiB. */
const MAX_BYTES = 16_000_000;

/** Says what still fits into a batch. A message that is larger than a limit fits into an empty one. */
export class BatchLimits {
  #count = 0;
  #bytes = 0;
  /** By topic, then by partition. */
  readonly #partitionBytes = new Map<string, number[]>();

  get count(): number {
    return this.#count;
  }

  get full(): boolean {
    return this.#count >= MAX_COUNT;
  }

  /** Whether a message fits; when it does it is counted in. */
  add(message: { topic: string; partition: number | undefined; bytes: number }): boolean {
    if (this.full) return false;
    let topicBytes = this.#partitionBytes.get(message.topic);
    if (topicBytes === undefined) this.#partitionBytes.set(message.topic, (topicBytes = []));
    const partition = message.partition ?? 0;
    const partitionBytes = topicBytes[partition] ?? 0;
    if (partitionBytes > 0 && partitionBytes + message.bytes > MAX_PARTITION_BYTES) return false;
    if (this.#count > 0 && this.#bytes + message.bytes > MAX_BYTES) return false;
    this.#count++;
    this.#bytes += message.bytes;
    topicBytes[partition] = partitionBytes + message.bytes;
    return true;
  }
}
