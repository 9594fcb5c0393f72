import { setTimeout as delay } from 'node:timers/promises';
import { Client, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/client';
import type { MigrationInput } from '@owlmq/kafka-bridge/playbook';
import { clockMs } from '../../demo/event-log.js';
import { connectToTemporal, type TemporalConnection } from '../../src/temporal-connection.js';
import type { AcknowledgeInput } from '../../src/workflows/acknowledgements.js';
import type { Phase } from '../../src/workflows/migration-state.js';
import type { MigrationStatus } from '../../src/workflows/status.js';
import { Random } from '../random.js';
import type { RunLog } from '../run-log.js';
import type { Pace } from './pace.js';

export interface OperatorOptions {
  readonly address: string;
  readonly taskQueue: string;
  /** Workflow id, of every one of the migrations. */
  readonly migration: string;
  readonly topics: readonly string[];
  readonly groups: readonly string[];
  /** The topic whose records from producers without the library are forwarded. */
  readonly forward: string;
  readonly pace: Pace;
  readonly seed: number;
  readonly log: RunLog;
  /** Ends the run at once. */
  readonly signal: AbortSignal;
}

/** One migration, from its start to its end. Times are ms on the machine's monotonic clock. */
export interface MigrationRecord {
  readonly startedAt: number;
  readonly goal: Goal['phase'] | 'completed';
  endedAt?: number;
  /** How it ended; `failed` when the workflow did. */
  outcome?: Phase;
  /** When the groups' positions were on OwlMQ, and publishers about to follow. */
  journaledAt?: number;
  rollbackAskedAt?: number;
  rollbackFrom?: Phase;
  /** Rollbacks that were refused, and why. */
  refusals: { at: string; failed: string }[];
  cutoverAttempts: number;
  /** Messages that come again by what was reported, over all groups: at the cutover, at the rollback. */
  reported: { cutover: number; rollback: number };
  holdMs: { cutover?: number; rollback?: number };
  pauses: number;
  /** Steps that waited for a person, who resumed them. */
  blocked: string[];
  /** The workflow's own log. */
  log: MigrationStatus['log'];
  failure?: string;
}

/** Where a migration is rolled back, and how often it is paused before. */
interface Goal {
  readonly phase: 'dual-write' | 'shadow-soak' | 'cutover' | 'warm';
  readonly afterMs: number;
  /** When it is paused, ms from its start, and for how long. */
  readonly pauses: { readonly atMs: number; readonly forMs: number }[];
}

/** A migration neither ended nor went back in all that time: it is stuck. */
export class StuckError extends Error {
  override readonly name = 'StuckError';
}

const POLL_MS = 250;
/** A cutover can be over within a second. */
const SOON_POLL_MS = 25;
const QUERY_MS = 3_000;
const RETRY_MS = 500;
/** What waits for a person waits this long, as it would for one who is quick. */
const RESUME_AFTER_MS = 2_000;
/** From the request for a rollback to its end, under faults. */
const ROLLBACK_WITHIN_MS = 300_000;
/** From the start of the last migration to its end, without faults. */
const COMPLETE_WITHIN_MS = 300_000;
/** What repairs and redeliveries under faults show between a group and its shadow: a person would know why. */
const excused = ['reordered', 'missing', 'unexpected'] as const;
/** Cutovers are what matters most. */
const goalPhases = ['dual-write', 'shadow-soak', 'cutover', 'cutover', 'warm', 'warm', 'warm'] as const;
const MOST_PAUSES = 2;
const PAUSE_WITHIN_MS = 30_000;

/** Starts, pauses, resumes and rolls back migrations one after the other, at seeded moments, as a person would. */
export class Operator {
  readonly migrations: MigrationRecord[] = [];
  /** The phase of the migration in hand, and since when, ms on the machine's monotonic clock. */
  phase: { readonly name: Phase; readonly since: number } | undefined;
  readonly #stop = new AbortController();
  readonly #clockOffset = Date.now() - clockMs();

  private constructor(
    private readonly options: OperatorOptions,
    private readonly temporal: TemporalConnection,
    private readonly client: Client,
  ) {}

  static async connect(options: OperatorOptions): Promise<Operator> {
    const temporal = await connectToTemporal({ address: options.address });
    return new Operator(options, temporal, new Client({ connection: temporal.connection }));
  }

  /** Migrations until `stop()`, each one rolled back. @throws StuckError */
  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const random = new Random(this.options.seed, 'migration', this.migrations.length);
      const { pace } = this.options;
      const goal: Goal = {
        phase: random.pick(goalPhases),
        afterMs: random.within(pace.beforeRollbackMs),
        pauses: Array.from({ length: random.below(MOST_PAUSES + 1) }, () => ({
          ...{ atMs: random.below(PAUSE_WITHIN_MS), forMs: random.within(pace.pauseMs) },
        })).sort((a, b) => a.atMs - b.atMs),
      };
      await this.#migrate(goal, {});
    }
  }

  /** The migration in hand is rolled back at once, and no other begins. */
  stop(): void {
    this.#stop.abort();
  }

  /** The last migration, to its end. `onForeign` is called when it waits for producers without the library to stop. */
  async complete(onForeign: () => Promise<void>): Promise<void> {
    await this.#migrate(undefined, { warm: { duration: '5 seconds' } }, onForeign);
  }

  async close(): Promise<void> {
    await this.temporal.close();
  }

  async #migrate(
    goal: Goal | undefined,
    changed: Partial<Pace['input']>,
    onForeign?: () => Promise<void>,
  ): Promise<void> {
    const { log } = this.options;
    const record: MigrationRecord = {
      ...{ startedAt: clockMs(), goal: goal?.phase ?? 'completed', cutoverAttempts: 0 },
      ...{ reported: { cutover: 0, rollback: 0 }, holdMs: {}, pauses: 0, blocked: [], refusals: [], log: [] },
    };
    this.migrations.push(record);
    await this.#start(changed);
    log.write('migration starts', { number: this.migrations.length, goal });
    const pauses = [...(goal?.pauses ?? [])];
    let inPhaseSince: number | undefined;
    for (;;) {
      const end = await this.#end();
      if (end !== undefined) {
        this.#finish(record, end);
        log.write('migration ends', { outcome: record.outcome, from: record.rollbackFrom, failure: record.failure });
        return;
      }
      const status = await this.#status();
      const now = clockMs();
      if (status !== undefined) {
        this.#take(record, status);
        if (this.phase?.name !== status.phase) this.phase = { name: status.phase, since: now };
        if (status.phase === goal?.phase) inPhaseSince ??= now;
        await this.#unblock(record, status);
        if (goal !== undefined && status.phase === 'shadow-soak') await this.#excuse(status);
        if (onForeign !== undefined && status.waiting?.for.startsWith('producers without the library') === true) {
          await onForeign();
        }
      }
      const age = now - record.startedAt;
      const pause = pauses[0];
      if (pause !== undefined && age > pause.atMs && record.rollbackAskedAt === undefined) {
        pauses.shift();
        await this.#pause(record, pause.forMs);
      }
      const due = goal !== undefined && inPhaseSince !== undefined && now - inPhaseSince >= momentIn(goal);
      const late = goal !== undefined && age > this.options.pace.migrationMs;
      if (record.rollbackAskedAt === undefined && (due || late || (goal !== undefined && this.#stopping))) {
        record.rollbackAskedAt = clockMs();
        await this.#ask('rollback', due ? `chaos asks for it at ${goal.phase}` : 'chaos is over, or lost patience');
        log.write('rollback asked', { phase: status?.phase, due });
      } else if (status !== undefined) await this.#askAgain(record, status);
      this.#refuseToHang(record, status);
      await delay(goal?.phase === 'cutover' && status?.phase === 'ready' ? SOON_POLL_MS : POLL_MS, undefined, {
        signal: this.options.signal,
      });
    }
  }

  #refuseToHang({ startedAt, rollbackAskedAt, goal }: MigrationRecord, status: MigrationStatus | undefined): void {
    const since = rollbackAskedAt ?? (goal === 'completed' ? startedAt : undefined);
    const limit = rollbackAskedAt === undefined ? COMPLETE_WITHIN_MS : ROLLBACK_WITHIN_MS;
    if (since === undefined || clockMs() - since < limit) return;
    const { phase, blocked, waiting, log } = status ?? {};
    const at = JSON.stringify({ phase, blocked, waiting, log: log?.slice(-5) });
    throw new StuckError(`Migration ${this.migrations.length} has not ended in ${limit / 1_000} s: ${at}`);
  }

  async #start(changed: Partial<Pace['input']>): Promise<void> {
    const { pace, topics, groups, forward, migration, taskQueue } = this.options;
    const input: MigrationInput = {
      ...{ ...pace.input, ...changed },
      ...{ topics: [...topics], groups: [...groups], forward: [forward] },
    };
    await this.#untilDone(async () => {
      try {
        await this.client.workflow.start('migrateKafkaToOwlmq', { workflowId: migration, taskQueue, args: [input] });
      } catch (error) {
        // An earlier try that was not heard of.
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      }
    });
  }

  async #pause(record: MigrationRecord, forMs: number): Promise<void> {
    await this.#ask('pause', 'chaos pauses');
    record.pauses++;
    await delay(forMs, undefined, { signal: this.options.signal });
    await this.#ask('resume', 'chaos resumes');
  }

  async #unblock(record: MigrationRecord, { blocked }: MigrationStatus): Promise<void> {
    if (blocked === null || Date.now() - Date.parse(blocked.since) < RESUME_AFTER_MS) return;
    record.blocked.push(`${blocked.step}: ${blocked.cause}`);
    this.options.log.write('resumed what was blocked', { ...blocked });
    await this.#ask('resume', 'chaos resumes what is blocked');
  }

  /** A rollback that was refused, because Kafka was away just then, say: nothing was changed, and it is asked for again. */
  async #askAgain(record: MigrationRecord, { rollback, rollbackRefused }: MigrationStatus): Promise<void> {
    if (record.rollbackAskedAt === undefined || rollback !== null || rollbackRefused === null) return;
    if (Date.now() - Date.parse(rollbackRefused.refusedAt) < RESUME_AFTER_MS) return;
    const failed = rollbackRefused.failed.map(({ name, detail }) => `${name}: ${detail}`).join('; ');
    // Looked at twice before the first answer was known.
    if (record.refusals.at(-1)?.at === rollbackRefused.refusedAt) return;
    record.refusals.push({ at: rollbackRefused.refusedAt, failed });
    this.options.log.write('rollback refused', { failed });
    await this.#ask('rollback', 'chaos asks again');
  }

  /** The soak would begin anew with every fault; what else differs still sets it back. */
  async #excuse({ soak }: MigrationStatus): Promise<void> {
    const handle = this.client.workflow.getHandle(this.options.migration);
    for (const group of this.options.groups) {
      for (const verdict of excused) {
        const known = soak.acknowledgements.some(
          ({ pattern }) => pattern.group === group && pattern.verdict === verdict,
        );
        if (known) continue;
        const args: [AcknowledgeInput] = [{ group, verdict, reason: 'faults are injected', by: 'chaos' }];
        try {
          await this.temporal.connection.withDeadline(Date.now() + QUERY_MS, () =>
            handle.executeUpdate<string, [AcknowledgeInput]>('acknowledge', { args }),
          );
        } catch {
          // No worker, or the soak is over: the next look shows what is still to be done.
          this.options.signal.throwIfAborted();
          return;
        }
      }
    }
  }

  async #ask(signal: 'pause' | 'resume' | 'rollback', reason: string): Promise<void> {
    await this.#untilDone(async () => {
      try {
        await this.client.workflow.getHandle(this.options.migration).signal(signal, { reason, by: 'chaos' });
      } catch (error) {
        // It has ended meanwhile.
        if (!(error instanceof WorkflowNotFoundError)) throw error;
      }
    });
  }

  /** How the workflow ended; undefined while it runs, or where nobody can tell now. */
  async #end(): Promise<{ status: MigrationStatus } | { failure: string } | undefined> {
    const handle = this.client.workflow.getHandle(this.options.migration);
    try {
      return await this.temporal.connection.withDeadline(Date.now() + QUERY_MS, async () => {
        const { status } = await handle.describe();
        if (status.name === 'RUNNING') return undefined;
        if (status.name !== 'COMPLETED') return { failure: `${status.name}: ${await failureOf(handle.result())}` };
        return { status: (await handle.result()) as MigrationStatus };
      });
    } catch {
      this.options.signal.throwIfAborted();
      return undefined;
    }
  }

  async #status(): Promise<MigrationStatus | undefined> {
    const handle = this.client.workflow.getHandle(this.options.migration);
    try {
      return await this.temporal.connection.withDeadline(Date.now() + QUERY_MS, () =>
        handle.query<MigrationStatus>('status'),
      );
    } catch {
      // No worker, or no server: it is a fault that ends.
      this.options.signal.throwIfAborted();
      return undefined;
    }
  }

  #take(record: MigrationRecord, status: MigrationStatus): void {
    const { cutover, rollback, log } = status;
    const at = (iso: string): number => Date.parse(iso) - this.#clockOffset;
    record.cutoverAttempts = cutover.attempts;
    if (cutover.journaledAt !== undefined) record.journaledAt = at(cutover.journaledAt);
    record.reported = {
      cutover: (cutover.moves ?? []).reduce((sum, { redeliveries }) => sum + redeliveries, 0),
      rollback: rollback?.redeliveriesAtMost ?? rollback?.redeliveries ?? 0,
    };
    if (cutover.publisherHoldMs !== undefined) record.holdMs.cutover = cutover.publisherHoldMs;
    if (rollback?.publisherHoldMs !== undefined) record.holdMs.rollback = rollback.publisherHoldMs;
    if (rollback?.from !== undefined) record.rollbackFrom = rollback.from;
    record.log = log;
  }

  #finish(record: MigrationRecord, end: { status: MigrationStatus } | { failure: string }): void {
    record.endedAt = clockMs();
    if ('failure' in end) {
      record.outcome = 'failed';
      record.failure = end.failure;
      return;
    }
    this.#take(record, end.status);
    record.outcome = end.status.phase;
  }

  /** Temporal is away now and then. */
  async #untilDone(call: () => Promise<void>): Promise<void> {
    const { signal } = this.options;
    const deadline = clockMs() + ROLLBACK_WITHIN_MS;
    for (;;) {
      try {
        await this.temporal.connection.withDeadline(Date.now() + QUERY_MS, call);
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (clockMs() > deadline) throw new StuckError('Temporal cannot be reached any more.', { cause: error });
        await delay(RETRY_MS, undefined, { signal });
      }
    }
  }

  get #stopping(): boolean {
    return this.#stop.signal.aborted;
  }
}

/** A window lasts for a second or less. */
function momentIn({ phase, afterMs }: Goal): number {
  return phase === 'cutover' ? afterMs / 20 : afterMs;
}

async function failureOf(result: Promise<unknown>): Promise<string> {
  try {
    await result;
    return '';
  } catch (error) {
    const messages: string[] = [];
    for (let cause = error; cause instanceof Error; cause = cause.cause) messages.push(cause.message);
    return messages.join(': ');
  }
}
