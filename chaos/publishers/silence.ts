import type { TopicOffsets } from '@owlmq/kafka-bridge/operations';

/** A time in which a process could not write. */
export interface Silence {
  /** `PUBLISHER.INCARNATION`. */
  incarnation: string;
  /** ms on the machine's monotonic clock. */
  from: number;
  /**
   * Ends of both legs right before it went on: what is stored below them, it had sent before. `dead`: it never went on.
   * Undefined when they could not be read.
   */
  ends: { kafka: TopicOffsets; owlmq: TopicOffsets } | 'dead' | undefined;
}
