import type { CompressionTypes, Message, ProducerConfig, RecordMetadata } from 'kafkajs';
import { asError } from '../async/bounded.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { KafkaConnectError, ReplaceableProducer } from '../kafka/replaceable-producer.js';
import type { PartitionOffset } from '../owlmq/owlmq-api.js';
import { PublishFailedError, PublishOutcomeUnknownError } from './publisher-errors.js';

export interface KafkaLaneOptions {
  connection: KafkaConnection;
  clientId: string;
  producer?: ProducerConfig | undefined;
  compression?: CompressionTypes | undefined;
  acks?: -1 | 1 | undefined;
  /** Bound on one batch, all retries included, ms. */
  deliveryTimeoutMs: number;
  onError: (error: Error) => void;
}

/** A message with the record that is to be written of it. */
export interface KafkaEntry {
  id: string;
  topic: string;
  partition: number;
  message: Message;
  /** Set by the lane. */
  outcome: KafkaOutcome | undefined;
}

/**
 * Where an entry is, or why it is not (`PublishFailedError`) or may not be (`PublishOutcomeUnknownError`) there;
 * `not-sent` when the batch was abandoned before anything of it had left.
 */
export type KafkaOutcome = PartitionOffset | PublishFailedError | PublishOutcomeUnknownError | 'not-sent';

interface Batch {
  mayWrite: () => boolean;
  /** When what is not written then is given up; `performance.now()`. */
  endsAt: number;
  abandoned: boolean;
}

/** Writes batches to Kafka, one at a time, so that the order of each partition is kept. */
export class KafkaLane {
  readonly #options: KafkaLaneOptions;
  readonly #producer: ReplaceableProducer;
  /** The one under way, or the last. */
  #batch: Batch = { mayWrite: () => true, endsAt: 0, abandoned: false };

  constructor(options: KafkaLaneOptions) {
    this.#options = options;
    const idempotent = options.producer?.idempotent ?? options.acks !== 1;
    this.#producer = new ReplaceableProducer({
      connection: options.connection,
      clientId: options.clientId,
      producer: { ...options.producer, idempotent },
      mayWrite: () => this.#batch.mayWrite(),
      keepTrying: true,
      onError: options.onError,
    });
  }

  async connect(): Promise<void> {
    await this.#producer.connect(this.#options.deliveryTimeoutMs);
  }

  /**
   * Writes entries, and sets the outcome of each; never throws. `mayWrite` is asked whenever records are about to leave,
   * at repetitions too; while it is false they wait.
   */
  async send(entries: readonly KafkaEntry[], mayWrite: () => boolean): Promise<void> {
    const endsAt = performance.now() + this.#options.deliveryTimeoutMs;
    const batch: Batch = { mayWrite, endsAt, abandoned: false };
    this.#batch = batch;
    await this.#send(batch, entries);
    if (!batch.abandoned && entries.some(({ outcome }) => outcome instanceof Error)) await this.#producer.giveUp();
  }

  /** The lease is lost: nothing more leaves before it is back. A batch under way goes on then, without duplicates. */
  cut(): void {
    this.#producer.cut();
  }

  /** Ends the batch under way for good; nothing more of it leaves. */
  abandon(): void {
    this.#batch.abandoned = true;
    this.#producer.abandon();
  }

  async close(): Promise<void> {
    await this.#producer.close();
  }

  async #send(batch: Batch, entries: readonly KafkaEntry[]): Promise<void> {
    try {
      // The rest of a batch that was abandoned while it was sent in parts.
      if (batch.abandoned) throw new Error('The write was given up.');
      const answers = await this.#producer.sendBatch(
        { topicMessages: byTopic(entries), ...this.#sendOptions() },
        Math.max(1, batch.endsAt - performance.now()),
        (acknowledged) => {
          place(entries, acknowledged);
        },
      );
      place(entries, answers);
      for (const entry of entries) {
        entry.outcome ??= unknownOutcome(entry, new Error('Kafka acknowledged the batch without an offset.'));
      }
    } catch (thrown) {
      const error = asError(thrown);
      const left = entries.filter(({ outcome }) => outcome === undefined);
      // One refused entry or partition must not fail the others. Sent again by the same producer with the same
      // numbers, what the broker has already is not stored twice.
      const parts = refusedByBroker(error) && !batch.abandoned ? split(left, isAboutRecords(error)) : [];
      if (parts.length > 1) {
        for (const part of parts) await this.#send(batch, part);
        return;
      }
      const notSent = batch.abandoned && error instanceof KafkaConnectError;
      for (const entry of left) entry.outcome = notSent ? 'not-sent' : failure(entry, error);
    }
  }

  #sendOptions(): { acks?: number; compression?: CompressionTypes } {
    const { acks, compression } = this.#options;
    return { ...(acks === undefined ? {} : { acks }), ...(compression === undefined ? {} : { compression }) };
  }
}

