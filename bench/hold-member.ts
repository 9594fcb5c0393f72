import { DualConsumer, DualPublisher } from '@owlmq/kafka-bridge';

/** Publishers and consumers in one process, for `hold.ts`. */
export interface HoldMemberRequest {
  migration: string;
  brokers: string[];
  topics: string[];
  publishers: number;
  /** Messages a second of each publisher. */
  rate: number;
  /** One consumer of each. */
  groups: string[];
  /** Of a consumer: each commits by itself, so that few are too slow where there are a hundred. */
  partitionsAtOnce: number;
}

export type HoldMemberTold = { type: 'ready' } | { type: 'failed'; error: string };

/** Of each publisher: between publishers a key has no order that both legs would keep. */
const KEYS = 100;
const TICK_MS = 10;

const { migration, brokers, topics, publishers, rate, groups, partitionsAtOnce } = JSON.parse(
  process.argv[2] ?? '{}',
) as HoldMemberRequest;
const kafka = { brokers };

function failed(error: unknown): void {
  process.send?.({ type: 'failed', error: String(error) } satisfies HoldMemberTold);
}

async function startPublisher(): Promise<() => Promise<void>> {
  const publisher = new DualPublisher({ kafka, migration });
  await publisher.connect();
  let sent = 0;
  let due = 0;
  const timer = setInterval(() => {
    for (due = Math.min(due + (TICK_MS * rate) / 1_000, rate); due >= 1; due--) {
      const n = sent++;
      const topic = topics[n % topics.length] ?? '';
      publisher
        .publish(topic, { n, text: 'x'.repeat(100) }, { key: `key-${publisher.instance}-${n % KEYS}` })
        .catch(failed);
    }
  }, TICK_MS);
  return async () => {
    clearInterval(timer);
    await publisher.close({ timeoutMs: 5_000 });
  };
}

async function startConsumer(groupId: string): Promise<() => Promise<void>> {
  const consumer = new DualConsumer({
    ...{ kafka, migration, groupId, topics, fromBeginning: true },
    consumer: { partitionsConsumedConcurrently: partitionsAtOnce },
    process: ({ value }) => value?.length ?? 0,
    apply: () => undefined,
    onError: failed,
  });
  await consumer.start();
  return () => consumer.stop();
}

// Whoever measures is gone: nobody is left to wait for.
process.once('disconnect', () => process.exit());
const started: Promise<() => Promise<void>>[] = [
  ...groups.map(startConsumer),
  ...Array.from({ length: publishers }, startPublisher),
];
process.once('message', () => {
  Promise.all(started)
    .then((stops) => Promise.all(stops.map((stop) => stop())))
    .catch(failed)
    .finally(() => {
      process.disconnect();
    });
});
await Promise.all(started);
process.send?.({ type: 'ready' } satisfies HoldMemberTold);
