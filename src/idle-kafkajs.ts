import { createRequire } from 'node:module';

/** What of kafkajs's queue of requests is touched. */
interface RequestQueue {
  readonly pending: readonly unknown[];
  readonly throttledUntil: number;
  scheduleCheckPendingRequests(): void;
}

/**
 * Has kafkajs look at the queue of a connection only while something is in it. Version 2.2.4, the last one, looks every
 * millisecond, for as long as the connection lasts: the delay until an end of throttling that lies in the past is
 * negative. That is nothing for one connection, and a whole core for the thousand that a worker has whose migrations are
 * many (github.com/tulios/kafkajs/issues/1704). For a process of our own alone, since it changes kafkajs for all of it.
 */
export function letIdleKafkajsRest(): void {
  const { prototype } = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js') as {
    prototype: RequestQueue;
  };
  const schedule = Reflect.get(prototype, 'scheduleCheckPendingRequests');
  prototype.scheduleCheckPendingRequests = function (this: RequestQueue): void {
    if (this.pending.length > 0 || this.throttledUntil > Date.now()) schedule.call(this);
  };
}
