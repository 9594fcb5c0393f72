// A service that consumes: one member of a group. What it does in `apply` is its effect on the world, here a line in a
// file; what it computes in `process` is what its shadow computes too.
import { DualConsumer } from '@owlmq/kafka-bridge';
import { z } from 'zod';
import { consumerSettings, kafkaConnection, READY, untilStopped } from './child-process.js';
import { clockMs, EventLog, type Applied } from './event-log.js';
import { digestOf } from './sample-data.js';

const bodySchema = z.looseObject({ customer: z.string(), number: z.number(), cents: z.number() });

const settings = consumerSettings();
const log = new EventLog<Applied>(settings.DEMO_LOG);
const consumer = new DualConsumer({
  kafka: kafkaConnection('demo-consumer'),
  migration: settings.MIGRATION,
  groupId: settings.DEMO_GROUP,
  topics: settings.DEMO_TOPICS.split(','),
  fromBeginning: true,
  ...(settings.DEMO_SESSION_TIMEOUT === ''
    ? {}
    : { consumer: { sessionTimeout: Number(settings.DEMO_SESSION_TIMEOUT) } }),
  process: ({ topic, value }) => {
    const { customer, number, cents } = bodySchema.parse(JSON.parse(value?.toString() ?? 'null'));
    const fee = Math.round(cents * 0.014) + 25;
    return { customer, number, text: `${topic} #${number} of ${customer}: ${cents} cents, fee ${fee}`, fee };
  },
  apply: ({ customer, number }, { topic, id, value, position }) => {
    const digest = digestOf(value ?? Buffer.alloc(0));
    log.write({
      ...{ topic, key: customer, number, id, digest, leg: position.leg },
      ...{ member: settings.DEMO_MEMBER, at: clockMs() },
    });
  },
  onError: (error) => {
    console.error(error);
  },
});

await consumer.start();
console.log(READY);
await untilStopped();
await consumer.stop();
log.close();
