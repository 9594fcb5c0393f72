import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import {
  ClusterAdmin,
  kafkaSide,
  LogReader,
  MemberRoster,
  OwlmqClient,
  owlmqSide,
  RoutingWriter,
} from '@owlmq/kafka-bridge/operations';
import type { Logger } from 'pino';
import { createActivities } from './activities/index.js';
import { encryptingConverter } from './codec/data-converter.js';
import { CompareModuleError, loadCompareModule } from './compare-module.js';
import type { Dependencies } from './activities/dependencies.js';
import { portfolioActivities } from './activities/portfolio.js';
import { startObservationEndpoint } from './endpoint/observation-endpoint.js';
import { meterFleet } from './fleet-meter.js';
import { meterLags } from './lag-meter.js';
import { letIdleKafkajsRest } from './idle-kafkajs.js';
import { startLivePage } from './live-page/live-page.js';
import { reportRunning } from './running-figures.js';
import { SettingsError } from './settings.js';
import { connectToTemporal } from './temporal-connection.js';
import { startTracing, type Tracing } from './tracing.js';
import { readWorkerConfig, type WorkerConfig } from './worker-config.js';
import { stepInLogs, openWorkerLog, temporalLog } from './worker-log.js';
import { workflowBundlePath, workflowInterceptorModules, workflowsPath } from './workflow-bundle-path.js';

/** How long activities get to end after a signal to stop, before they are retried elsewhere. */
const SHUTDOWN_GRACE = '20 seconds';

/**
 * Steps at a time. A migration at rest has one or two watches under way, for as long as its phase lasts: at the SDK's
 * hundred, fifty migrations would leave no room for a cutover. A watch that waits costs little.
 */
const MOST_ACTIVITIES = 5_000;

const START_WITHIN_MS = 60_000;
/** Less than the half minute of an attempt at a quick step, which is to end with the reason. */
const READ_WITHIN_MS = 15_000;
const START_RETRY_MS = 2_000;

/** What a program may add to the worker: a harness watches or disturbs its steps so, the steps themselves are the same. */
export interface WorkerAdditions extends Pick<
  WorkerOptions,
  'interceptors' | 'sinks' | 'stickyQueueScheduleToStartTimeout'
> {
  /** Default: the bundle that the build made. */
  readonly workflowBundle?: { readonly codePath: string };
  /** Told of the activities that there are. */
  readonly onActivities?: (names: readonly string[]) => void;
}

/** Runs a worker, on the settings of the environment, until a signal to stop; ends the process when it cannot. */
export async function runWorker(additions: WorkerAdditions = {}): Promise<void> {
  try {
    await run(additions);
  } catch (error) {
    const message =
      error instanceof SettingsError || error instanceof CompareModuleError
        ? error.message
        : error instanceof Error
          ? error.stack
          : String(error);
    process.stderr.write(`${message ?? 'unknown error'}\n`, () => {
      // Clients that retry in the background must not keep alive a worker that polls nothing.
      process.exit(1);
    });
  }
}

