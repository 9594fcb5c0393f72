import { z } from 'zod';
import { parseJsonRecord } from '../kafka/json-record.js';
import { packFields } from './field-digests.js';

/** Kafka topic that both sides write their observations to. */
export const OBSERVATIONS_TOPIC = 'owlmq-bridge.observations';

/** Which side made an observation: the consumer that runs `apply`, or the shadow that runs `process` alone. */
export type ObservingSide = 'live' | 'shadow';

/** What one side did with one message. Holds digests; payload values only where a service captures its outputs. */
export const observationSchema = z.object({
  /** 1: `output.fields` is an object. */
  version: z.union([z.literal(2), z.literal(1)]),
  migration: z.string(),
  group: z.string(),
  side: z.enum(['live', 'shadow']),
  topic: z.string(),
  partition: z.number().int().nonnegative(),
  /** Message id, the same on both sides. */
  id: z.string(),
  /** Offset in Kafka; a shadow knows it from the copy's `owlmq-source` header. */
  kafka: z.number().int().nonnegative(),
  /** Offset in OwlMQ; shadows only. */
  owlmq: z.number().int().nonnegative().optional(),
  /** Message time, Unix ms. */
  time: z.number(),
  /** Short digest of the message key; null without one. */
  key: z.string().nullable(),
  /** Epoch of the routing state it was made under. */
  epoch: z.number().int().nonnegative(),
  /** Version of the handler that made it, where the service tells one. */
  handlerVersion: z.string().optional(),
  /** The output, see `OutputDigest`, its fields packed; absent when the handler failed. */
  output: z
    .object({
      digest: z.string(),
      whole: z.string(),
      fields: z.union([z.string(), z.record(z.string(), z.string()).transform(packFields)]),
      truncated: z.boolean(),
      captured: z.object({ text: z.string(), length: z.number() }).optional(),
    })
    .optional(),
  /**
   * How the handler failed: name of the error's class and digest of its message. `uncomparable`: it did not fail, but
   * its output has no canonical form, so that two of them are not known to be equal.
   */
  error: z.object({ name: z.string(), digest: z.string(), uncomparable: z.literal(true).optional() }).optional(),
});
export type Observation = z.infer<typeof observationSchema>;

/**
 * Key of the record that holds it: both sides of a pair, and all of a Kafka partition, are in one partition of the
 * observations topic, in the order each side made them.
 */
export function observationKey({
  migration,
  group,
  topic,
  partition,
}: Pick<Observation, 'migration' | 'group' | 'topic' | 'partition'>): string {
  return [migration, group, topic, partition].join('/');
}

/** Whether a record with this key may hold observations of a migration: most that are of others need not be parsed. */
export function mayBeOf(migration: string, key: Buffer | null): boolean {
  return key === null || key.toString('utf8').startsWith(`${migration}/`);
}

export function encodeObservation(observation: Observation): string {
  return JSON.stringify(observation);
}

/** Undefined when the bytes are not an observation. */
export function decodeObservation(value: Buffer | null): Observation | undefined {
  return parseJsonRecord(observationSchema, value);
}
