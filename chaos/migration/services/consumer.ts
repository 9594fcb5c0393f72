// A service that consumes: one member of a group, which may be killed or frozen at any moment. Its effect on the world is
// an entry in a file.
import { setTimeout as delay } from 'node:timers/promises';
import { DualConsumer } from '@owlmq/kafka-bridge';
import { READY, untilStopped } from '../../../demo/child-process.js';
import { clockMs } from '../../../demo/event-log.js';
import { consumerSettings } from './consumer-settings.js';
import { Journal, marks } from './journal.js';
import { contentOf, nameIn } from './message.js';

/** The shortest that a broker allows by default: who was killed is missed soon. */
const SESSION_TIMEOUT_MS = 6_000;

const settings = consumerSettings();
const topics = settings.CHAOS_TOPICS.split(',');
const rules = {
  ...{ seed: settings.CHAOS_SEED, topics, keys: settings.CHAOS_KEYS },
  foreign: settings.CHAOS_FOREIGN,
};
const journal = new Journal(settings.CHAOS_LOG);

function newConsumer(): DualConsumer<string> {
  return new DualConsumer({
    kafka: { brokers: settings.KAFKA_BROKERS.split(',') },
    migration: settings.MIGRATION,
    groupId: settings.CHAOS_GROUP,
    topics,
    fromBeginning: true,
    consumer: { sessionTimeout: SESSION_TIMEOUT_MS },
    process: ({ value }) => value?.toString() ?? '',
    apply: (value, { topic, key, position: { leg } }) => {
      const name = nameIn(rules, value);
      if (name === undefined) {
        console.log(Math.round(clockMs()), 'unreadable', value.slice(0, 200));
        journal.write(marks.unreadable, [{ producer: 0, start: 0, serial: 0 }]);
        return;
      }
      const content = contentOf(rules, name);
      const same = content.topic === topic && content.key === (key?.toString() ?? null) && content.value === value;
      const [asKafka, asOwlmq] = same
        ? [marks.appliedFromKafka, marks.appliedFromOwlmq]
        : [marks.alteredFromKafka, marks.alteredFromOwlmq];
      journal.write(leg === 'kafka' ? asKafka : asOwlmq, [name]);
    },
    onError: (error) => {
      console.log(Math.round(clockMs()), String(error), causesOf(error));
    },
  });
}

function causesOf({ cause }: Error): string {
  return cause instanceof Error ? `: ${String(cause)}${causesOf(cause)}` : '';
}

const stopped = untilStopped().then(() => 'stopped' as const);
console.log(READY);
// A service whose start fails is started anew by whoever runs it.
for (;;) {
  const consumer = newConsumer();
  const started = consumer.start().then(
    () => 'started' as const,
    (error: unknown) => {
      console.log(Math.round(clockMs()), 'start', String(error));
      return 'failed' as const;
    },
  );
  const how = await Promise.race([started, stopped]);
  if (how === 'started') await stopped;
  await consumer.stop().catch((error: unknown) => {
    console.log(Math.round(clockMs()), 'stop', String(error));
  });
  if (how !== 'failed') break;
  await delay(500);
}
journal.close();
