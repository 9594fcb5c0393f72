import { v7 as newMessageId } from 'uuid';
import { HEADER } from '../message/headers.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
import { ClusterAdmin } from './cluster-admin.js';
import type { KafkaConnection } from './kafka-connection.js';
import { LogReader } from './log-reader.js';
import { ReplaceableProducer } from './replaceable-producer.js';

/** Topic on both legs that canaries are written to: no message of a user's topic is touched. */
export const CANARY_TOPIC = 'owlmq-bridge.canary';
const SEND_TIMEOUT_MS = 10_000;
const READ_WITHIN_MS = 10_000;

/** A leg acknowledged a message that it then did not give back. */
export class CanaryLostError extends Error {
  override readonly name = 'CanaryLostError';
}

/**
 * Proves that Kafka takes a write and gives it back.
 *
 * @throws {CanaryLostError} when it acknowledged and lost it, and the client's errors when it does not answer.
 */
export async function proveKafka(connection: KafkaConnection): Promise<void> {
  const clientId = 'owlmq-bridge-canary';
  const admin = new ClusterAdmin(connection, { clientId });
  const reader = new LogReader(connection, { clientId, retryForMs: READ_WITHIN_MS });
  const producer = new ReplaceableProducer({ connection, clientId });
  try {
    await admin.createTopic(CANARY_TOPIC, { partitions: 1, configs: { 'retention.ms': '3600000' } });
    const id = newMessageId();
    const from = (await reader.ends(CANARY_TOPIC))[0] ?? 0;
    const message = { partition: 0, value: id, headers: { [HEADER.id]: id } };
    await producer.sendBatch({ topicMessages: [{ topic: CANARY_TOPIC, messages: [message] }] }, SEND_TIMEOUT_MS);
    for await (const record of reader.readToEnd(CANARY_TOPIC, 0, from)) {
      if (record.value?.toString() === id) return;
    }
    throw new CanaryLostError(`Kafka acknowledged canary ${id} and does not give it back.`);
  } finally {
    await Promise.all([admin.close(), reader.close(), producer.close()]);
  }
}

/**
 * Proves that OwlMQ takes a write and gives it back.
 *
 * @throws {CanaryLostError} when it acknowledged and lost it, and the client's errors when it does not answer.
 */
export async function proveOwlmq(owlmq: OwlmqApi): Promise<void> {
  await owlmq.createTopic(CANARY_TOPIC, 1);
  const id = newMessageId();
  const record = { partition: 0, id, key: null, value: Buffer.from(id), headers: [], timestamp: Date.now() };
  const [result] = await owlmq.publish(CANARY_TOPIC, [record]);
  if (result?.ok !== true) throw new CanaryLostError(`OwlMQ refused a canary: ${result?.detail ?? 'no result'}`);
  const { records } = await owlmq.read(CANARY_TOPIC, 0, result.offset, { maxRecords: 1 });
  if (records[0]?.value?.toString() !== id) {
    throw new CanaryLostError(`OwlMQ acknowledged canary ${id} and does not give it back.`);
  }
}
