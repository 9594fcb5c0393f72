import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterAdmin } from '@owlmq/kafka-bridge/operations';
import type { MigrationInput } from '@owlmq/kafka-bridge/playbook';
import type { Log } from '../engines/fetch/progress.js';
import type { Phase } from '../src/workflows/migration-state.js';
import type { MigrationStatus } from '../src/workflows/status.js';
import { outstanding, type CheckResult, check } from './checker.js';
import { clockMs } from './event-log.js';
import { Fleet, type FleetOptions } from './fleet.js';
import { shellLine, TemporalTrial } from './temporal.js';

/** Phases from which a trial can be rolled back. */
export const rollbackPhases = ['dual-write', 'shadow-soak', 'cutover', 'warm'] as const;
export type RollbackPhase = (typeof rollbackPhases)[number];

export interface TrialOptions extends Omit<FleetOptions, 'signal'> {
  readonly temporalCli: string;
  readonly temporalAddress: string;
  readonly partitions: number;
  /** Everything of the workflow's input but names. */
  readonly pace: Omit<MigrationInput, 'topics' | 'groups' | 'forward'>;
  readonly rollbackAt?: RollbackPhase | undefined;
  /** Traffic that goes on once the workflow has ended, ms. */
  readonly trafficAfterMs: number;
  /** Bound on the workflow's run, ms. */
  readonly limitMs: number;
  readonly signal: AbortSignal;
  /** Told of everything that a person may want to see. */
  readonly onProgress: (progress: Progress) => void;
  readonly log: Log;
}

export interface Progress {
  readonly status: MigrationStatus;
  readonly published: number;
  readonly applied: Readonly<Record<string, number>>;
}

/** How a trial went. */
export interface TrialReport {
  migration: string;
  seed: number;
  /** How the workflow ended, and how it should have. */
  outcome: string;
  expected: 'completed' | 'rolled-back';
  rollbackAt: RollbackPhase | null;
  /** Everything that a trial must not show, in words; empty when all is well. */
  problems: string[];
  check: CheckResult;
  discrepancies: number;
  comparisons: number;
  /** Longest hold of a publish call at the cutover and at a rollback as publishers reported it, ms. */
  hold: { cutoverMs: number | null; rollbackMs: number | null };
  /** What a producer without the library wrote, and what the bridge copied of it to OwlMQ; null without one. */
  foreign: { records: number; forwarded: number; decommissionRefused: boolean } | null;
  cutoverWindowMs: number | null;
  cutoverAttempts: number;
  /** In their order. */
  phases: { phase: Phase; ms: number }[];
  historyEvents: number;
  tookMs: number;
}

/** The workflow did not end, or has failed. */
export class TrialError extends Error {
  override readonly name = 'TrialError';
}

const RETENTION_MS = 30 * 24 * 3_600_000;
const POLL_MS = 200;
const SETTLE_LIMIT_MS = 60_000;
const QUIET_MS = 1_000;

/** When a rollback is asked for, by phase: after something has happened that it has to undo. */
const rollbackMoment: Record<RollbackPhase, (status: MigrationStatus, phaseForMs: number) => boolean> = {
  'dual-write': ({ ratio }) => ratio.acknowledged >= 0.3,
  'shadow-soak': ({ soak }) => soak.cleanMs > 0,
  cutover: () => true,
  warm: (_, phaseForMs) => phaseForMs > 3_000,
};

/**
 * Runs one migration under traffic: topics, worker, consumers and producers, the workflow through the Temporal CLI, and
 * the comparison of all that was published with all that was applied.
 */
export class Trial {
  readonly fleet: Fleet;
  readonly #options: TrialOptions;
  readonly #temporal: TemporalTrial;
  readonly #phases: { phase: Phase; at: number }[] = [];
  #decommissionRefused = false;

  private constructor(options: TrialOptions, temporal: TemporalTrial) {
    this.#options = options;
    this.#temporal = temporal;
    this.fleet = new Fleet(options);
  }

  static async prepare(options: TrialOptions): Promise<Trial> {
    const { temporalCli: cli, temporalAddress: address, taskQueue, migration } = options;
    return new Trial(options, await TemporalTrial.connect({ cli, address, taskQueue, migration }));
  }

