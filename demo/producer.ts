// A service that publishes: one of several processes of the demo, and the picture of what a real one needs.
import {
  DualPublisher,
  PublishFailedError,
  PublishHeldTimeoutError,
  PublishBufferFullError,
  PublisherClosedError,
} from '@owlmq/kafka-bridge';
import { kafkaConnection, producerSettings, READY, untilStopped } from './child-process.js';
import { clockMs, EventLog, type Produced } from './event-log.js';
import { digestOf, sampleMessages, type SampleMessage } from './sample-data.js';

/** Errors that say that the message is on no leg; all others leave it open. */
const notPublished = [PublishFailedError, PublishHeldTimeoutError, PublishBufferFullError, PublisherClosedError];
const TICK_MS = 10;
/** Calls that wait for their outcome; a producer that is held for long makes no more. */
const MOST_OUTSTANDING = 5_000;

const settings = producerSettings();
const log = new EventLog<Produced>(settings.DEMO_LOG);
const publisher = new DualPublisher({
  kafka: kafkaConnection('demo-producer'),
  migration: settings.MIGRATION,
  onEvent: (event) => {
    if (event.type === 'error') console.error(event.error);
    else if (event.type === 'routing') console.log('routing', event.state.epoch, event.state.reason);
    else console.log(event);
  },
});
const messages = sampleMessages({
  topics: { orders: settings.DEMO_ORDERS_TOPIC, payments: settings.DEMO_PAYMENTS_TOPIC },
  seed: settings.DEMO_SEED,
  keys: settings.DEMO_KEYS,
  producer: settings.DEMO_PRODUCER,
  producers: settings.DEMO_PRODUCERS,
});
for (let begun = 0; begun < settings.DEMO_BEGUN; begun++) messages.next();
const outstanding = new Set<Promise<void>>();

async function publish({ topic, key, number, value }: SampleMessage): Promise<void> {
  const bytes = Buffer.from(JSON.stringify(value));
  const at = clockMs();
  log.write({ event: 'sent', topic, key, number, digest: digestOf(bytes), at });
  const settled = (rest: Pick<Produced & { event: 'settled' }, 'outcome' | 'id' | 'error'>): void => {
    const now = clockMs();
    log.write({ event: 'settled', topic, key, number, ...rest, tookMs: now - at, at: now });
  };
  try {
    const { id } = await publisher.publish(topic, bytes, { key });
    settled({ outcome: 'acknowledged', id });
  } catch (error) {
    const failed = notPublished.some((type) => error instanceof type);
    settled({ outcome: failed ? 'failed' : 'unknown', error: String(error) });
  }
}

await publisher.connect();
console.log(READY);

let due = 0;
let last = clockMs();
const ticks = setInterval(() => {
  const now = clockMs();
  due = Math.min(due + ((now - last) * settings.DEMO_RATE) / 1_000, settings.DEMO_RATE);
  last = now;
  for (; due >= 1 && outstanding.size < MOST_OUTSTANDING; due--) {
    const { value: message } = messages.next() as IteratorYieldResult<SampleMessage>;
    const publishing = publish(message).finally(() => outstanding.delete(publishing));
    outstanding.add(publishing);
  }
}, TICK_MS);

await untilStopped();
clearInterval(ticks);
await publisher.close();
await Promise.all(outstanding);
log.close();
