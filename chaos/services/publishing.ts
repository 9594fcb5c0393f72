import { setTimeout as delay } from 'node:timers/promises';
import {
  KafkaConnectError,
  PublishBufferFullError,
  PublisherClosedError,
  PublishFailedError,
  PublishHeldTimeoutError,
  RoutingUnavailableError,
  type DualPublisher,
  type DualPublisherOptions,
} from '@owlmq/kafka-bridge';
import { clockMs } from '../../demo/event-log.js';

/** Errors that say that the message is on no leg; all others leave it open. */
const notPublished = [
  ...[PublishFailedError, PublishHeldTimeoutError, PublishBufferFullError, PublisherClosedError],
  ...[RoutingUnavailableError, KafkaConnectError],
];

/** What an error of `publish()` says of the message. */
export function outcomeOf(error: unknown): 'failed' | 'unknown' {
  return notPublished.some((type) => error instanceof type) ? 'failed' : 'unknown';
}

/** Bounds short enough that faults outlast them, and the events in the log of the process. */
export const briefBounds = {
  deliveryTimeoutMs: 5_000,
  holdTimeoutMs: 20_000,
  bufferTimeoutMs: 10_000,
  mirrorTimeoutMs: 1_000,
  onEvent: (event) => {
    const at = Math.round(clockMs());
    if (event.type === 'error') console.log(at, 'error', String(event.error));
    else if (event.type === 'routing') console.log(at, 'routing', event.state.epoch, event.state.reason);
    else console.log(at, JSON.stringify(event));
  },
} satisfies Partial<DualPublisherOptions>;

/** Kafka may be away or the link broken: for how long is the harness's decision. */
export async function connectAtLast(publisher: DualPublisher): Promise<void> {
  for (;;) {
    try {
      await publisher.connect();
      return;
    } catch (error) {
      console.log(Math.round(clockMs()), 'connect', String(error));
      await delay(200);
    }
  }
}

/**
 * Calls `publish` each tick, with how many are due by a steady rate a second, as long as no more than `mostOutstanding` calls wait.
 * @returns ends it.
 */
export function paced(
  { rate, tickMs, mostOutstanding }: { rate: number; tickMs: number; mostOutstanding: number },
  outstanding: ReadonlySet<unknown>,
  publish: (count: number) => void,
): () => void {
  let due = 0;
  let last = clockMs();
  const ticks = setInterval(() => {
    const now = clockMs();
    due = Math.min(due + ((now - last) * rate) / 1_000, rate);
    last = now;
    const count = Math.min(Math.floor(due), mostOutstanding - outstanding.size);
    if (count <= 0) return;
    due -= count;
    publish(count);
  }, tickMs);
  return () => {
    clearInterval(ticks);
  };
}
