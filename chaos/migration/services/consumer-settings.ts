import { z } from 'zod';

const count = z.coerce.number().int().positive();

const schema = z.object({
  MIGRATION: z.string().min(1),
  CHAOS_LOG: z.string().min(1),
  CHAOS_TOPICS: z.string().min(1),
  CHAOS_GROUP: z.string().min(1),
  CHAOS_KEYS: count,
  CHAOS_FOREIGN: z.coerce.number().int().nonnegative(),
  CHAOS_SEED: z.coerce.number().int(),
  KAFKA_BROKERS: z.string().min(1),
});

/** Environment of `consumer.ts`. OWLMQ_URL and OWLMQ_API_KEY are read by the library itself. */
export type ConsumerEnvironment = Record<keyof z.input<typeof schema>, string>;

export function consumerSettings(): z.output<typeof schema> {
  return schema.parse(process.env);
}
