import type { Leg } from '../message/headers.js';

/** How a consumer stands with one partition. Offsets are those of the side's leg. */
export interface PartitionStatus {
  side: Leg | 'shadow';
  topic: string;
  partition: number;
  /** Offset of the next message to handle: everything before it is done. */
  next: number;
  committed: number;
  /** A handler failed for good on the message at `next`. */
  stopped: boolean;
}

/** What `DualConsumer.status()` says. */
export interface ConsumerStatus {
  phase: 'new' | 'running' | 'stopped';
  paused: boolean;
  /** Of the routing state that it follows; 0 without one. */
  epoch: number;
  /** The leg whose messages it applies. */
  live: Leg;
  /** Whether the live side is in its group, with its positions known. */
  joined: boolean;
  shadow: 'off' | 'joining' | 'running';
  /** False while it applies nothing because its routing state may be outdated. */
  leaseValid: boolean;
  /** Messages that handlers have in hand, on all sides, and how long the oldest has been, ms. */
  inHand: number;
  oldestInHandMs: number;
  partitions: PartitionStatus[];
  /** Messages for which `apply` returned, and those that failed for good, since the start. */
  applied: number;
  failed: number;
  /** What `onError` was told last. */
  lastError?: Error;
}
