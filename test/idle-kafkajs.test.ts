import { createRequire } from 'node:module';
import { expect, it } from 'vitest';
import { letIdleKafkajsRest } from '../src/idle-kafkajs.js';

interface RequestQueue {
  throttledUntil: number;
  readonly throttleCheckTimeoutId: NodeJS.Timeout | null;
  checkPendingRequests(): void;
  destroy(): void;
}

it('looks at the queue of a connection only while there is something to look for', () => {
  const Queue = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js') as new (
    options: object,
  ) => RequestQueue;
  const looksAgain = (throttledForMs?: number): boolean => {
    const queue = new Queue({ requestTimeout: 1_000, clientId: 'test', broker: 'none', logger: {} });
    if (throttledForMs !== undefined) queue.throttledUntil = Date.now() + throttledForMs;
    queue.checkPendingRequests();
    const looks = queue.throttleCheckTimeoutId !== null;
    queue.destroy();
    return looks;
  };
  // Once this fails, kafkajs needs no help any more.
  expect(looksAgain()).toBe(true);
  letIdleKafkajsRest();
  expect(looksAgain()).toBe(false);
  expect(looksAgain(10_000)).toBe(true);
});
