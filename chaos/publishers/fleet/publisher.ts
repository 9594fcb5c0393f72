// A service that publishes, in a process of its own that may be killed or frozen at any moment.
import { setTimeout as delay } from 'node:timers/promises';
import {
  DualPublisher,
  KafkaConnectError,
  PublishBufferFullError,
  PublisherClosedError,
  PublishFailedError,
  PublishHeldTimeoutError,
  RoutingUnavailableError,
} from '@owlmq/kafka-bridge';
import { READY, untilStopped } from '../../../demo/child-process.js';
import { clockMs, EventLog } from '../../../demo/event-log.js';
import { messages, valueOf, type ChaosMessage } from './message.js';
import type { PublishEvent } from './publish-log.js';
import { publisherSettings } from './publisher-settings.js';
import { watchedKafka, watchedOwlmq } from './watched-legs.js';

/** Errors that say that the message is on no leg; all others leave it open. */
const notPublished = [
  ...[PublishFailedError, PublishHeldTimeoutError, PublishBufferFullError, PublisherClosedError],
  ...[RoutingUnavailableError, KafkaConnectError],
];
const TICK_MS = 20;
/** Calls that wait for their outcome; a publisher that is held for long makes no more. */
const MOST_OUTSTANDING = 2_000;

const settings = publisherSettings();
const log = new EventLog<PublishEvent>(settings.CHAOS_LOG);
const sent = (leg: 'kafka' | 'owlmq', ids: string[], at: number): void => {
  // Members' reports are writes too.
  if (ids.length > 0) log.write({ event: 'sent', leg, ids, at });
};
const owlmq = watchedOwlmq(sent);
// Bounds short enough that faults outlast them.
const publisher = new DualPublisher({
  kafka: watchedKafka(settings.KAFKA_BROKERS.split(','), sent),
  owlmq: { client: owlmq },
  migration: settings.MIGRATION,
  deliveryTimeoutMs: 5_000,
  holdTimeoutMs: 20_000,
  bufferTimeoutMs: 10_000,
  mirrorTimeoutMs: 1_000,
  maxBacklogMessages: 1_000,
  onEvent: (event) => {
    const at = Math.round(clockMs());
    if (event.type === 'error') console.log(at, 'error', String(event.error));
    else if (event.type === 'routing') console.log(at, 'routing', event.state.epoch, event.state.reason);
    else console.log(at, JSON.stringify(event));
  },
});
const outstanding = new Set<Promise<void>>();

async function publish(message: ChaosMessage): Promise<void> {
  const { id, topic, key } = message;
  try {
    const { epoch, kafka, owlmq } = await publisher.publish(topic, valueOf(message), { id, key });
    log.write({
      event: 'ok',
      ...{ id, epoch, at: clockMs() },
      ...(kafka === undefined ? {} : { kafka: [kafka.partition, kafka.offset] as [number, number] }),
      ...(owlmq === undefined ? {} : { owlmq: [owlmq.partition, owlmq.offset] as [number, number] }),
    });
  } catch (thrown) {
    const event = notPublished.some((type) => thrown instanceof type) ? 'failed' : 'unknown';
    log.write({ event, id, error: thrown instanceof Error ? thrown.name : String(thrown), at: clockMs() });
  }
}

async function connect(): Promise<void> {
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

const stopped = untilStopped();
console.log(READY);
// Kafka may be away or the link broken: for how long is the harness's decision.
await Promise.race([connect(), stopped]);

const source = messages({
  publisher: settings.CHAOS_PUBLISHER,
  incarnation: settings.CHAOS_INCARNATION,
  topics: settings.CHAOS_TOPICS.split(','),
  keys: settings.CHAOS_KEYS,
  seed: settings.CHAOS_SEED,
});
let due = 0;
let last = clockMs();
const ticks = setInterval(() => {
  const now = clockMs();
  due = Math.min(due + ((now - last) * settings.CHAOS_RATE) / 1_000, settings.CHAOS_RATE);
  last = now;
  for (; due >= 1 && outstanding.size < MOST_OUTSTANDING; due--) {
    const { value: message } = source.next() as IteratorYieldResult<ChaosMessage>;
    // Before the call: a process that is killed in it leaves a message of unknown outcome.
    log.write({ event: 'intent', ...message, at: now });
    const publishing = publish(message).finally(() => outstanding.delete(publishing));
    outstanding.add(publishing);
  }
}, TICK_MS);

await stopped;
clearInterval(ticks);
await publisher.close({ timeoutMs: 10_000 });
await Promise.all(outstanding);
await owlmq.close();
log.write({ event: 'closed', at: clockMs() });
log.close();
