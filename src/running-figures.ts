import type { Client } from '@temporalio/client';
import type { MetricMeter } from '@temporalio/common';
import type { Logger } from 'pino';
import { MIGRATION_TYPE, runningMigrations } from './migrations-of.js';
import { figuresQuery } from './workflows/messages.js';

const ANSWER_WITHIN_MS = 10_000;

/**
 * Asks the migrations that run on a task queue for their figures, one after the other, and puts them into the metrics:
 * a run that waits for days tells a worker that has just started nothing by itself. Ends when all have been asked, or at
 * the signal; what cannot be asked is logged, and tells its figures with its next step.
 */
export async function reportRunning(
  client: Client,
  { taskQueue, meter, logger, signal }: { taskQueue: string; meter: MetricMeter; logger: Logger; signal: AbortSignal },
): Promise<void> {
  // As the SDK tags what workflows tell: it is the same series.
  const tags = { namespace: client.options.namespace, taskQueue, workflowType: MIGRATION_TYPE };
  const isAborted = (): boolean => signal.aborted;
  try {
    for (const { workflowId } of await runningMigrations(client, taskQueue)) {
      if (isAborted()) return;
      try {
        const handle = client.workflow.getHandle(workflowId);
        const figures = await client.withDeadline(Date.now() + ANSWER_WITHIN_MS, () =>
          client.withAbortSignal(signal, () => handle.query(figuresQuery)),
        );
        for (const { name, labels, value } of figures) {
          meter.createGauge(name, 'float').set(value, { ...tags, ...labels, migration: workflowId });
        }
      } catch (error) {
        if (isAborted()) return;
        logger.warn({ err: error, migration: workflowId }, 'the migration could not be asked for its figures');
      }
    }
  } catch (error) {
    logger.warn({ err: error }, 'the migrations that run could not be listed for their figures');
  }
}
