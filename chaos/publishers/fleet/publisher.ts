// A service that publishes, in a process of its own that may be killed or frozen at any moment.
import { DualPublisher } from '@owlmq/kafka-bridge';
import { READY, untilStopped } from '../../../demo/child-process.js';
import { clockMs, EventLog } from '../../../demo/event-log.js';
import { publisherSettings } from '../../services/publisher-settings.js';
import { briefBounds, connectAtLast, outcomeOf, paced } from '../../services/publishing.js';
import { messages, valueOf, type ChaosMessage } from './message.js';
import type { PublishEvent } from './publish-log.js';
import { watchedKafka, watchedOwlmq } from './watched-legs.js';

/** Calls that wait for their outcome; a publisher that is held for long makes no more. */
const MOST_OUTSTANDING = 2_000;

const settings = publisherSettings();
const log = new EventLog<PublishEvent>(settings.CHAOS_LOG);
const sent = (leg: 'kafka' | 'owlmq', ids: string[], at: number): void => {
  // Members' reports are writes too.
  if (ids.length > 0) log.write({ event: 'sent', leg, ids, at });
};
const owlmq = watchedOwlmq(sent);
const publisher = new DualPublisher({
  ...briefBounds,
  kafka: watchedKafka(settings.KAFKA_BROKERS.split(','), sent),
  owlmq: { client: owlmq },
  migration: settings.MIGRATION,
  maxBacklogMessages: 1_000,
});
const outstanding = new Set<Promise<void>>();

async function publish(message: ChaosMessage): Promise<void> {
  const { id, topic, key } = message;
  try {
    const { epoch, kafka, owlmq } = await publisher.publish(topic, valueOf(message), { id, key });
    log.write({
      event: 'ok',
      ...{ id, epoch, at: clockMs() },
      ...(kafka === undefined ? {} : { kafka: [kafka.partition, kafka.offset] as [number, number] }),
      ...(owlmq === undefined ? {} : { owlmq: [owlmq.partition, owlmq.offset] as [number, number] }),
    });
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown.name : String(thrown);
    log.write({ event: outcomeOf(thrown), id, error, at: clockMs() });
  }
}

const stopped = untilStopped();
console.log(READY);
await Promise.race([connectAtLast(publisher), stopped]);

const source = messages({
  publisher: settings.CHAOS_PUBLISHER,
  incarnation: settings.CHAOS_INCARNATION,
  topics: settings.CHAOS_TOPICS.split(','),
  keys: settings.CHAOS_KEYS,
  seed: settings.CHAOS_SEED,
});
const pace = { rate: settings.CHAOS_RATE, tickMs: 20, mostOutstanding: MOST_OUTSTANDING };
const end = paced(pace, outstanding, (count) => {
  for (let made = 0; made < count; made++) {
    const { value: message } = source.next() as IteratorYieldResult<ChaosMessage>;
    // Before the call: a process that is killed in it leaves a message of unknown outcome.
    log.write({ event: 'intent', ...message, at: clockMs() });
    const publishing = publish(message).finally(() => outstanding.delete(publishing));
    outstanding.add(publishing);
  }
});

await stopped;
end();
await publisher.close({ timeoutMs: 10_000 });
await Promise.all(outstanding);
await owlmq.close();
log.write({ event: 'closed', at: clockMs() });
log.close();
