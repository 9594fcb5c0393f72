// A service that publishes without the library, as one in another language would: plain kafkajs, and nothing about it
// knows that there is a migration. The bridge forwards what it writes.
import { Kafka, Partitioners } from 'kafkajs';
import { producerSettings, READY, untilStopped } from './child-process.js';
import { clockMs, EventLog, type Produced } from './event-log.js';
import { digestOf, sampleMessages, type SampleMessage } from './sample-data.js';

const TICK_MS = 20;

const settings = producerSettings();
const topic = settings.DEMO_PAYMENTS_TOPIC;
const log = new EventLog<Produced>(settings.DEMO_LOG);
const kafka = new Kafka({ clientId: 'foreign-service', brokers: settings.KAFKA_BROKERS.split(',') });
// One request at a time, so that a retry cannot overtake what comes after it.
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, maxInFlightRequests: 1 });
const messages = sampleMessages({
  topics: { orders: settings.DEMO_ORDERS_TOPIC, payments: topic },
  seed: settings.DEMO_SEED,
  keys: settings.DEMO_KEYS,
  producer: settings.DEMO_PRODUCER,
  producers: settings.DEMO_PRODUCERS,
});

function nextPayment(): SampleMessage {
  for (;;) {
    const { value: message } = messages.next() as IteratorYieldResult<SampleMessage>;
    if (message.topic === topic) return message;
  }
}

async function send(batch: readonly SampleMessage[]): Promise<void> {
  const at = clockMs();
  const records = batch.map(({ key, number, value }) => {
    const bytes = Buffer.from(JSON.stringify(value));
    log.write({ event: 'sent', topic, key, number, digest: digestOf(bytes), at });
    return { key, value: bytes };
  });
  let outcome: 'acknowledged' | 'unknown' = 'acknowledged';
  try {
    await producer.send({ topic, messages: records });
  } catch (error) {
    outcome = 'unknown';
    console.error(error);
  }
  const now = clockMs();
  for (const { key, number } of batch) {
    log.write({ event: 'settled', topic, key, number, outcome, tookMs: now - at, at: now });
  }
}

for (let begun = 0; begun < settings.DEMO_BEGUN; begun++) nextPayment();
await producer.connect();
console.log(READY);

const stop = new AbortController();
const stopping = untilStopped().then(() => {
  stop.abort();
});
let due = 0;
let last = clockMs();
while (!stop.signal.aborted) {
  await Promise.race([stopping, new Promise((resolve) => setTimeout(resolve, TICK_MS))]);
  const now = clockMs();
  due = Math.min(due + ((now - last) * settings.DEMO_RATE) / 1_000, settings.DEMO_RATE);
  last = now;
  const batch = Array.from({ length: Math.floor(due) }, nextPayment);
  due -= batch.length;
  if (batch.length > 0) await send(batch);
}
await producer.disconnect();
log.close();
