import { kafkaFromSettings, type KafkaConnection } from '@owlmq/kafka-bridge/operations';
import { z } from 'zod';

const count = z.coerce.number().int().positive();

const producerSchema = z.object({
  MIGRATION: z.string().min(1),
  DEMO_LOG: z.string().min(1),
  DEMO_ORDERS_TOPIC: z.string().min(1),
  DEMO_PAYMENTS_TOPIC: z.string().min(1),
  DEMO_PRODUCER: z.coerce.number().int().nonnegative(),
  DEMO_PRODUCERS: count,
  DEMO_KEYS: count,
  /** Messages a second of this producer. */
  DEMO_RATE: z.coerce.number().positive(),
  DEMO_SEED: z.coerce.number().int(),
  /** Messages that processes before this one have begun to publish: it goes on behind them. */
  DEMO_BEGUN: z.coerce.number().int().nonnegative(),
  KAFKA_BROKERS: z.string().min(1),
});

const consumerSchema = z.object({
  MIGRATION: z.string().min(1),
  DEMO_LOG: z.string().min(1),
  DEMO_TOPICS: z.string().min(1),
  DEMO_GROUP: z.string().min(1),
  DEMO_MEMBER: z.string().min(1),
  /** Of the group, ms; empty: the library's own. */
  DEMO_SESSION_TIMEOUT: z.string().regex(/^\d*$/),
  KAFKA_BROKERS: z.string().min(1),
});

/** Environment of `producer.ts`. OWLMQ_URL and OWLMQ_API_KEY are read by the library itself. */
export type ProducerEnvironment = Record<keyof z.input<typeof producerSchema>, string>;
/** Environment of `consumer.ts`. */
export type ConsumerEnvironment = Record<keyof z.input<typeof consumerSchema>, string>;

export function producerSettings(): z.output<typeof producerSchema> {
  return producerSchema.parse(process.env);
}

export function consumerSettings(): z.output<typeof consumerSchema> {
  return consumerSchema.parse(process.env);
}

/** How to reach Kafka, by the settings that the worker has. @throws Error with what is wrong with them. */
export function kafkaConnection(clientId: string): KafkaConnection {
  const problems: string[] = [];
  const connection = kafkaFromSettings(process.env, clientId, { add: (problem) => problems.push(problem) });
  if (connection === undefined) throw new Error(problems.join('; '));
  return connection;
}

/** The line that a child prints once it works. */
export const READY = 'ready';

/** Resolves at the first SIGTERM or SIGINT. */
export async function untilStopped(): Promise<void> {
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.on(signal, () => {
        resolve();
      });
  });
}