async function run({ onActivities, ...additions }: WorkerAdditions): Promise<void> {
  const config = readWorkerConfig(process.env);
  const logger = openWorkerLog(config.logLevel);
  const { payloadKeys } = config;
  const { workflowBundle = { codePath: workflowBundlePath(payloadKeys !== undefined) } } = additions;
  if (!existsSync(workflowBundle.codePath)) {
    throw new SettingsError(
      [`the workflow bundle ${workflowBundle.codePath} does not exist: run npm run build`],
      'worker',
    );
  }
  const compare =
    config.compareModule === undefined
      ? undefined
      : await loadCompareModule(config.compareModule, (error) => {
          logger.error({ err: error }, 'COMPARE_MODULE has failed: what it fails on counts as different');
        });
  installRuntime(config.metricsAddress, logger);
  letIdleKafkajsRest();

  const temporal = loadClientConnectConfig();
  const namespace = temporal.namespace ?? 'default';
  const nativeConnection = await NativeConnection.connect(temporal.connectionOptions);
  const { connection, close: closeConnection } = await connectToTemporal(temporal.connectionOptions);
  const { workflowService, operatorService } = connection;
  await workflowService.describeNamespace({ namespace });

  const { kafka } = config;
  const dataConverter = payloadKeys === undefined ? {} : { dataConverter: encryptingConverter(payloadKeys) };
  const clientId = 'owlmq-migration-worker';
  const dependencies: Dependencies = {
    kafka,
    admin: new ClusterAdmin(kafka, { clientId }),
    reader: new LogReader(kafka, { clientId, retryForMs: READ_WITHIN_MS }),
    routing: new RoutingWriter({ connection: kafka, clientId }),
    roster: new MemberRoster({
      connection: kafka,
      clientId,
      onError: (error) => {
        logger.warn({ err: error }, 'the members topic could not be read');
      },
    }),
    owlmq: new OwlmqClient(config.owlmq),
    compare,
    webhooks: config.webhooks,
    temporal: async () => {
      const [{ customAttributes }, { config: ofNamespace }] = await Promise.all([
        operatorService.listSearchAttributes({ namespace }),
        workflowService.describeNamespace({ namespace }),
      ]);
      const seconds = ofNamespace?.workflowExecutionRetentionTtl?.seconds;
      return {
        namespace,
        searchAttributes: Object.keys(customAttributes),
        retentionMs: seconds == null ? undefined : Number(seconds) * 1_000,
      };
    },
  };
  await withinStart(logger, 'Kafka', () => dependencies.routing.ensureTopics());
  await dependencies.roster.start();
  const { reader, roster } = dependencies;
  const endpoint =
    config.observations === undefined
      ? undefined
      : await startObservationEndpoint(config.observations, { kafka, reader, roster, logger });

  const client = new Client({ connection, namespace, ...dataConverter });
  const page =
    config.page === undefined
      ? undefined
      : await startLivePage(config.page, {
          ...dependencies,
          ...{ taskQueue: config.taskQueue, logger },
          temporal: client,
        });

  const tracing = startTracing(process.env, logger);
  const activities = createActivities(dependencies);
  onActivities?.(Object.keys(activities));
  const worker = await Worker.create({
    ...additions,
    interceptors: {
      ...additions.interceptors,
      activity: [stepInLogs, ...(additions.interceptors?.activity ?? [])],
      // Of the bundle that the build made they are a part.
      ...(tracing === undefined ? {} : { workflowModules: workflowInterceptorModules }),
    },
    connection: nativeConnection,
    namespace,
    taskQueue: config.taskQueue,
    ...workflowCode(workflowBundle, tracing),
    ...dataConverter,
    activities: { ...activities, ...portfolioActivities({ client, temporal: dependencies.temporal }) },
    ...deploymentOptions(config.version),
    shutdownGraceTime: SHUTDOWN_GRACE,
    maxConcurrentActivityTaskExecutions: MOST_ACTIVITIES,
    // A pause or a rollback reaches an activity with the answer to its heartbeat.
    maxHeartbeatThrottleInterval: '1 second',
    defaultHeartbeatThrottleInterval: '1 second',
  });
  logger.info(
    {
      ...{ taskQueue: config.taskQueue, namespace, brokers: kafka.brokers, owlmq: config.owlmq.url },
      ...(endpoint === undefined ? {} : { observations: endpoint.url }),
      ...(config.version === undefined ? {} : { version: config.version }),
      ...(page === undefined ? {} : { page: page.url }),
      ...(config.webhooks.size === 0 ? {} : { webhooks: [...config.webhooks.keys()] }),
    },
    'worker is running',
  );
  const stopping = new AbortController();
  const figures =
    config.metricsAddress === undefined
      ? undefined
      : meterMigrations(client, dependencies, {
          ...{ taskQueue: config.taskQueue, logger, signal: stopping.signal },
        });
  // Ends on SIGINT and SIGTERM, which Temporal's runtime listens to.
  await worker.run();
  stopping.abort();
  await figures;
  await tracing?.close();

  await page?.close();
  await endpoint?.close();
  await dependencies.roster.stop();
  await Promise.all([
    dependencies.admin.close(),
    dependencies.reader.close(),
    dependencies.routing.close(),
    dependencies.owlmq.close(),
    closeConnection(),
  ]);
  await nativeConnection.close();
  logger.info('worker has stopped');
}

/** With traces the interceptors of OpenTelemetry belong to the code: the worker bundles it anew, which takes some seconds. */
function workflowCode(
  workflowBundle: NonNullable<WorkerAdditions['workflowBundle']>,
  tracing: Tracing | undefined,
): Pick<WorkerOptions, 'workflowBundle' | 'workflowsPath' | 'plugins'> {
  return tracing === undefined ? { workflowBundle } : { workflowsPath, plugins: [tracing.plugin] };
}

/** What the metrics say beside that which migrations tell of themselves, until the signal. */
async function meterMigrations(
  client: Client,
  { roster, admin, reader, owlmq }: Dependencies,
  { signal, ...options }: { taskQueue: string; logger: Logger; signal: AbortSignal },
): Promise<void> {
  const meter = Runtime.instance().metricMeter;
  const stop = meterFleet(roster, meter);
  signal.addEventListener('abort', stop);
  const sides = { kafka: kafkaSide(admin, reader), owlmq: owlmqSide(owlmq) };
  const metered = { ...options, meter, signal };
  await Promise.all([reportRunning(client, metered), meterLags(client, sides, metered)]);
}

/** Runs outlive versions: each goes on with the version that is current, at its next task. */
function deploymentOptions(version: WorkerConfig['version']): Pick<WorkerOptions, 'workerDeploymentOptions'> {
  if (version === undefined) return {};
  const how = { useWorkerVersioning: true, defaultVersioningBehavior: 'AUTO_UPGRADE' } as const;
  return { workerDeploymentOptions: { version, ...how } };
}

/** Systems that start together with the worker may take a moment: tries for a minute, then gives up. */
async function withinStart(logger: Logger, system: string, connect: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + START_WITHIN_MS;
  for (;;) {
    try {
      await connect();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      logger.warn({ err: error }, `${system} is not ready yet`);
      await sleep(START_RETRY_MS);
    }
  }
}

function installRuntime(metricsAddress: string | undefined, logger: Logger): void {
  Runtime.install({
    logger: temporalLog(logger),
    telemetryOptions: {
      logging: { filter: 'WARN', forward: {} },
      ...(metricsAddress === undefined ? {} : { metrics: { prometheus: { bindAddress: metricsAddress } } }),
    },
  });
}
