import { kafkaFromSettings, owlmqFromSettings, type KafkaConnection } from '@owlmq/kafka-bridge/operations';
import { z } from 'zod';
import { readPayloadKeys, type PayloadKeys } from './codec/payload-keys.js';
import type { EndpointSettings } from './endpoint/observation-endpoint.js';
import { readPageSettings, type PageSettings } from './live-page/page-settings.js';
import { addressOf, givenSettings, hostAndPort, readTokens, SettingsError } from './settings.js';
import { isRehearsalQueue } from './workflows/rehearsal-queue.js';
import { readWebhookTargets, type WebhookTargets } from './webhook-targets.js';

/** Task queue that workers poll and workflows are started on, unless TEMPORAL_TASK_QUEUE names another. */
const TASK_QUEUE = 'kafka-to-owlmq';

/** What a worker needs to know. Temporal's own settings are read by its envconfig, as its CLI does. */
export interface WorkerConfig {
  taskQueue: string;
  kafka: KafkaConnection;
  owlmq: { url: string; apiKey: string };
  /** Address for Prometheus to scrape, for example `127.0.0.1:9464`; undefined: none is opened. */
  metricsAddress: string | undefined;
  /** Where consumers that cannot embed the library observe; undefined: nowhere. */
  observations: EndpointSettings | undefined;
  /** Where people follow migrations; undefined: nowhere. */
  page: PageSettings | undefined;
  /** File of a module that compares captured outputs, see `loadCompareModule`; undefined: none. */
  compareModule: string | undefined;
  /** Receivers of hooks, from HOOKS_FILE; empty without it. */
  webhooks: WebhookTargets;
  /** Keys of what Temporal keeps, see `readPayloadKeys`; undefined: it is kept as it is. */
  payloadKeys: PayloadKeys | undefined;
  /** Which build this worker is to a Temporal that routes runs by version; undefined: it takes whatever comes. */
  version: { deploymentName: string; buildId: string } | undefined;
  logLevel: string;
}

/** Temporal writes both as one word, with a dot between. */
const versionPart = z.string().regex(/^[A-Za-z0-9_-]{1,100}$/, 'must be 1 to 100 letters, digits, "_" or "-"');

const environmentSchema = z.object({
  TEMPORAL_TASK_QUEUE: z
    .string()
    .trim()
    .min(1)
    .refine((name) => !isRehearsalQueue(name), 'is a queue for rehearsals: what is asked there must touch no system')
    .default(TASK_QUEUE),
  METRICS_ADDRESS: hostAndPort.optional(),
  OBSERVATIONS_ADDRESS: hostAndPort.optional(),
  OWLMQ_BRIDGE_DIGEST_KEY: z.string().optional(),
  COMPARE_MODULE: z.string().optional(),
  WORKER_DEPLOYMENT_NAME: versionPart.optional(),
  WORKER_BUILD_ID: versionPart.optional(),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
});

/**
 * Reads the worker's settings from an environment.
 *
 * @throws {SettingsError} with everything that is missing or wrong.
 */
export function readWorkerConfig(environment: NodeJS.ProcessEnv): WorkerConfig {
  const given = givenSettings(environment);
  const problems: string[] = [];
  const add = (problem: string): void => {
    problems.push(problem);
  };
  const kafka = kafkaFromSettings(given, 'owlmq-migration-worker', { add });
  const owlmq = owlmqFromSettings(given, { add });
  const parsed = environmentSchema.safeParse(given);
  for (const { path, message } of parsed.error?.issues ?? []) add(`${path.join('.')}: ${message}`);
  const tokens = readTokens(given, 'OBSERVATIONS_TOKEN', add);
  const page = readPageSettings(given, add);
  const payloadKeys = readPayloadKeys(given, add);
  const webhooks: WebhookTargets =
    given.HOOKS_FILE === undefined ? new Map() : readWebhookTargets(given.HOOKS_FILE, given, add);
  if (given.OBSERVATIONS_ADDRESS !== undefined && tokens.length === 0) {
    add('OBSERVATIONS_ADDRESS is set, and no token: set OBSERVATIONS_TOKEN or OBSERVATIONS_TOKEN_FILE too');
  }
  if ((given.WORKER_DEPLOYMENT_NAME === undefined) !== (given.WORKER_BUILD_ID === undefined)) {
    add('WORKER_DEPLOYMENT_NAME and WORKER_BUILD_ID belong together: set both, or neither');
  }
  if (problems.length > 0 || !parsed.success || kafka === undefined || owlmq === undefined)
    throw new SettingsError(problems, 'worker');
  return {
    taskQueue: parsed.data.TEMPORAL_TASK_QUEUE,
    kafka,
    owlmq,
    metricsAddress: parsed.data.METRICS_ADDRESS,
    observations: endpointSettings(parsed.data, tokens),
    page,
    compareModule: parsed.data.COMPARE_MODULE,
    webhooks,
    payloadKeys,
    version: versionOf(parsed.data),
    logLevel: parsed.data.LOG_LEVEL,
  };
}

function versionOf({
  WORKER_DEPLOYMENT_NAME: deploymentName,
  WORKER_BUILD_ID: buildId,
}: z.infer<typeof environmentSchema>): WorkerConfig['version'] {
  return deploymentName === undefined || buildId === undefined ? undefined : { deploymentName, buildId };
}

function endpointSettings(
  { OBSERVATIONS_ADDRESS: address, OWLMQ_BRIDGE_DIGEST_KEY: digestKey }: z.infer<typeof environmentSchema>,
  tokens: readonly string[],
): EndpointSettings | undefined {
  if (address === undefined) return undefined;
  return { ...addressOf(address), tokens, digestKey };
}
