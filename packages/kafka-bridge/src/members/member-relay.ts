import { asError } from '../async/bounded.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { ReplaceableProducer } from '../kafka/replaceable-producer.js';
import { memberRecord, MEMBERS_TOPIC, type MemberReport } from './member-report.js';

/** Kafka did not take the report of a member in time. It is not written later. */
export class ReportNotTakenError extends Error {
  override readonly name = 'ReportNotTakenError';
}

interface Pending {
  report: () => MemberReport | undefined;
  resolve: () => void;
  reject: (error: Error) => void;
}

const SEND_TIMEOUT_MS = 5_000;
const MAX_BATCH = 200;
const MAX_PENDING = 2_000;

/**
 * Writes reports of members that cannot reach Kafka themselves: each once, in the order they came, one request at a
 * time. What Kafka does not take in time is given up, so that nothing is written late.
 */
export class MemberRelay {
  readonly #producer: ReplaceableProducer;
  #pending: Pending[] = [];
  #sending: Promise<void> | undefined;
  #closed = false;

  constructor(options: { connection: KafkaConnection; clientId: string; onError: (error: Error) => void }) {
    this.#producer = new ReplaceableProducer(options);
  }

  /**
   * Writes a report. Resolves once Kafka acknowledged it.
   *
   * @param report asked for it right before it is sent; undefined: it has become too old.
   * @throws {ReportNotTakenError}
   */
  async write(report: Pending['report']): Promise<void> {
    if (this.#closed || this.#pending.length >= MAX_PENDING) {
      throw new ReportNotTakenError(this.#closed ? 'The worker stops.' : 'Too many reports wait for Kafka.');
    }
    await new Promise<void>((resolve, reject) => {
      this.#pending.push({ report, resolve, reject });
      this.#sending ??= this.#sendAll();
    });
  }

  /** Waits for what is under way, in bounded time, and disconnects. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { reject } of this.#pending.splice(0)) reject(new ReportNotTakenError('The worker stops.'));
    await this.#sending;
    await this.#producer.close();
  }

  async #sendAll(): Promise<void> {
    // Lets what is written in the same turn share a request.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const batch = this.#pending.splice(0, MAX_BATCH);
      try {
        await this.#send(batch);
      } catch (error) {
        this.#producer.abandon();
        const cause = asError(error);
        const failed = new ReportNotTakenError(`Kafka did not take the report: ${cause.message}`, { cause });
        for (const { reject } of batch) reject(failed);
      }
    }
    this.#sending = undefined;
  }

  async #send(batch: readonly Pending[]): Promise<void> {
    const made = batch.map((pending) => ({ ...pending, made: pending.report() }));
    const messages = made.flatMap(({ made: report }) => (report === undefined ? [] : [memberRecord(report)]));
    if (messages.length > 0) {
      await this.#producer.sendBatch({ topicMessages: [{ topic: MEMBERS_TOPIC, messages }] }, SEND_TIMEOUT_MS);
    }
    for (const { made: report, resolve, reject } of made) {
      if (report === undefined) reject(new ReportNotTakenError('The report waited for Kafka until it was too old.'));
      else resolve();
    }
  }
}
