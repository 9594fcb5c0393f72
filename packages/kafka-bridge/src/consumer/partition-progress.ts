/** How far a side is in one partition that is assigned to it. Offsets are those of the side's leg. */
export class PartitionProgress {
  /** Offset of the next message to handle. */
  next: number;
  committed: number;
  /** Stopped after a handler failed for good; until the partition is assigned anew. */
  failed = false;
  #handledUpTo: number | undefined;
  #watermark: number | undefined;

  constructor(
    readonly topic: string,
    readonly partition: number,
    start: { next: number; committed: number },
  ) {
    this.next = start.next;
    this.committed = start.committed;
  }

  get name(): string {
    return partitionKey(this.topic, this.partition);
  }

  /** Message time (ms) up to which everything was observed, and the observations acknowledged. */
  get watermark(): number | undefined {
    return this.#watermark;
  }

  /** The message before `next` was handled. */
  handled(next: number, messageTime: number): void {
    this.next = next;
    // A clock ahead of ours must not promise what is still to come.
    this.#handledUpTo = Math.max(this.#handledUpTo ?? 0, Math.min(messageTime, Date.now()));
  }

  /** The times that the watermark may rise to once what was observed so far is acknowledged. */
  mark(): () => void {
    const upTo = this.#handledUpTo;
    return () => {
      if (upTo !== undefined) this.#watermark = Math.max(this.#watermark ?? 0, upTo);
    };
  }

  /** The side was at the partition's end at a time (Unix ms), with everything before acknowledged. */
  atEnd(time: number): void {
    this.#watermark = Math.max(this.#watermark ?? 0, time);
  }
}

/** `TOPIC/PARTITION`. */
export function partitionKey(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}
