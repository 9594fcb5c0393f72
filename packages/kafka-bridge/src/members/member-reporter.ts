import { asError, bounded } from '../async/bounded.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { ReplaceableProducer } from '../kafka/replaceable-producer.js';
import type { DeliveredReport } from '../routing/routing-view.js';
import { memberRecord, MEMBERS_TOPIC, type MemberReport } from './member-report.js';

export interface MemberReporterOptions {
  connection: KafkaConnection;
  instance: string;
  /** Asked for the report right before each is sent. */
  report: () => MemberReport;
  /** Time between reports while something changes, ms (default 1,000, or a quarter of the lease if that is less). */
  intervalMs?: number;
  /** Told of each report that Kafka took, which the member's lease counts from. */
  onDelivered?: (report: DeliveredReport) => void;
  /** Told of reports that could not be sent. The next is sent all the same. */
  onError?: (error: Error) => void;
}

const FIRST_SEND_TIMEOUT_MS = 15_000;
const LEAVE_TIMEOUT_MS = 3_000;
const INTERVAL_MS = 1_000;
/** Who does not report for a lease loses it: this share of it passes between two reports at most. */
const LEASE_SHARE = 4;

/**
 * Writes what an instance says of itself to the members topic: at once when asked, every second while it changes, and
 * every quarter of the lease while it does not, so that a large fleet at rest costs little.
 */
export class MemberReporter {
  readonly #options: MemberReporterOptions;
  readonly #producer: ReplaceableProducer;
  #timer: NodeJS.Timeout | undefined;
  /** Without its time: what was acknowledged last, and when. */
  #last: { text: string; at: number } | undefined;
  #sending: Promise<void> | undefined;
  /** The report after the one under way; whoever asks meanwhile shares it. */
  #next: Promise<void> | undefined;
  #stopped = false;

  constructor(options: MemberReporterOptions) {
    this.#options = options;
    this.#producer = new ReplaceableProducer({
      connection: options.connection,
      clientId: options.instance,
      ...(options.onError === undefined ? {} : { onError: options.onError }),
    });
  }

  /**
   * Registers the instance. Resolves once Kafka acknowledged the first report; the others follow by themselves.
   *
   * @throws kafkajs's errors when it cannot be sent; nothing is left running then.
   */
  async start(): Promise<void> {
    try {
      await this.now();
    } catch (error) {
      this.#stopped = true;
      throw error;
    }
    this.#schedule();
  }

  /** Reports at once. Resolves once a report made after this call is acknowledged; calls in between share one. */
  async now(): Promise<void> {
    if (this.#stopped) return;
    if (this.#sending === undefined) {
      await this.#send(this.#options.report);
      return;
    }
    const present = this.#sending;
    this.#next ??= (async () => {
      // Its own caller hears of a failure.
      await present.catch(() => undefined);
      this.#next = undefined;
      if (!this.#stopped) await this.#send(this.#options.report);
    })();
    await this.#next;
  }

  /** Sends the last report and ends, in bounded time. A failure to send it goes to `onError`: it reads as silent then. */
  async stop(last: MemberReport): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    let over = false;
    const leave = async (): Promise<void> => {
      await this.#sending?.catch(() => undefined);
      if (!over) await this.#send(() => last);
    };
    try {
      await bounded(
        leave(),
        LEAVE_TIMEOUT_MS,
        () => new Error(`Kafka did not take the last report of ${last.instance}.`),
      );
    } catch (error) {
      over = true;
      this.#options.onError?.(asError(error));
    }
    await this.#producer.close();
  }

  #schedule(): void {
    const { report, intervalMs = INTERVAL_MS } = this.#options;
    this.#timer = setTimeout(
      () => {
        (this.#isDue(report(), intervalMs) ? this.now() : Promise.resolve())
          .catch((error: unknown) => {
            this.#options.onError?.(asError(error));
          })
          .finally(() => {
            if (!this.#stopped) this.#schedule();
          });
      },
      Math.min(intervalMs, report().leaseMs / LEASE_SHARE),
    ).unref();
  }

  /** Whether it says something new, or would be late at the next look. */
  #isDue(report: MemberReport, intervalMs: number): boolean {
    if (this.#last === undefined || withoutTime(report) !== this.#last.text) return true;
    return performance.now() + intervalMs > this.#last.at + report.leaseMs / LEASE_SHARE;
  }

  async #send(report: () => MemberReport): Promise<void> {
    this.#sending = this.#write(report());
    try {
      await this.#sending;
    } finally {
      this.#sending = undefined;
    }
  }

  async #write(report: MemberReport): Promise<void> {
    const { leaseMs } = report;
    const sentAt = performance.now();
    // Ended at once, without the time that a good disconnect may take.
    const timer = setTimeout(() => {
      this.#producer.abandon();
    }, this.#timeoutMs(leaseMs));
    try {
      await this.#producer.sendBatch(
        { topicMessages: [{ topic: MEMBERS_TOPIC, messages: [memberRecord(report)] }] },
        FIRST_SEND_TIMEOUT_MS,
      );
      const acknowledgedAt = performance.now();
      this.#last = { text: withoutTime(report), at: acknowledgedAt };
      this.#options.onDelivered?.({ sentAt, acknowledgedAt, leaseMs });
    } catch (error) {
      this.#producer.abandon();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** A report that hangs leaves time for another before the lease is over; the last is bounded by `stop()`. */
  #timeoutMs(leaseMs: number): number {
    if (this.#last === undefined) return FIRST_SEND_TIMEOUT_MS;
    return this.#stopped ? LEAVE_TIMEOUT_MS : leaseMs / 2;
  }
}

function withoutTime(report: MemberReport): string {
  return JSON.stringify({ ...report, at: '' });
}