  /** @throws TrialError, FleetProcessEndedError, EngineStartError */
  async run(): Promise<TrialReport> {
    const started = clockMs();
    const { fleet } = this;
    const { log, trafficAfterMs, signal } = this.#options;
    await this.#createTopics();
    await Promise.all([fleet.startWorker(), fleet.startConsumers()]);
    await Promise.all([fleet.startProducers(), fleet.startForeignProducer()]);
    await this.#until('every group to consume', 30_000, () =>
      [...fleet.applied.values()].every((list) => list.length > 0),
    );
    await this.#startWorkflow();
    const status = await this.#follow();
    await sleep(trafficAfterMs, undefined, { signal });
    await Promise.all([fleet.stopProducers(), fleet.stopForeignProducer()]);
    await this.#settled();
    await fleet.stopConsumers();
    await fleet.look();
    const historyEvents = await this.#temporal.historyEvents();
    log('');
    return this.#report(status, historyEvents, clockMs() - started);
  }

  /** Ends all processes of the trial. */
  async stop(): Promise<void> {
    await this.fleet.stop();
    await this.#temporal.close();
  }

  /** Commands to look at the run with. */
  get statusCommand(): string {
    return shellLine(this.#temporal.statusCommand());
  }

  async #createTopics(): Promise<void> {
    const { env, topics, partitions } = this.#options;
    const brokers = env.KAFKA_BROKERS?.split(',') ?? [];
    const admin = new ClusterAdmin({ brokers }, { clientId: 'owlmq-demo' });
    try {
      for (const topic of Object.values(topics) as string[]) {
        await admin.createTopic(topic, { partitions, configs: { 'retention.ms': String(RETENTION_MS) } });
      }
    } finally {
      await admin.close();
    }
  }

  async #startWorkflow(): Promise<void> {
    const { topics, groups, pace, foreignRate, log } = this.#options;
    const forward = foreignRate === undefined ? {} : { forward: [topics.payments] };
    const input = { topics: Object.values(topics) as string[], groups: [...groups], ...forward, ...pace };
    const command = this.#temporal.startCommand(input);
    log(`\n$ ${shellLine(command)}\n`);
    await this.#temporal.run(command);
  }

  /** Watches the workflow to its end, and asks for the rollback when its moment has come. */
  async #follow(): Promise<MigrationStatus> {
    const { signal, limitMs, rollbackAt, log } = this.#options;
    const deadline = clockMs() + limitMs;
    let end: { status: MigrationStatus } | { error: unknown } | undefined;
    this.#temporal.result().then(
      (status) => {
        end = { status };
      },
      (error: unknown) => {
        end = { error };
      },
    );
    let rollbackAsked = false;
    while (end === undefined) {
      const status = await this.#look();
      const phaseForMs = Date.now() - Date.parse(status.since);
      if (rollbackAt !== undefined && !rollbackAsked && isTime(rollbackAt, status, phaseForMs)) {
        rollbackAsked = true;
        const command = this.#temporal.rollbackCommand(`the demo was asked to roll back at ${rollbackAt}`);
        log(`\n$ ${shellLine(command)}\n`);
        await this.#temporal.run(command);
      }
      if (!this.#decommissionRefused && status.waiting?.for.startsWith('producers without the library') === true) {
        this.#decommissionRefused = true;
        log(`\nThe decommission waits for ${status.waiting.for}.\nThe producer without the library is stopped.\n`);
        await this.fleet.stopForeignProducer();
      }
      if (clockMs() > deadline) {
        const stuck = status.blocked ?? status.waiting;
        throw new TrialError(`The workflow has not ended after ${limitMs / 1_000} s: ${JSON.stringify(stuck)}`);
      }
      // The moment of the cutover is short.
      const soon = rollbackAt === 'cutover' && status.phase === 'ready';
      await sleep(soon ? 25 : POLL_MS, undefined, { signal });
    }
    if ('error' in end) throw new TrialError(`The workflow failed: ${causes(end.error)}`, { cause: end.error });
    this.#takePhases(end.status);
    return end.status;
  }

  async #look(): Promise<MigrationStatus> {
    const { onProgress } = this.#options;
    await this.fleet.look();
    const status = await this.#temporal.status();
    this.#takePhases(status);
    const applied = Object.fromEntries([...this.fleet.applied].map(([group, list]) => [group, list.length]));
    onProgress({ status, published: this.fleet.acknowledged, applied });
    return status;
  }

  /** The log in the status is capped, so it is read as it grows. */
  #takePhases({ log, startedAt }: MigrationStatus): void {
    if (this.#phases.length === 0) this.#phases.push({ phase: 'preflight', at: Date.parse(startedAt) });
    const newest = this.#phases.at(-1)?.at ?? 0;
    for (const { at, text } of log) {
      const phase = /^phase (\S+)$/.exec(text)?.[1];
      const time = Date.parse(at);
      if (phase !== undefined && (time > newest || (time === newest && this.#phases.every((p) => p.phase !== phase)))) {
        this.#phases.push({ phase: phase as Phase, at: time });
      }
    }
  }

  /** Waits until every group has applied all that was acknowledged, and then applies nothing more. */
  async #settled(): Promise<void> {
    const { fleet } = this;
    const missing = (): number[] => [...fleet.applied.values()].map((list) => outstanding(fleet.produced, list));
    // What is missing after the bound is what the report calls lost.
    await this.#until('', SETTLE_LIMIT_MS, () => missing().every((count) => count === 0)).catch((error: unknown) => {
      if (!(error instanceof TrialError)) throw error;
    });
    await sleep(QUIET_MS, undefined, { signal: this.#options.signal });
  }

  async #until(what: string, limitMs: number, holds: () => boolean): Promise<void> {
    const deadline = clockMs() + limitMs;
    for (;;) {
      await this.fleet.look();
      if (holds()) return;
      if (clockMs() > deadline) throw new TrialError(`Waited ${limitMs / 1_000} s for ${what}.`);
      await sleep(POLL_MS, undefined, { signal: this.#options.signal });
    }
  }

  #foreign({ foreign }: MigrationStatus): TrialReport['foreign'] {
    if (this.#options.foreignRate === undefined) return null;
    const { records = 0, forwarded = 0 } = foreign[this.#options.topics.payments] ?? {};
    return { records, forwarded, decommissionRefused: this.#decommissionRefused };
  }

  #report(status: MigrationStatus, historyEvents: number, tookMs: number): TrialReport {
    const { migration, seed, rollbackAt } = this.#options;
    const verdicts = Object.values(status.groupVerdicts);
    const report: TrialReport = {
      migration,
      seed,
      outcome: status.phase,
      expected: rollbackAt === undefined ? 'completed' : 'rolled-back',
      rollbackAt: rollbackAt ?? null,
      problems: [],
      check: check(this.fleet.produced, this.fleet.applied),
      discrepancies: verdicts.reduce((sum, { discrepancies }) => sum + discrepancies, 0),
      comparisons: verdicts.reduce((sum, { matched, discrepancies }) => sum + matched + discrepancies, 0),
      hold: {
        cutoverMs: status.cutover.publisherHoldMs ?? null,
        rollbackMs: status.rollback?.publisherHoldMs ?? null,
      },
      foreign: this.#foreign(status),
      cutoverWindowMs: status.cutover.windowMs ?? null,
      cutoverAttempts: status.cutover.attempts,
      phases: this.#phases.slice(0, -1).map(({ phase, at }, index) => ({
        phase,
        ms: (this.#phases[index + 1]?.at ?? at) - at,
      })),
      historyEvents,
      tookMs,
    };
    report.problems.push(...problemsOf(report, status));
    return report;
  }
}

