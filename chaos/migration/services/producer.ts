// A service that publishes, in a process of its own that may be killed or frozen at any moment.
import { DualPublisher } from '@owlmq/kafka-bridge';
import { READY, untilStopped } from '../../../demo/child-process.js';
import { publisherSettings } from '../../services/publisher-settings.js';
import { briefBounds, connectAtLast, outcomeOf, paced } from '../../services/publishing.js';
import { Journal, marks } from './journal.js';
import { contentOf, type MessageName } from './message.js';

/** Calls that wait for their outcome; a producer that is held for long makes no more. */
const MOST_OUTSTANDING = 5_000;
/** Several messages at a time: what a message costs all processes is what bounds the rate. */
const TICK_MS = 100;

const settings = publisherSettings();
const [producer, start] = [settings.CHAOS_PUBLISHER, settings.CHAOS_INCARNATION];
const rules = {
  ...{ seed: settings.CHAOS_SEED, topics: settings.CHAOS_TOPICS.split(','), keys: settings.CHAOS_KEYS },
  // Of no importance to one that is not it.
  foreign: Infinity,
};
const journal = new Journal(settings.CHAOS_LOG);
const publisher = new DualPublisher({
  ...briefBounds,
  kafka: { brokers: settings.KAFKA_BROKERS.split(',') },
  migration: settings.MIGRATION,
  maxBacklogMessages: 5_000,
});
const outstanding = new Set<Promise<void>>();
/** Acknowledged in this turn of the event loop: written down together. */
let acknowledged: MessageName[] = [];

function acknowledge(name: MessageName): void {
  if (acknowledged.length === 0) {
    setImmediate(() => {
      journal.write(marks.acknowledged, acknowledged);
      acknowledged = [];
    });
  }
  acknowledged.push(name);
}

async function publish(name: MessageName): Promise<void> {
  const { topic, key, value } = contentOf(rules, name);
  try {
    await publisher.publish(topic, value, { key });
    acknowledge(name);
  } catch (error) {
    journal.write(marks[outcomeOf(error)], [name]);
  }
}

const stopped = untilStopped();
console.log(READY);
await Promise.race([connectAtLast(publisher), stopped]);

let serial = 0;
const pace = { rate: settings.CHAOS_RATE, tickMs: TICK_MS, mostOutstanding: MOST_OUTSTANDING };
const end = paced(pace, outstanding, (count) => {
  const names = Array.from({ length: count }, () => ({ producer, start, serial: serial++ }));
  // Before the calls: a process that is killed in one leaves a message of unknown outcome.
  journal.write(marks.called, names);
  for (const name of names) {
    const publishing = publish(name).finally(() => outstanding.delete(publishing));
    outstanding.add(publishing);
  }
});

await stopped;
end();
await publisher.close({ timeoutMs: 15_000 });
await Promise.all(outstanding);
// After the turn in which the last ones are written down.
setImmediate(() => {
  journal.close();
});
