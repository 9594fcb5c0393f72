import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DualConsumer, DualPublisher } from '@owlmq/kafka-bridge';
import { ClusterAdmin } from '@owlmq/kafka-bridge/operations';
import { BridgeMetrics } from '@owlmq/kafka-bridge/prometheus';
import { startOwlmqLocal } from '@owlmq/owlmq-local';
import getPort from 'get-port';
import { Registry } from 'prom-client';
import { expect, it, onTestFinished, vi } from 'vitest';
import { serveMetrics } from '../demo/metrics-server.js';
import { documentedMetrics, exposedMetrics } from './documented-metrics.js';

const apiKey = 'the-key-of-this-test';

async function scrape(url: string): Promise<string> {
  const answer = await fetch(url);
  expect(answer.headers.get('content-type')).toContain('text/plain');
  return await answer.text();
}

/** Value of a series, by its name and labels as they are served. */
function valueOf(text: string, series: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length));
}

it('serves what docs/metrics.md names of publishers, consumers and owlmq-local, and nothing else', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'metrics-test-'));
  const owlmq = await startOwlmqLocal({ data: folder, apiKeys: [apiKey] });
  onTestFinished(async () => {
    await owlmq.close();
    await rm(folder, { recursive: true });
  });
  const kafka = { brokers: (process.env.KAFKA_BROKERS ?? '').split(',') };
  const topic = `metrics-${randomUUID()}`;
  const admin = new ClusterAdmin(kafka, { clientId: 'metrics-test' });
  await admin.createTopic(topic, { partitions: 1 });
  await admin.close();

  const registry = new Registry();
  const metrics = new BridgeMetrics(registry);
  const address = `127.0.0.1:${await getPort()}`;
  onTestFinished(await serveMetrics(registry, address));
  const publisher = new DualPublisher({
    kafka,
    owlmq: { url: owlmq.url, apiKey },
    ratio: 1,
    metrics: metrics.publisher,
  });
  onTestFinished(metrics.watchPublisher(publisher));
  onTestFinished(() => publisher.close());
  await fetch(`${owlmq.url}/v1/topics/${topic}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ partitions: 1 }),
  });
  const consumer = new DualConsumer({
    ...{ kafka, groupId: topic, topics: [topic], fromBeginning: true },
    process: ({ value }) => value?.length ?? 0,
    apply: () => undefined,
  });
  onTestFinished(metrics.watchConsumer(topic, consumer));
  onTestFinished(() => consumer.stop());

  await publisher.publish(topic, 'one');
  await publisher.publish(topic, 'two');
  await publisher.flush();
  await consumer.start();
  const text = await vi.waitUntil(
    async () => {
      const now = await scrape(`http://${address}/metrics`);
      return valueOf(now, `owlmq_bridge_consumer_applied_messages_total{group="${topic}"}`) === 2 ? now : undefined;
    },
    { timeout: 60_000, interval: 100 },
  );

  expect(exposedMetrics(text, '')).toEqual(await documentedMetrics('Publishers and consumers'));
  const calls = `owlmq_bridge_publisher_call_duration_seconds_count{topic="${topic}",leg="kafka",outcome="published"}`;
  expect(valueOf(text, calls)).toBe(2);
  expect(valueOf(text, `owlmq_bridge_publisher_copies_total{topic="${topic}",leg="owlmq",outcome="written"}`)).toBe(2);
  expect(valueOf(text, `owlmq_bridge_consumer_joined{group="${topic}"}`)).toBe(1);
  expect(valueOf(text, 'owlmq_bridge_publisher_unsettled_calls')).toBe(0);

  const broker = await scrape(`${owlmq.url}/metrics`);
  expect(exposedMetrics(broker, '')).toEqual(await documentedMetrics('owlmq-local'));
  expect(valueOf(broker, `owlmq_publish_entries_total{topic="${topic}",outcome="written"}`)).toBe(2);
});
