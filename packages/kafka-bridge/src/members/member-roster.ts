import { asError } from '../async/bounded.js';
import { FollowedLog } from '../kafka/followed-log.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import type { LogRecord } from '../kafka/log-record.js';
import type { FollowedSlice } from '../kafka/partition-follower.js';
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
  /** Whether the roster was up to date when it read it, so that it read it right after it was written. */
  fresh?: boolean;
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

/** Members that were silent for longer are forgotten, so that a roster that lives for months does not grow. */
const FORGET_AFTER_MS = 24 * 3_600_000;

/** Knows what every instance of the fleet reported last. Follows the members topic until stopped. */
export class MemberRoster {
  readonly #options: { connection: KafkaConnection; clientId: string; onError?: (error: Error) => void };
  readonly #log: FollowedLog;
  readonly #entries = new Map<string, { report: MemberReport; seenAt: number; fresh: boolean }>();
  #upToDate = false;

  constructor(options: { connection: KafkaConnection; clientId: string; onError?: (error: Error) => void }) {
    this.#options = options;
    this.#log = new FollowedLog({
      connection: options.connection,
      clientId: options.clientId,
      topic: MEMBERS_TOPIC,
      onSlice: (slice) => {
        this.#onSlice(slice);
      },
      onError: (error) => {
        this.#onError(error);
      },
      unavailable: (problem, cause) => new RosterUnavailableError(problem, { cause }),
    });
  }

  /**
   * Starts following. Resolves once the end of the topic was read.
   *
   * @throws {RosterUnavailableError} when it was not within `timeoutMs` (default 30 s); nothing is left running then.
   */
  async start(options: { timeoutMs?: number } = {}): Promise<void> {
    await this.#log.start(options);
    this.#upToDate = true;
  }

  /**
   * Resolves once everything is known that was in the topic when this was called.
   *
   * @throws {RosterUnavailableError} when it was not read within `timeoutMs` (default 30 s).
   */
  async readToEnd(options: { timeoutMs?: number } = {}): Promise<void> {
    await this.#log.readToEnd(options);
  }

  /** The members of a migration, those that left included, in the order of their names. */
  members(migration: string): RosterEntry[] {
    return this.allMembers().filter(({ report }) => report.migration === migration);
  }

  /** The same of all migrations. */
  allMembers(): RosterEntry[] {
    return this.#membersAt(performance.now());
  }

  /**
   * The same, with all that was in the topic when this was called, and silent as of then: what was reported since may
   * not have been read. A member that registered before a state was written is among them; later ones read that state.
   *
   * @throws {RosterUnavailableError} as `readToEnd` does.
   */
  async readMembers(migration: string): Promise<RosterEntry[]> {
    return (await this.readAll()).filter(({ report }) => report.migration === migration);
  }

  /** The same of all migrations. */
  async readAll(): Promise<RosterEntry[]> {
    const asked = performance.now();
    await this.readToEnd();
    return this.#membersAt(asked);
  }

  #membersAt(now: number): RosterEntry[] {
    return [...this.#entries.values()]
      .sort((a, b) => (a.report.instance < b.report.instance ? -1 : 1))
      .map(({ report, seenAt, fresh }) => ({ report, silentMs: now - seenAt, fresh }));
  }

  async stop(): Promise<void> {
    await this.#log.stop();
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
    this.#entries.set(key, { report: parsed.data, seenAt: now, fresh: this.#upToDate });
  }

  #onError(error: Error): void {
    this.#options.onError?.(error);
  }
}
