import type { CompressionTypes, ProducerConfig } from 'kafkajs';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
import { OwlmqClient } from '../owlmq/owlmq-client.js';
import type { Decommissioned } from '../routing/final-state.js';
import { PublisherConfigError } from './publisher-errors.js';
import type { PublisherEvent } from './publisher-events.js';
import type { PublisherMetrics } from './publisher-metrics.js';

export interface DualPublisherOptions {
  /**
   * As in `new Kafka(...)` of kafkajs. `decommissioned`, with a migration, once that is over and Kafka is gone: then
   * OwlMQ has to keep the migration's final routing state, else nothing starts.
   */
  kafka: KafkaConnection | Decommissioned;
  owlmq?: {
    /** Default OWLMQ_URL. */
    url?: string | undefined;
    /** Default OWLMQ_API_KEY. */
    apiKey?: string | undefined;
    /** A client of your own, in place of the two; it stays yours to close. */
    client?: OwlmqApi | undefined;
  };
  /**
   * Name of the migration to obey: the workflow id. The routing state then says where messages go.
   * Without it the publisher writes to Kafka, and copies at a ratio that only `setRatio` changes.
   */
  migration?: string;
  /** Share of messages copied to OwlMQ, 0 to 1 (default 0). Not together with `migration`. */
  ratio?: number;
  /**
   * kafkajs's producer options. Idempotent unless they or `acks` say otherwise. Repetitions are the publisher's own, by
   * `deliveryTimeoutMs`.
   */
  producer?: Omit<
    ProducerConfig,
    'transactionalId' | 'transactionTimeout' | 'createPartitioner' | 'retry' | 'metadataMaxAge'
  >;
  /** kafkajs's; default none. Codecs other than gzip are registered with kafkajs as ever. */
  compression?: CompressionTypes;
  /** -1 (default): all in-sync replicas; 1: the leader alone, which can lose messages. */
  acks?: -1 | 1;
  /** How long one message may take on the leg that must acknowledge it, all retries included, ms (default 30,000). */
  deliveryTimeoutMs?: number;
  /** How long `publish()` may wait unsent, for a fence, a lost lease or those before it, ms (default 60,000). */
  holdTimeoutMs?: number;
  /** How long `publish()` may wait for room in the buffer, ms (default 30,000). */
  bufferTimeoutMs?: number;
  /** Bound on messages accepted and not settled (default 50,000). */
  maxBufferedMessages?: number;
  /** The same in bytes (default 64 MiB). */
  maxBufferedBytes?: number;
  /** Bound on copies that wait for OwlMQ (default 50,000); past it they are dropped and left to the audit. */
  maxBacklogMessages?: number;
  /** The same in bytes (default 64 MiB). */
  maxBacklogBytes?: number;
  /** After cutover: how long `publish()` waits for the mirror write to Kafka, ms (default 3,000). */
  mirrorTimeoutMs?: number;
  /** Told what happens; for logs. What it throws becomes a process warning. */
  onEvent?: (event: PublisherEvent) => void;
  /** Given figures of calls and requests, for a metrics library of your choice. */
  metrics?: PublisherMetrics;
}

/** Options with their defaults. */
export type PublisherSettings = Required<
  Pick<
    DualPublisherOptions,
    | 'deliveryTimeoutMs'
    | 'holdTimeoutMs'
    | 'bufferTimeoutMs'
    | 'maxBufferedMessages'
    | 'maxBufferedBytes'
    | 'maxBacklogMessages'
    | 'maxBacklogBytes'
    | 'mirrorTimeoutMs'
  >
>;

const defaults: PublisherSettings = {
  deliveryTimeoutMs: 30_000,
  holdTimeoutMs: 60_000,
  bufferTimeoutMs: 30_000,
  maxBufferedMessages: 50_000,
  maxBufferedBytes: 64 * 1024 * 1024,
  maxBacklogMessages: 50_000,
  maxBacklogBytes: 64 * 1024 * 1024,
  mirrorTimeoutMs: 3_000,
};

