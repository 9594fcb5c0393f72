import { Kafka, logLevel, type IHeaders, type Message, type Producer } from 'kafkajs';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { formatPosition, groupHeaders, HEADER, VIA } from '../message/headers.js';
import type { OwlmqStoredRecord } from '../owlmq/owlmq-api.js';
import { AuditRepairError } from './audit-errors.js';

const SHOWN = 10;

/**
 * Writes copies of OwlMQ records to Kafka through an idempotent producer, which is connected on first use. After a
 * failed write, whose outcome is unknown, the producer is given up: the caller reads the log before it tries again.
 */
export class KafkaCopies {
  readonly #kafka: Kafka;
  #producer: Promise<Producer> | undefined;

  constructor(connection: KafkaConnection, clientId: string) {
    this.#kafka = new Kafka({ clientId, logLevel: logLevel.NOTHING, ...connection });
  }

  /**
   * Writes records of one partition, in order, all acknowledged when it resolves.
   *
   * @throws {AuditRepairError}
   */
  async write(topic: string, partition: number, records: readonly OwlmqStoredRecord[]): Promise<void> {
    try {
      this.#producer ??= this.#connect();
      const producer = await this.#producer;
      await producer.send({ topic, acks: -1, messages: records.map(kafkaCopy) });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const failure = new AuditRepairError(
        'kafka',
        topic,
        partition,
        records.slice(0, SHOWN).map(({ id, offset }) => ({ id, offset, reason })),
        { cause: error },
      );
      try {
        await this.close();
      } catch (closing) {
        throw new AggregateError([failure, closing], failure.message);
      }
      throw failure;
    }
  }

  async close(): Promise<void> {
    const connecting = this.#producer;
    this.#producer = undefined;
    if (connecting === undefined) return;
    const [outcome] = await Promise.allSettled([connecting]);
    if (outcome.status === 'fulfilled') await outcome.value.disconnect();
  }

  async #connect(): Promise<Producer> {
    const producer = this.#kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      // kafkajs would try for ever.
      retry: { retries: 8 },
    });
    await producer.connect();
    return producer;
  }
}

function kafkaCopy(record: OwlmqStoredRecord): Message {
  const headers: IHeaders = groupHeaders(
    record.headers.filter(([name]) => name !== HEADER.source && name !== HEADER.via),
  );
  // OwlMQ's own id, also where the record has another one in its headers, or none: the join goes by it.
  headers[HEADER.id] = record.id;
  headers[HEADER.source] = formatPosition({ leg: 'owlmq', partition: record.partition, offset: record.offset });
  headers[HEADER.via] = VIA.audit;
  return {
    partition: record.partition,
    key: record.key,
    value: record.value,
    headers,
    timestamp: String(record.timestamp),
  };
}
