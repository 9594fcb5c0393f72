import { asError, bounded } from '../async/bounded.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, UnknownTopicError } from '../kafka/log-reader.js';
import type { CallOptions, OwlmqApi } from '../owlmq/owlmq-api.js';
import { RoutingUnavailableError } from './routing-errors.js';
import { decodeRoutingRecord, newerState } from './routing-log.js';
import { isFinal, ROUTING_TOPIC, type RoutingState } from './routing-state.js';

/**
 * OwlMQ topic (one partition) of the final routing states, keyed by migration. Members that start when Kafka has been
 * switched off go by them: no state follows a final one, so that nothing else need be asked.
 */
const FINAL_STATES_TOPIC = 'owlmq-bridge.final-states';

/** In place of Kafka's brokers: Kafka is not asked for anything, and must have been left for good. */
export type Decommissioned = 'decommissioned';

/** What there is to connect to where Kafka is gone. */
export const NO_KAFKA: KafkaConnection = { brokers: ['decommissioned.invalid:9092'] };

const KAFKA_WITHIN_MS = 5_000;
/** A slow OwlMQ must not delay a start before the cutover for long. */
const OWLMQ_WITHIN_MS = 2_000;
/** It is all that there is. */
const OWLMQ_ALONE_WITHIN_MS = 15_000;

const OWLMQ_NEEDED = "With kafka: 'decommissioned' a member begins by the final routing state that OwlMQ keeps.";
const NOT_OVER =
  "kafka: 'decommissioned' is for after the decommission, which puts that state there: give Kafka's brokers until then.";

/** The final state could not be kept on OwlMQ, or OwlMQ keeps another one with a higher epoch. */
class FinalStateNotKeptError extends Error {
  override readonly name = 'FinalStateNotKeptError';
}

/**
 * Keeps a final state on OwlMQ. To be called once it stands in Kafka. Doing it again changes nothing.
 *
 * @throws {FinalStateNotKeptError} and OwlMQ's errors.
 */
export async function keepFinalState(owlmq: OwlmqApi, state: RoutingState): Promise<void> {
  if (!isFinal(state)) throw new TypeError(`epoch ${state.epoch} of ${state.migration} is not final`);
  await owlmq.createTopic(FINAL_STATES_TOPIC, 1);
  const id = `${state.migration}/${state.epoch}`;
  const [key, value] = [Buffer.from(state.migration), Buffer.from(JSON.stringify(state))];
  const record = { partition: 0, id, key, value, headers: [], timestamp: Date.now() };
  const [result] = await owlmq.publish(FINAL_STATES_TOPIC, [record]);
  if (result?.ok !== true) {
    throw new FinalStateNotKeptError(
      `OwlMQ did not take the final state of ${state.migration}: ${result?.detail ?? ''}`,
    );
  }
  const kept = await readFinalState(owlmq, state.migration);
  if (kept?.epoch !== state.epoch) {
    throw new FinalStateNotKeptError(
      `OwlMQ keeps epoch ${kept?.epoch ?? 'none'} of ${state.migration} as the final one.`,
    );
  }
}

/** The final state of a migration that OwlMQ keeps; undefined when there is none. */
async function readFinalState(
  owlmq: OwlmqApi,
  migration: string,
  options: CallOptions = {},
): Promise<RoutingState | undefined> {
  const [partition] = (await owlmq.describeTopic(FINAL_STATES_TOPIC, options))?.partitions ?? [];
  if (partition === undefined) return undefined;
  let found: RoutingState | undefined;
  for (let offset = partition.beginOffset; offset < partition.endOffset;) {
    const { records } = await owlmq.read(FINAL_STATES_TOPIC, 0, offset, options);
    const last = records.at(-1);
    if (last === undefined) break;
    for (const record of records) {
      if (record.key?.toString() !== migration) continue;
      const state = decodeRoutingRecord(record);
      if (state !== undefined && isFinal(state)) found = newerState(found, state);
    }
    offset = last.offset + 1;
  }
  return found;
}

/**
 * The final state that a member goes by which starts without Kafka; undefined when it goes by Kafka, as every member does
 * whose migration has a state there. OwlMQ is asked only where Kafka does not answer, or knows nothing of the migration.
 *
 * @throws {RoutingUnavailableError} when Kafka is said to be gone, and OwlMQ keeps no final state or does not answer.
 */
export async function finalStateToStartBy(options: {
  kafka: KafkaConnection | Decommissioned;
  owlmq: OwlmqApi;
  migration: string;
  clientId: string;
}): Promise<RoutingState | undefined> {
  const { kafka, owlmq, migration, clientId } = options;
  if (kafka === 'decommissioned') {
    const kept = await readFinalState(owlmq, migration, { timeoutMs: OWLMQ_ALONE_WITHIN_MS }).catch(
      (error: unknown) => {
        const cause = asError(error);
        throw new RoutingUnavailableError(migration, `OwlMQ does not answer: ${cause.message}`, cause, OWLMQ_NEEDED);
      },
    );
    if (kept !== undefined) return kept;
    throw new RoutingUnavailableError(migration, 'OwlMQ keeps no final routing state of it.', undefined, NOT_OVER);
  }
  if (await isKnownToKafka(kafka, migration, clientId)) return undefined;
  // Without an answer all is as ever: what Kafka says, once it does.
  const asked = readFinalState(owlmq, migration, { timeoutMs: OWLMQ_WITHIN_MS, attempts: 1 });
  return await asked.catch(() => undefined);
}

/** False when Kafka does not answer soon, too. */
async function isKnownToKafka(kafka: KafkaConnection, migration: string, clientId: string): Promise<boolean> {
  const reader = new LogReader(kafka, { clientId, retryForMs: KAFKA_WITHIN_MS });
  const ended = new AbortController();
  const look = async (): Promise<boolean> => {
    for await (const { key } of reader.readToEnd(ROUTING_TOPIC, 0, 'begin', { signal: ended.signal })) {
      if (key?.toString() === migration) return true;
    }
    return false;
  };
  try {
    return await bounded(look(), KAFKA_WITHIN_MS, () => new UnknownTopicError(ROUTING_TOPIC));
  } catch {
    // The member's own start says what is wrong.
    return false;
  } finally {
    ended.abort();
    await reader.close();
  }
}
