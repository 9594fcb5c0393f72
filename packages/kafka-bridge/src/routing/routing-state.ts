import { z } from 'zod';
import type { Leg } from '../message/headers.js';

/** Kafka topic (compacted, one partition) that holds the routing state of every migration, keyed by its name. */
export const ROUTING_TOPIC = 'owlmq-bridge.routing';

/** How long a member trusts a routing state after a fetch that reached the end of the routing topic, in ms. */
export const DEFAULT_LEASE_MS = 10_000;

/** Offsets by topic, then by partition index: `offsets[topic][partition]`. Safe integers. */
const topicOffsetsSchema = z.record(z.string(), z.array(z.number().int().nonnegative()));
export type TopicOffsets = z.infer<typeof topicOffsetsSchema>;

/**
 * The whole routing state of one migration. Members replace what they know by a state with a higher epoch and ignore
 * every other; a state is never patched.
 */
export const routingStateSchema = z.strictObject({
  version: z.literal(1),
  /** Name of the migration: the Temporal workflow id. */
  migration: z.string().min(1),
  /** Rises by at least one with every state. */
  epoch: z.number().int().positive(),
  topics: z.array(z.string()).min(1),
  groups: z.array(z.string()),
  /** Share of messages copied to OwlMQ while Kafka is primary, 0 to 1. */
  ratio: z.number().min(0).max(1),
  /**
   * Topics whose foreign records the bridge copies to OwlMQ, under the ratio; none when absent. Consumers observe these
   * records, too, where the ratio is 1.
   */
  forward: z.array(z.string()).optional(),
  /** The leg whose acknowledgement makes `publish()` resolve. */
  primary: z.enum(['kafka', 'owlmq']),
  /** Whether the other leg is written at all: false only once the migration is decommissioned. */
  mirror: z.boolean(),
  /** Side whose consumers run `apply`. */
  live: z.enum(['kafka', 'owlmq']),
  /**
   * While set, live consumers stop at these offsets of the live leg (exclusive), commit, report `drained` and apply
   * nothing further. `stop` in place of offsets: stop where you are after the message in hand; what
   * cannot be committed since OwlMQ is gone is delivered again.
   */
  drain: z.union([topicOffsetsSchema, z.literal('stop')]).optional(),
  /**
   * `off`: no shadow. `observe`: the live Kafka side reports observations, shadows do not run yet.
   * `compare`: shadows run on OwlMQ too, from `shadowFrom`. `noise`: the live Kafka side reports every record, whether
   * it is copied or not; with `shadowFrom` shadows run too, on Kafka as well, so that what differs is the handlers' own.
   */
  shadow: z.enum(['off', 'observe', 'compare', 'noise']),
  /** Kafka offsets from which both sides report observations; set with `compare`, and with `noise` once live sides report. */
  shadowFrom: topicOffsetsSchema.optional(),
  /** While set, publishers hold `publish()` and have nothing in flight. */
  fence: z.strictObject({ reason: z.string() }).optional(),
  /** Lease of members under this state, ms. */
  leaseMs: z.number().int().positive(),
  /** ISO 8601 time of writing, for people; no decision is made on it. */
  writtenAt: z.string(),
  /** Who wrote it and why, for people. */
  reason: z.string(),
});
export type RoutingState = z.infer<typeof routingStateSchema>;

/** The leg that shadows run on under a state; undefined when none run: they do only while Kafka is live. */
export function shadowLeg(state: RoutingState | undefined): Leg | undefined {
  if (state?.live !== 'kafka') return undefined;
  if (state.shadow === 'noise') return state.shadowFrom === undefined ? undefined : 'kafka';
  return state.shadow === 'compare' ? 'owlmq' : undefined;
}

/**
 * OwlMQ offsets (exclusive) before which Kafka has everything once it is primary again: a rollback has OwlMQ's consumers
 * drain to the ends that its audit then copies up to. Undefined where no rollback has come so far, where it does without
 * the audit, and once OwlMQ is written first again. So nobody may make Kafka primary over such a drain before the audit is
 * through: the workflow does not, and by hand it is refused.
 *
 * @param known what held before the state.
 */
export function mirroredAfter(known: TopicOffsets | undefined, state: RoutingState): TopicOffsets | undefined {
  if (state.live === 'owlmq' && state.drain !== undefined) return state.drain === 'stop' ? undefined : state.drain;
  return state.primary === 'owlmq' && state.fence === undefined ? undefined : known;
}

/**
 * Whether no state can follow: Kafka is not written any more, so that no epoch leads back to it. Members that have
 * applied it go on without a lease, also when Kafka is gone.
 */
export function isFinal(state: RoutingState | undefined): boolean {
  return state?.mirror === false;
}