function grouped(entries: readonly KafkaEntry[], by: (entry: KafkaEntry) => string): (readonly KafkaEntry[])[] {
  const [first] = entries;
  // Nearly always one topic.
  if (first !== undefined && entries.every((entry) => by(entry) === by(first))) return [entries];
  const groups = new Map<string, KafkaEntry[]>();
  for (const entry of entries) {
    const group = groups.get(by(entry));
    if (group === undefined) groups.set(by(entry), [entry]);
    else group.push(entry);
  }
  return [...groups.values()];
}

function byTopic(entries: readonly KafkaEntry[]): { topic: string; messages: Message[] }[] {
  return grouped(entries, ({ topic }) => topic).map((group) => ({
    topic: group[0]?.topic ?? '',
    messages: group.map(({ message }) => message),
  }));
}

/** The broker names the first offset of each partition; the records follow it in the order they were sent. */
function place(entries: readonly KafkaEntry[], answers: readonly RecordMetadata[]): void {
  const next = new Map<string, number[]>();
  for (const { topicName, partition, baseOffset } of answers) {
    let offsets = next.get(topicName);
    if (offsets === undefined) next.set(topicName, (offsets = []));
    offsets[partition] = Number(baseOffset ?? -1);
  }
  for (const entry of entries) {
    const { topic, partition } = entry;
    const offsets = next.get(topic);
    const offset = offsets?.[partition] ?? -1;
    if (offsets === undefined || offset < 0) continue;
    entry.outcome = { partition, offset };
    offsets[partition] = offset + 1;
  }
}

/** By partition; one partition's entries in halves when the error is about some record among them. */
function split(entries: readonly KafkaEntry[], aboutRecords: boolean): (readonly KafkaEntry[])[] {
  const partitions = grouped(entries, ({ topic, partition }) => `${topic}/${partition}`);
  if (partitions.length > 1) return partitions;
  if (!aboutRecords || entries.length < 2) return [];
  const middle = Math.ceil(entries.length / 2);
  return [entries.slice(0, middle), entries.slice(middle)];
}

/** Errors by which a broker says that it has stored nothing and will not. */
const recordErrors = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_RECORD', 'INVALID_TIMESTAMP']);
const refusals = new Set([
  ...recordErrors,
  'TOPIC_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'SASL_AUTHENTICATION_FAILED',
  'INVALID_TOPIC_EXCEPTION',
  'POLICY_VIOLATION',
  'UNSUPPORTED_COMPRESSION_TYPE',
]);

/** kafkajs's name of the broker's error, which it puts on the error or on a cause of it. */
function errorType(error: unknown, depth = 0): string | undefined {
  if (!(error instanceof Error) || depth > 5) return undefined;
  const { type } = error as { type?: unknown };
  return typeof type === 'string' ? type : errorType(error.cause, depth + 1);
}

function refusedByBroker(error: Error): boolean {
  return refusals.has(errorType(error) ?? '');
}

function isAboutRecords(error: Error): boolean {
  return recordErrors.has(errorType(error) ?? '');
}

function failure(entry: KafkaEntry, error: Error): PublishFailedError | PublishOutcomeUnknownError {
  const refused = refusedByBroker(error);
  if (error instanceof KafkaConnectError || refused) {
    const retriable = refused ? 'no' : 'safe';
    return new PublishFailedError(entry.id, entry.topic, error.message, { cause: error, retriable });
  }
  return unknownOutcome(entry, error);
}

function unknownOutcome(entry: KafkaEntry, cause: Error): PublishOutcomeUnknownError {
  return new PublishOutcomeUnknownError(entry.id, entry.topic, 'kafka', { cause });
}
