import { z } from 'zod';

/** Kafka topic (compacted) that holds the last report of every instance, keyed by `MIGRATION/INSTANCE`. */
export const MEMBERS_TOPIC = 'owlmq-bridge.members';

const base = {
  version: z.literal(1),
  migration: z.string(),
  /** Unique a process start: `HOST-PID-RANDOM`. */
  instance: z.string(),
  /** Epoch of the routing state that is applied in full; 0 before the first. */
  epoch: z.number().int().nonnegative(),
  leaseMs: z.number().int().positive(),
  /** ISO 8601, the member's clock; for people only. */
  at: z.string(),
};

/** Counters of one leg since the instance started. */
const legFigures = z.object({ messages: z.number(), bytes: z.number() });

/** What a `DualPublisher` instance reports. */
const publisherReportSchema = z.object({
  ...base,
  role: z.literal('publisher'),
  /** `fenced`: holding publishes, nothing in flight on either leg. `left`: closed, will write no more. */
  state: z.enum(['publishing', 'fenced', 'lease-lost', 'left']),
  /** Messages sent to a leg and not yet answered. */
  inFlight: z.number().int().nonnegative(),
  /** `publish()` calls held by the fence or by a lost lease. */
  held: z.number().int().nonnegative(),
  /** Longest hold seen since the epoch of the last fence, ms. */
  longestHoldMs: z.number().nonnegative(),
  /** Copies to the mirror waiting in lanes. */
  backlog: z.number().int().nonnegative(),
  /** Copies given up and left to the audit, since start. */
  dropped: z.number().int().nonnegative(),
  /** Requests to OwlMQ that failed since start; each is repeated. The next two as well: absent in older reports. */
  copyErrors: z.number().int().nonnegative().optional(),
  /** 99th percentile of how long OwlMQ took to answer publish requests in about the last minute, ms; 0: none. */
  owlmqLatencyMs: z.number().nonnegative().optional(),
  /** How long the oldest copy that waits for OwlMQ has waited, ms; 0: none waits. */
  oldestCopyMs: z.number().nonnegative().optional(),
  kafka: legFigures,
  owlmq: legFigures,
  /**
   * The other leg lacks copies while this publisher does not reach it. Before the cutover: copies have waited for OwlMQ
   * for 5 s without progress, or some were dropped since the last routing state and none has flowed since. After it:
   * mirror writes to a dead Kafka are given up so that publishing goes on.
   */
  mirrorDegraded: z.boolean(),
  /** Topics published to since start. */
  topics: z.array(z.string()),
});
export type PublisherReport = z.infer<typeof publisherReportSchema>;

/** What a `DualConsumer` instance reports. */
const consumerReportSchema = z.object({
  ...base,
  role: z.literal('consumer'),
  group: z.string(),
  /**
   * Id that it has in its group on the live leg, where it would hold partitions when it dies; client ids are the
   * service's own. Absent in older reports, and out of the group.
   */
  memberId: z.string().optional(),
  /**
   * State of the live side of this instance: `live-kafka` and `live-owlmq` run `apply`; `drained`: stopped at the
   * drain offsets with everything committed, applies nothing (told to stop where it is: also with OwlMQ gone, and then
   * without its last commits); `idle`: no live side runs.
   */
  state: z.enum(['live-kafka', 'live-owlmq', 'drained', 'idle', 'lease-lost', 'left']),
  /** The side that it has, when that is one alone: then nothing is expected of it on the other. Absent: it has both. */
  only: z.enum(['live', 'shadow']).optional(),
  /** Whether a shadow runs in this instance. */
  shadow: z.boolean(),
  /** Next offsets of the live side by topic and partition, for assigned partitions only: `[partition, offset]`. */
  live: z.record(z.string(), z.array(z.tuple([z.number(), z.number()]))),
  /**
   * Shadow and live watermarks: the newest message time (ms) by `TOPIC/PARTITION` up to which every message was
   * observed on that side, idle time counted when the side is at the end of its partition.
   */
  watermarks: z.object({ live: z.record(z.string(), z.number()), shadow: z.record(z.string(), z.number()) }),
  /** Messages for which `apply` returned, since start. */
  applied: z.number().int().nonnegative(),
  failed: z.number().int().nonnegative(),
});
export type ConsumerReport = z.infer<typeof consumerReportSchema>;

/** What an instance of the fleet says of itself. What a newer version says beside it is passed over. */
export const memberReportSchema = z.discriminatedUnion('role', [publisherReportSchema, consumerReportSchema]);
export type MemberReport = z.infer<typeof memberReportSchema>;

/** The record of the members topic that holds a report. */
export function memberRecord(report: MemberReport): { key: string; value: string; partition: number } {
  return { key: `${report.migration}/${report.instance}`, value: JSON.stringify(report), partition: 0 };
}
