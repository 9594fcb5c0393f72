import { setTimeout as sleep } from 'node:timers/promises';
import { asError } from '../async/bounded.js';
import { Pulse } from '../async/pulse.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader } from '../kafka/log-reader.js';
import type { LogRecord } from '../kafka/log-record.js';
import { PartitionFollower, type FollowedSlice } from '../kafka/partition-follower.js';
import { MEMBERS_TOPIC, memberReportSchema, type MemberReport } from './member-report.js';

/** The members topic could not be read to its end in time. */
export class RosterUnavailableError extends Error {
  override readonly name = 'RosterUnavailableError';
}

/** A record of the members topic is no report that this version can read. */
class MemberRecordError extends Error {
  override readonly name = 'MemberRecordError';
}

/** A member's last report. */
export interface RosterEntry {
  report: MemberReport;
  /**
   * How long ago the roster read it, ms, monotonic. For reports that were written before the roster started: since
   * its start.
   */
  silentMs: number;
}

/** Drift of clocks between a member's lease and the roster's count, and the time that a report takes. */
const LEASE_MARGIN_MS = 1_000;

/** Whether a member has reported within its lease, and has not left. */
export function isLiving({ report, silentMs }: RosterEntry): boolean {
  return report.state !== 'left' && silentMs <= report.leaseMs;
}

/**
 * Whether a member need not be waited for: it trusts nothing for longer than its lease after a report that Kafka took,
 * and so holds by itself. To be asked of what `readMembers` returns.
 */
export function isCountedOut({ report, silentMs }: RosterEntry): boolean {
  return silentMs > report.leaseMs + LEASE_MARGIN_MS;
}

const READ_TIMEOUT_MS = 30_000;
const MAX_WAIT_MS = 500;
const RETRY_FOR_MS = 1_000;
/** Members that were silent for longer are forgotten, so that a roster that lives for months does not grow. */
const FORGET_AFTER_MS = 24 * 3_600_000;

/** Knows what every instance of the fleet reported last. Follows the members topic until stopped. */
export class MemberRoster {
  readonly #options: { connection: KafkaConnection; clientId: string; onError?: (error: Error) => void };
  readonly #follower: PartitionFollower;
  readonly #reader: LogReader;
  readonly #entries = new Map<string, { report: MemberReport; seenAt: number }>();
  readonly #news = new Pulse();
  #lastError: Error | undefined;

  constructor(options: { connection: KafkaConnection; clientId: string; onError?: (error: Error) => void }) {
    this.#options = options;
    // `readToEnd` has a bound and a loop of its own.
    this.#reader = new LogReader(options.connection, { clientId: options.clientId, retryForMs: RETRY_FOR_MS });
    this.#follower = new PartitionFollower({
      connection: options.connection,
      clientId: options.clientId,
      topic: MEMBERS_TOPIC,
      maxWaitMs: () => MAX_WAIT_MS,
      onSlice: (slice) => {
        this.#onSlice(slice);
      },
      onError: (error) => {
        this.#onError(error);
      },
    });
  }

  /**
   * Starts following. Resolves once the end of the topic was read.
   *
   * @throws {RosterUnavailableError} when it was not within `timeoutMs` (default 30 s); nothing is left running then.
   */
  async start(options: { timeoutMs?: number } = {}): Promise<void> {
    this.#follower.start();
    try {
      await this.readToEnd(options);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /**
   * Resolves once everything is known that was in the topic when this was called.
   *
   * @throws {RosterUnavailableError} when it was not read within `timeoutMs` (default 30 s).
   */
  async readToEnd(options: { timeoutMs?: number } = {}): Promise<void> {
    const timeoutMs = options.timeoutMs ?? READ_TIMEOUT_MS;
    const deadline = performance.now() + timeoutMs;
    const wait = async (most: number): Promise<void> => {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw this.#unavailable(timeoutMs);
      await this.#news.wait(Math.min(leftMs, most));
    };
    let end: number;
    for (;;) {
      const before = this.#follower.position ?? 0;
      end = await this.#end(deadline, timeoutMs);
      if (before <= end) break;
      // More was read than the topic holds: it was made anew, which the follower sees at its next fetch.
      await wait(MAX_WAIT_MS);
    }
    while ((this.#follower.position ?? -1) < end) await wait(Infinity);
  }

  /** The members of a migration, those that left included, in the order of their names. */
  members(migration: string): RosterEntry[] {
    return this.#membersAt(migration, performance.now());
  }

  /**
   * The same, with all that was in the topic when this was called, and silent as of then: what was reported since may
   * not have been read. A member that registered before a state was written is among them; later ones read that state.
   *
   * @throws {RosterUnavailableError} as `readToEnd` does.
   */
  async readMembers(migration: string): Promise<RosterEntry[]> {
    const asked = performance.now();
    await this.readToEnd();
    return this.#membersAt(migration, asked);
  }

  #membersAt(migration: string, now: number): RosterEntry[] {
    return [...this.#entries.values()]
      .filter(({ report }) => report.migration === migration)
      .sort((a, b) => (a.report.instance < b.report.instance ? -1 : 1))
      .map(({ report, seenAt }) => ({ report, silentMs: now - seenAt }));
  }

  async stop(): Promise<void> {
    await this.#follower.stop();
    await this.#reader.close();
  }

  async #end(deadline: number, timeoutMs: number): Promise<number> {
    for (;;) {
      try {
        return (await this.#reader.ends(MEMBERS_TOPIC))[0] ?? 0;
      } catch (error) {
        this.#onError(asError(error));
        if (performance.now() >= deadline) throw this.#unavailable(timeoutMs);
        await sleep(200);
      }
    }
  }

  #unavailable(timeoutMs: number): RosterUnavailableError {
    const reason = this.#lastError?.message ?? 'Kafka did not answer.';
    return new RosterUnavailableError(
      `Topic ${MEMBERS_TOPIC} could not be read to its end within ${timeoutMs} ms: ${reason}`,
      { cause: this.#lastError },
    );
  }

  #onSlice({ records }: FollowedSlice): void {
    const now = performance.now();
    for (const record of records) {
      try {
        this.#take(record, now);
      } catch (error) {
        this.#onError(asError(error));
      }
    }
    for (const [key, { seenAt }] of this.#entries) {
      if (now - seenAt > FORGET_AFTER_MS) this.#entries.delete(key);
    }
    this.#news.fire();
  }

  #take(record: LogRecord, now: number): void {
    const key = record.key?.toString();
    if (key === undefined) return;
    if (record.value === null) {
      this.#entries.delete(key);
      return;
    }
    let json: unknown;
    try {
      json = JSON.parse(record.value.toString());
    } catch (error) {
      throw new MemberRecordError(`Offset ${record.offset} of ${MEMBERS_TOPIC} is no JSON.`, { cause: error });
    }
    const parsed = memberReportSchema.safeParse(json);
    if (!parsed.success) {
      throw new MemberRecordError(`Offset ${record.offset} of ${MEMBERS_TOPIC}, key ${key}, is no member report.`, {
        cause: parsed.error,
      });
    }
    this.#entries.set(key, { report: parsed.data, seenAt: now });
  }

  #onError(error: Error): void {
    this.#lastError = error;
    this.#options.onError?.(error);
  }
}
