import { Context } from '@temporalio/activity';
import { Client } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection, Worker } from '@temporalio/worker';
import { parseMigrationInput } from '@owlmq/kafka-bridge/playbook';
import type { MigrationActivities } from '../src/activities/migration-activities.js';
import { rehearsalQueue } from '../src/workflows/rehearsal-queue.js';
import { encryptionFromEnvironment } from '../src/codec/data-converter.js';
import { connectToTemporal } from '../src/temporal-connection.js';
import { workflowBundlePath } from '../src/workflow-bundle-path.js';
import { extractFacts } from './evidence/extract.js';
import { readMigration } from './evidence/recorded-migration.js';
import { ModelSystems } from './state/systems.js';
import { StateModel } from './state-model.js';
import { trafficFor } from './traffic.js';
import { wallClock } from './wall-clock.js';

/** Models that are kept; the oldest goes first. */
const MOST_MODELS = 20;

/**
 * Serves rehearsals that somebody starts on a Temporal of theirs, with the settings of its CLI, on the clock of the
 * wall: each has a model of its own, which ends with this process.
 */
export async function runRehearsalWorker(options: {
  seed: number;
  signal: AbortSignal;
  log: (line: string) => void;
}): Promise<void> {
  const { seed, signal, log } = options;
  const temporal = loadClientConnectConfig();
  const namespace = temporal.namespace ?? 'default';
  const encryption = encryptionFromEnvironment(process.env, 'rehearsal worker');
  const converter = encryption === undefined ? {} : { dataConverter: encryption.dataConverter };
  const { connection, close } = await connectToTemporal(temporal.connectionOptions);
  const nativeConnection = await NativeConnection.connect(temporal.connectionOptions);
  try {
    const client = new Client({ connection, namespace, ...converter });
    const models = new Map<string, StateModel>();
    const modelOf = async (isFirst: boolean): Promise<StateModel> => {
      const { workflowId } = Context.current().info.workflowExecution ?? {};
      if (workflowId === undefined) throw new TypeError('an activity of no workflow');
      const known = models.get(workflowId);
      if (known !== undefined && !isFirst) return known;
      if (!isFirst) {
        throw ApplicationFailure.nonRetryable(
          'The model of this rehearsal has ended with the process that had it. Terminate the run, and start anew.',
          'ModelGone',
        );
      }
      const plan = parseMigrationInput(extractFacts(await readMigration(client, workflowId, encryption?.codec)).input);
      const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
      const attributes = Object.keys(customAttributes).filter((name) => name.startsWith('Migration'));
      const model = new StateModel(wallClock, new ModelSystems(trafficFor(plan, seed)), attributes);
      models.set(workflowId, model);
      for (const oldest of [...models.keys()].slice(0, -MOST_MODELS)) models.delete(oldest);
      log(`${workflowId}: begins`);
      return model;
    };
    const activities = Object.fromEntries(
      StateModel.activityNames.map((name) => [
        name,
        async (argument: unknown) => {
          const model = await modelOf(name === 'preflight');
          return await (model.activities[name] as (argument: unknown) => Promise<unknown>)(argument);
        },
      ]),
    ) as unknown as MigrationActivities;
    const taskQueue = rehearsalQueue(process.env['TEMPORAL_TASK_QUEUE'] || 'kafka-to-owlmq');
    const worker = await Worker.create({
      connection: nativeConnection,
      namespace,
      taskQueue,
      workflowBundle: { codePath: workflowBundlePath(encryption !== undefined) },
      ...converter,
      activities: { ...activities },
      maxHeartbeatThrottleInterval: '1 second',
      defaultHeartbeatThrottleInterval: '1 second',
    });
    log(`Serving task queue ${taskQueue} in namespace ${namespace} with models, seed ${seed}. Ctrl-C ends it.`);
    const ended = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => {
        resolve();
      });
    });
    await worker.runUntil(ended);
    signal.throwIfAborted();
  } finally {
    await nativeConnection.close();
    await close();
  }
}
