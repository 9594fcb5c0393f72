import { z } from 'zod';

const count = z.coerce.number().int().positive();

const schema = z.object({
  MIGRATION: z.string().min(1),
  CHAOS_LOG: z.string().min(1),
  CHAOS_TOPICS: z.string().min(1),
  CHAOS_PUBLISHER: z.coerce.number().int().nonnegative(),
  CHAOS_INCARNATION: count,
  CHAOS_KEYS: count,
  /** Messages a second of this publisher. */
  CHAOS_RATE: z.coerce.number().positive(),
  CHAOS_SEED: z.coerce.number().int(),
  KAFKA_BROKERS: z.string().min(1),
});

/** Environment of `publisher.ts`. OWLMQ_URL and OWLMQ_API_KEY are read by the library itself. */
export type PublisherEnvironment = Record<keyof z.input<typeof schema>, string>;

export function publisherSettings(): z.output<typeof schema> {
  return schema.parse(process.env);
}