/**
 * Checks options.
 *
 * @throws {PublisherConfigError} with all problems at once.
 */
export function checkedSettings(options: DualPublisherOptions): PublisherSettings {
  const problems: string[] = [];
  // Callers without types come here too.
  const given = options as Partial<DualPublisherOptions>;
  if (given.kafka === 'decommissioned') {
    if (given.migration === undefined) problems.push("kafka: 'decommissioned' needs the migration that it was.");
  } else {
    const brokers: unknown = given.kafka?.brokers;
    if (!Array.isArray(brokers) || brokers.length === 0 || !brokers.every((broker) => typeof broker === 'string')) {
      problems.push('kafka.brokers must list at least one host:port.');
    }
  }
  if (given.migration !== undefined && (typeof given.migration !== 'string' || given.migration === '')) {
    problems.push('migration must be a name.');
  }
  if (given.ratio !== undefined) {
    const problem = ratioProblem(given.ratio);
    if (problem !== undefined) problems.push(problem);
    if (given.migration !== undefined) {
      problems.push('ratio and migration cannot both be given: the migration sets the ratio.');
    }
  }
  const producer: ProducerConfig = given.producer ?? {};
  if (producer.transactionalId !== undefined) problems.push('producer.transactionalId is not supported.');
  if (producer.createPartitioner !== undefined) {
    problems.push(
      'producer.createPartitioner is not supported: both legs must agree on it. Give publish() a partition.',
    );
  }
  if (given.acks !== undefined && ![-1, 1].includes(given.acks)) {
    problems.push('acks must be -1 or 1: without an acknowledgement a message has no offset to copy from.');
  }
  if (given.acks === 1 && producer.idempotent === true)
    problems.push('acks: 1 and producer.idempotent exclude each other.');
  const settings = { ...defaults };
  for (const name of Object.keys(defaults) as (keyof PublisherSettings)[]) {
    const value: unknown = given[name];
    if (value === undefined) continue;
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) settings[name] = value;
    else problems.push(`${name} must be a number above 0.`);
  }
  if (given.migration !== undefined || (given.ratio ?? 0) > 0) problems.push(...owlmqProblems(options));
  if (problems.length > 0) throw new PublisherConfigError(problems);
  return settings;
}

/** What is wrong with a ratio, if anything. */
export function ratioProblem(ratio: unknown): string | undefined {
  const fine = typeof ratio === 'number' && ratio >= 0 && ratio <= 1;
  return fine ? undefined : 'ratio must be a number from 0 to 1.';
}

/**
 * The client to copy with.
 *
 * @throws {PublisherConfigError} when address or key are missing.
 */
export function owlmqClientOf(options: DualPublisherOptions): { api: OwlmqApi; own: boolean } {
  const { client, url, apiKey } = options.owlmq ?? {};
  if (client !== undefined) return { api: client, own: false };
  const problems = owlmqProblems(options);
  if (problems.length > 0) throw new PublisherConfigError(problems);
  try {
    return { api: new OwlmqClient({ url, apiKey }), own: true };
  } catch (error) {
    throw new PublisherConfigError([error instanceof Error ? error.message : String(error)], { cause: error });
  }
}

function owlmqProblems({ owlmq = {} }: DualPublisherOptions): string[] {
  if (owlmq.client !== undefined) return [];
  const problems: string[] = [];
  if ((owlmq.url ?? process.env['OWLMQ_URL'] ?? '') === '') {
    problems.push('No OwlMQ address: set OWLMQ_URL (or owlmq.url), for example http://127.0.0.1:8686.');
  }
  if ((owlmq.apiKey ?? process.env['OWLMQ_API_KEY'] ?? '') === '') {
    problems.push('No OwlMQ API key: set OWLMQ_API_KEY (or owlmq.apiKey).');
  }
  return problems;
}
