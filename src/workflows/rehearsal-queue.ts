const SUFFIX = '-rehearsal';

/** Whether a task queue is one on which a model takes the place of Kafka and OwlMQ. */
export function isRehearsalQueue(taskQueue: string): boolean {
  return taskQueue.endsWith(SUFFIX);
}

/** Where the activities of a rehearsal are scheduled whose workflow tasks are on this queue. */
export function rehearsalQueue(taskQueue: string): string {
  return isRehearsalQueue(taskQueue) ? taskQueue : `${taskQueue}${SUFFIX}`;
}
