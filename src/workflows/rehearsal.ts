import { workflowInfo } from '@temporalio/workflow';
import { isRehearsalQueue, rehearsalQueue } from './rehearsal-queue.js';

/** Of this run: the sandbox gives each run modules of its own. */
let rehearsal = false;

/**
 * Sends every activity of this run, whichever options it is scheduled with, to a task queue that no worker with
 * connections polls. Called once, before the first activity.
 *
 * @returns why the run must not begin; undefined when it may.
 */
export function rehearse(wanted: boolean): string | undefined {
  rehearsal = wanted;
  const { taskQueue } = workflowInfo();
  // Nobody is to take for a migration what a model went through.
  return !wanted && isRehearsalQueue(taskQueue)
    ? `rehearsal: must be true on task queue ${taskQueue}, where a model takes the place of Kafka and OwlMQ`
    : undefined;
}

/** Where activities are scheduled; undefined: on the run's own task queue. */
export function activityTaskQueue(): string | undefined {
  return rehearsal ? rehearsalQueue(workflowInfo().taskQueue) : undefined;
}