function foreignProblems({ foreign, outcome }: TrialReport): string[] {
  if (foreign === null || outcome !== 'completed') return [];
  const problems: string[] = [];
  if (foreign.forwarded === 0) problems.push('nothing of the producer without the library was forwarded');
  if (!foreign.decommissionRefused) problems.push('the decommission did not wait for the producer without the library');
  return problems;
}

function problemsOf(report: TrialReport, status: MigrationStatus): string[] {
  const problems: string[] = [];
  const { check: checked, outcome, expected, discrepancies } = report;
  if (outcome !== expected) problems.push(`the workflow ended as ${outcome}, not as ${expected}`);
  if (checked.published.acknowledged === 0) problems.push('nothing was published');
  problems.push(...foreignProblems(report));
  if (discrepancies > 0) problems.push(`${discrepancies} discrepancies between live consumers and shadows`);
  // There, and back if it got that far: every further switch means that both sides were live at a time.
  const switches = status.cutover.journaledAt === undefined ? 0 : report.expected === 'rolled-back' ? 2 : 1;
  for (const [group, result] of Object.entries(checked.groups)) {
    for (const kind of ['lost', 'duplicated', 'reordered', 'invented', 'altered'] as const) {
      if (result[kind] > 0) problems.push(`${group}: ${result[kind]} ${kind}`);
    }
    if (result.legSwitches > switches) {
      problems.push(`${group}: ${result.legSwitches} changes between Kafka and OwlMQ, at most ${switches} expected`);
    }
  }
  return problems;
}

function isTime(rollbackAt: RollbackPhase, status: MigrationStatus, phaseForMs: number): boolean {
  return status.phase === rollbackAt && rollbackMoment[rollbackAt](status, phaseForMs);
}

function causes(error: unknown): string {
  const messages: string[] = [];
  for (let cause = error; cause instanceof Error; cause = cause.cause) messages.push(cause.message);
  return messages.join(': ');
}
