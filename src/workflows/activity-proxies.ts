import { ActivityCancellationType, proxyActivities, type ActivityOptions } from '@temporalio/workflow';
import type { MigrationActivities } from '../activities/migration-activities.js';
import { activityTaskQueue } from './rehearsal.js';

/**
 * Activities, grouped by how they fail and how long they may take. None retries for ever: when a group's attempts are
 * used up the workflow blocks, says why, and waits for a person.
 */

/** The task queue is asked for at each call: a rehearsal has one of its own. */
function migrationActivities(options: ActivityOptions) {
  return proxyActivities<MigrationActivities>({
    ...options,
    get taskQueue() {
      return activityTaskQueue();
    },
  } as ActivityOptions);
}

/**
 * One or a few calls to Kafka or OwlMQ, which answer in well under a second when they are healthy. Half a minute an
 * attempt rides out a leader election; eight attempts with growing pauses ride out a broker's restart.
 */
const quickOptions = {
  startToCloseTimeout: '30 seconds',
  retry: {
    initialInterval: '500 milliseconds',
    backoffCoefficient: 2,
    maximumInterval: '15 seconds',
    maximumAttempts: 8,
  },
} as const;

export const { preflight, prepareTopics, proveLeg, checkReadiness, observationEnds } =
  migrationActivities(quickOptions);

/**
 * Those that come while publishers hold, too: a worker that died in one is noticed within seconds, not when the half
 * minute of the attempt is over.
 */
export const { applyRouting, legEnds, restoreKafkaOffsets } = migrationActivities({
  ...quickOptions,
  heartbeatTimeout: '5 seconds',
});

/**
 * Waits for the fleet. A member that died is waited for until a lease after its last report, so an attempt that takes five minutes waits
 * for members that report but do not follow, which a retry does not mend: three attempts, then a person.
 */
export const { awaitPublishers, awaitConsumers, awaitDrained } = migrationActivities({
  startToCloseTimeout: '5 minutes',
  heartbeatTimeout: '15 seconds',
  retry: { initialInterval: '1 second', maximumInterval: '10 seconds', maximumAttempts: 3 },
});

/** Tries a rollback without doing it: canaries, and positions that are translated, by reading what is not proven yet. */
export const { proveWayBack } = migrationActivities({
  startToCloseTimeout: '3 minutes',
  heartbeatTimeout: '15 seconds',
  retry: { initialInterval: '1 second', maximumInterval: '5 seconds', maximumAttempts: 3 },
});

/**
 * Work that grows with the log: audits and offset moves. It resumes from its heartbeat, so attempts are cheap; ten of
 * them without success in a row mean that a system is down for longer than a restart.
 */
export const { auditToOwlmq, auditToKafka, moveOffsets } = migrationActivities({
  startToCloseTimeout: '6 hours',
  heartbeatTimeout: '30 seconds',
  retry: { initialInterval: '1 second', maximumInterval: '30 seconds', maximumAttempts: 10 },
});

/**
 * Watches that run for a slice of time and complete with a report. When one is cancelled, for a pause or a rollback,
 * it still completes with what it saw so far.
 */
export const { watchAudit, watchFleet, watchSoak, watchWarm } = migrationActivities({
  startToCloseTimeout: '25 hours',
  heartbeatTimeout: '30 seconds',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1 second', maximumInterval: '1 minute', maximumAttempts: 15 },
});

/**
 * The same steps inside the cutover window, while publishers hold. Attempts are short and follow at once, a worker that
 * died is noticed within five seconds, and the window's own deadline ends them all.
 */
export const inWindow = migrationActivities({
  startToCloseTimeout: '10 minutes',
  heartbeatTimeout: '5 seconds',
  retry: { initialInterval: '100 milliseconds', maximumInterval: '1 second', backoffCoefficient: 2 },
});

/**
 * Steps of a cancelled cutover. Publishers hold until they are through, so they are tried fast and for two minutes;
 * the cancel then goes on to the next step and reports what failed.
 */
export const inCancel = migrationActivities({
  scheduleToCloseTimeout: '2 minutes',
  heartbeatTimeout: '5 seconds',
  retry: { initialInterval: '200 milliseconds', maximumInterval: '2 seconds' },
});

/**
 * Calls to webhooks. The activity tries until the hook's own time is over, which the caller gives as the time for all
 * attempts; another worker takes over from one that died.
 */
export const { callHook } = migrationActivities({
  scheduleToCloseTimeout: '1 hour',
  heartbeatTimeout: '5 seconds',
  retry: { initialInterval: '200 milliseconds', maximumInterval: '5 seconds' },
});
