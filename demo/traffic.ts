// Sample traffic for `npm run up`: one process that publishes modestly and consumes in both groups, until stopped.
// MIGRATION names the migration it obeys (default migrate-orders), TRAFFIC_RATE its messages a second (default 20),
// TRAFFIC_METRICS_ADDRESS where Prometheus may scrape what publisher and consumers measure (default: nowhere).
import { ClusterAdmin } from '@owlmq/kafka-bridge/operations';
import { DualConsumer, DualPublisher } from '@owlmq/kafka-bridge';
import { BridgeMetrics } from '@owlmq/kafka-bridge/prometheus';
import { Registry } from 'prom-client';
import { z } from 'zod';
import { givenSettings, hostAndPort } from '../src/settings.js';
import { untilStopped } from './child-process.js';
import { serveMetrics } from './metrics-server.js';
import { sampleMessages, type SampleMessage } from './sample-data.js';

const settings = z
  .object({
    KAFKA_BROKERS: z.string().min(1),
    MIGRATION: z.string().min(1).default('migrate-orders'),
    TRAFFIC_RATE: z.coerce.number().positive().max(1_000).default(20),
    TRAFFIC_METRICS_ADDRESS: hostAndPort.optional(),
  })
  .parse(givenSettings(process.env));
const kafka = { brokers: settings.KAFKA_BROKERS.split(',') };
const topic = 'orders.created';
const groups = ['payment-service', 'notification-service'];
const migration = settings.MIGRATION;
const PARTITIONS = 6;
/** Enough for the default soak and warm period, and a way back from them. */
const RETENTION_MS = 30 * 24 * 3_600_000;
const REPORT_INTERVAL_MS = 60_000;
/** Calls that wait for their outcome; while publishers are held no more are made. */
const MOST_OUTSTANDING = 1_000;

const counts = { published: 0, failed: 0, applied: Object.fromEntries(groups.map((group) => [group, 0])) };

function log(text: string): void {
  console.log(`${new Date().toISOString()} ${text}`);
}

function onError(error: Error): void {
  log(`${error.name}: ${error.message}`);
}

async function createTopic(): Promise<void> {
  const admin = new ClusterAdmin(kafka, { clientId: 'sample-traffic' });
  try {
    await admin.createTopic(topic, { partitions: PARTITIONS, configs: { 'retention.ms': String(RETENTION_MS) } });
  } finally {
    await admin.close();
  }
}

await createTopic();
const registry = new Registry();
const metrics = new BridgeMetrics(registry);
const publisher = new DualPublisher({
  kafka,
  migration,
  metrics: metrics.publisher,
  onEvent: (event) => {
    if (event.type === 'error') onError(event.error);
    else if (event.type === 'routing') log(`publisher obeys epoch ${event.state.epoch}: ${event.state.reason}`);
    else if (event.type === 'released') log(`publisher was held for ${Math.round(event.heldMs)} ms`);
  },
});
const consumers = groups.map(
  (groupId) =>
    new DualConsumer({
      kafka,
      migration,
      groupId,
      topics: [topic],
      fromBeginning: true,
      process: ({ value }) => ({ bytes: value?.length ?? 0 }),
      apply: () => {
        counts.applied[groupId] = (counts.applied[groupId] ?? 0) + 1;
      },
      onError,
    }),
);
metrics.watchPublisher(publisher);
for (const [index, consumer] of consumers.entries()) metrics.watchConsumer(groups[index] ?? '', consumer);
const closeMetrics =
  settings.TRAFFIC_METRICS_ADDRESS === undefined
    ? undefined
    : await serveMetrics(registry, settings.TRAFFIC_METRICS_ADDRESS);
await Promise.all([publisher.connect(), ...consumers.map((consumer) => consumer.start())]);
log(`publishing ${settings.TRAFFIC_RATE} messages a second to ${topic}`);

const share = { topics: { orders: topic, payments: 'not published' }, keys: 100, producer: 0, producers: 1 };
const messages = sampleMessages({ ...share, seed: Date.now() });

function nextOrder(): SampleMessage {
  for (;;) {
    const next = messages.next().value as SampleMessage;
    if (next.topic === topic) return next;
  }
}

let outstanding = 0;
const publishing = setInterval(() => {
  if (outstanding >= MOST_OUTSTANDING) return;
  const { key, value } = nextOrder();
  outstanding++;
  publisher
    .publish(topic, value, { key })
    .then(
      () => counts.published++,
      (error: unknown) => {
        counts.failed++;
        onError(error instanceof Error ? error : new Error(String(error)));
      },
    )
    .finally(() => outstanding--);
}, 1_000 / settings.TRAFFIC_RATE);
const reporting = setInterval(() => {
  log(JSON.stringify(counts));
}, REPORT_INTERVAL_MS);

await untilStopped();
clearInterval(publishing);
clearInterval(reporting);
await publisher.close();
await Promise.all(consumers.map((consumer) => consumer.stop()));
await closeMetrics?.();
