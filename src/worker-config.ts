import { kafkaFromSettings, owlmqFromSettings, type KafkaConnection } from '@owlmq/kafka-bridge/operations';
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

const environmentSchema = z.object({
  TEMPORAL_TASK_QUEUE: z.string().trim().min(1).default(TASK_QUEUE),
  METRICS_ADDRESS: z
    .string()
    .regex(/^[^\s:]+:\d+$/, 'must be HOST:PORT')
    .optional(),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
});

/**
 * Reads the worker's settings from an environment.
 *
 * @throws {WorkerConfigError} with everything that is missing or wrong.
 */
export function readWorkerConfig(environment: NodeJS.ProcessEnv): WorkerConfig {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const problems: string[] = [];
  const add = (problem: string): void => {
    problems.push(problem);
  };
  const kafka = kafkaFromSettings(given, 'owlmq-migration-worker', { add });
  const owlmq = owlmqFromSettings(given, { add });
  const parsed = environmentSchema.safeParse(given);
  for (const { path, message } of parsed.error?.issues ?? []) add(`${path.join('.')}: ${message}`);
  if (!parsed.success || kafka === undefined || owlmq === undefined) throw new WorkerConfigError(problems);
  return {
    taskQueue: parsed.data.TEMPORAL_TASK_QUEUE,
    kafka,
    owlmq,
    metricsAddress: parsed.data.METRICS_ADDRESS,
    logLevel: parsed.data.LOG_LEVEL,
  };
}
