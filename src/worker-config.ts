import { readFileSync } from 'node:fs';
import type { KafkaConnection } from '@owlmq/kafka-bridge/operations';
import { z } from 'zod';

/** Task queue that workers poll and workflows are started on, unless TEMPORAL_TASK_QUEUE names another. */
const TASK_QUEUE = 'kafka-to-owlmq';

/** What a worker needs to know. Temporal's own settings are read by its envconfig, as its CLI does. */
export interface WorkerConfig {
  taskQueue: string;
  kafka: KafkaConnection;
  owlmq: { url: string; apiKey: string };
  /** Address for Prometheus to scrape, for example `127.0.0.1:9464`; undefined: none is opened. */
  metricsAddress: string | undefined;
  logLevel: string;
}

/** Settings that are missing or wrong, a line each. */
export class WorkerConfigError extends Error {
  override readonly name = 'WorkerConfigError';
  constructor(readonly problems: readonly string[]) {
    super(`The worker cannot start:\n${problems.map((problem) => `- ${problem}`).join('\n')}`);
  }
}

const text = z.string().trim().min(1);
const mechanisms = ['plain', 'scram-sha-256', 'scram-sha-512'] as const;

const environmentSchema = z.object({
  TEMPORAL_TASK_QUEUE: text.default(TASK_QUEUE),
  KAFKA_BROKERS: text,
  KAFKA_TLS: z.enum(['true', 'false']).default('false'),
  KAFKA_TLS_CA_FILE: text.optional(),
  KAFKA_SASL_MECHANISM: z.enum(mechanisms).optional(),
  KAFKA_SASL_USERNAME: text.optional(),
  KAFKA_SASL_PASSWORD: text.optional(),
  KAFKA_SASL_PASSWORD_FILE: text.optional(),
  OWLMQ_URL: text,
  OWLMQ_API_KEY: text.optional(),
  OWLMQ_API_KEY_FILE: text.optional(),
  METRICS_ADDRESS: z
    .string()
    .regex(/^[^\s:]+:\d+$/, 'must be HOST:PORT')
    .optional(),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
});

const hints: Record<string, string> = {
  KAFKA_BROKERS: 'set it to the brokers, for example kafka-1:9092,kafka-2:9092',
  OWLMQ_URL: 'set it to the address of OwlMQ; there is no default',
  OWLMQ_API_KEY: 'set it, or OWLMQ_API_KEY_FILE, to the key',
};

/**
 * Reads the worker's settings from an environment.
 *
 * @throws {WorkerConfigError} with everything that is missing or wrong.
 */
export function readWorkerConfig(environment: NodeJS.ProcessEnv): WorkerConfig {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const parsed = environmentSchema.safeParse(given);
  const problems: string[] = [];
  if (!parsed.success) {
    for (const { path, message } of parsed.error.issues) {
      const name = path.join('.');
      problems.push(
        given[name] === undefined ? `${name} is not set: ${hints[name] ?? 'it is needed'}` : `${name}: ${message}`,
      );
    }
  }
  const secret = (name: 'OWLMQ_API_KEY' | 'KAFKA_SASL_PASSWORD'): string | undefined => {
    const file = given[`${name}_FILE`];
    if (file === undefined) return given[name];
    try {
      return readFileSync(file, 'utf8').trim();
    } catch (error) {
      problems.push(`${name}_FILE: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  };
  const apiKey = secret('OWLMQ_API_KEY');
  if (apiKey === undefined && given['OWLMQ_API_KEY_FILE'] === undefined) {
    problems.push(`OWLMQ_API_KEY is not set: ${hints['OWLMQ_API_KEY'] ?? ''}`);
  }
  const password = secret('KAFKA_SASL_PASSWORD');
  const username = given['KAFKA_SASL_USERNAME'];
  const mechanism = given['KAFKA_SASL_MECHANISM'];
  if (mechanism !== undefined && (username === undefined || password === undefined)) {
    problems.push('KAFKA_SASL_MECHANISM is set: KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD(_FILE) are needed too');
  }
  const ca = readCa(given['KAFKA_TLS_CA_FILE'], problems);
  if (!parsed.success || problems.length > 0 || apiKey === undefined) throw new WorkerConfigError(problems);

  const kafka: KafkaConnection = {
    clientId: 'owlmq-migration-worker',
    brokers: parsed.data.KAFKA_BROKERS.split(',').map((broker) => broker.trim()),
  };
  if (ca !== undefined) kafka.ssl = { ca };
  else if (parsed.data.KAFKA_TLS === 'true') kafka.ssl = true;
  if (parsed.data.KAFKA_SASL_MECHANISM !== undefined && username !== undefined && password !== undefined) {
    kafka.sasl = sasl(parsed.data.KAFKA_SASL_MECHANISM, username, password);
  }
  return {
    taskQueue: parsed.data.TEMPORAL_TASK_QUEUE,
    kafka,
    owlmq: { url: parsed.data.OWLMQ_URL, apiKey },
    metricsAddress: parsed.data.METRICS_ADDRESS,
    logLevel: parsed.data.LOG_LEVEL,
  };
}

/** One literal a mechanism: kafkajs's type is a union over it. */
function sasl(
  mechanism: (typeof mechanisms)[number],
  username: string,
  password: string,
): NonNullable<KafkaConnection['sasl']> {
  switch (mechanism) {
    case 'plain':
      return { mechanism: 'plain', username, password };
    case 'scram-sha-256':
      return { mechanism: 'scram-sha-256', username, password };
    case 'scram-sha-512':
      return { mechanism: 'scram-sha-512', username, password };
  }
}

function readCa(file: string | undefined, problems: string[]): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    problems.push(`KAFKA_TLS_CA_FILE: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}
