import { DualConsumer } from '@owlmq/kafka-bridge';
import { fatedInvoice } from './fates.js';

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

await new DualConsumer<unknown>({
  ...{ kafka: { brokers }, owlmq, migration, groupId: group, topics: [topic], fromBeginning: true },
  process: fatedInvoice,
  apply: () => undefined,
  retry: { attempts: 1 },
  onFailure: () => 'skip',
  // Orders fail on purpose, and connections of killed members do.
  onError: () => undefined,
}).start();
process.send?.('ready');
