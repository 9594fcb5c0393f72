import type { RoutingState } from '../routing/routing-state.js';

/** What a publisher tells of itself, for logs. */
export type PublisherEvent =
  /** Something failed and is tried again or given up; the calls that it fails are told by their own errors. */
  | { type: 'error'; error: Error }
  /** A higher epoch is obeyed from now on. */
  | { type: 'routing'; state: RoutingState }
  /** `publish()` calls wait from now on. */
  | { type: 'held'; reason: 'fence' | 'lease-lost' }
  /** They go on. `heldMs`: the longest wait. */
  | { type: 'released'; heldMs: number }
  /** Copies are given up from now on, and left to the audit. */
  | { type: 'copies-dropped'; topic: string; count: number; reason: string }
  /** Mirror writes to Kafka are given up (true), or work again (false). */
  | { type: 'mirror-degraded'; degraded: boolean; cause: Error | undefined };

/** Counters of a publisher since its start, and gauges of now. */
export interface PublisherStatus {
  instance: string;
  /** Epoch that is applied in full; 0 without a migration or before its first state. */
  epoch: number;
  state: 'publishing' | 'fenced' | 'lease-lost' | 'left';
  /** Messages sent to a leg and not yet answered. */
  inFlight: number;
  /** `publish()` calls held by a fence or a lost lease. */
  held: number;
  /** Longest hold since the last fence, ms. */
  longestHoldMs: number;
  /** `publish()` calls that are not settled. */
  unsettled: number;
  /** Copies waiting for OwlMQ. */
  backlog: number;
  /** Copies given up and left to the audit. */
  dropped: number;
  /** Requests to OwlMQ that failed, or in which it refused messages for now, since the start. Each is repeated. */
  copyErrors: number;
  /** How long OwlMQ took for its answers to publish requests: the 99th percentile of about the last minute, ms; 0: none. */
  owlmqLatencyMs: number;
  /** How long the oldest copy that waits for OwlMQ has waited, ms; 0: none waits. */
  oldestCopyMs: number;
  kafka: { messages: number; bytes: number };
  owlmq: { messages: number; bytes: number };
  /**
   * The other leg lacks copies. Before the cutover: copies have waited for OwlMQ for 5 s without progress, or some were
   * dropped since the last routing state and none has flowed since. After it: mirror writes to Kafka are given up.
   */
  mirrorDegraded: boolean;
  topics: string[];
}
