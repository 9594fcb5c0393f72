import { fatedInvoice } from './fates.js';
import { orderConsumer } from './order-consumer.js';

/** A member of the group in a process of its own, for `kill-run.ts`. */
export interface MemberRequest {
  brokers: string[];
  owlmq: { url: string; apiKey: string };
  migration: string;
  topic: string;
  group: string;
}

const { brokers, owlmq, migration, topic, group } = JSON.parse(process.argv[2] ?? 'null') as MemberRequest;
// Whoever started it is gone.
process.once('disconnect', () => process.exit());

const given = { kafka: { brokers }, owlmq, migration, groupId: group, topics: [topic] };
await orderConsumer(given, fatedInvoice).start();
process.send?.('ready');
