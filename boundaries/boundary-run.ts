import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client, WorkflowHandle } from '@temporalio/client';
import { check, outstanding } from '../demo/checker.js';
import { clockMs, EventLogReader } from '../demo/event-log.js';
import { Fleet } from '../demo/fleet.js';
import type { Log } from '../engines/fetch/progress.js';
import type { Phase } from '../src/workflows/migration-state.js';
import type { MigrationStatus } from '../src/workflows/status.js';
import {
  commitProblems,
  effectProblems,
  legProblems,
  routingProblems,
  strayMembers,
  type Evidence,
  type Victim,
} from './evidence.js';
import { historyInWords } from './history.js';
import type { Lane } from './lane.js';
import { passageSchema, type Boundary, type Order, type Passage, type WorkerEnvironment } from './passages.js';
import type { Scenario } from './scenarios.js';

/** A death, and where it comes. */
export interface Kill {
  readonly boundary: Boundary;
  readonly victim: Victim;
}

/** One run: a scenario, and who dies where in it, in this order. */
export interface RunSpec {
  readonly scenario: Scenario;
  readonly kills: readonly Kill[];
}

export interface RunContext {
  readonly lane: Lane;
  readonly client: Client;
  readonly temporalAddress: string;
  readonly workflowBundle: string;
  /** What workers are told besides. */
  readonly workerEnv: Readonly<Record<string, string>>;
  readonly folder: string;
  /** Unique on the lane's engines and on Temporal. */
  readonly name: string;
  readonly seed: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export interface RunResult {
  /** How the workflow ended, in words. */
  ended: string;
  /** The deaths that came: a boundary that this run did not reach says nothing. */
  came: Kill[];
  /** Longest `publish()` call of any producer, ms. */
  heldMs: number;
  tookMs: number;
  published: number;
  /** Everything that must not be, in words; empty when all is well. */
  problems: string[];
  /** The boundaries that were passed, in their order, each with its phase. */
  passed: PassedBoundary[];
  /** Activities that the worker knows. */
  activities: string[];
}

export interface PassedBoundary {
  readonly boundary: Boundary;
  readonly type: string | undefined;
  readonly phase: Phase;
}

const PARTITIONS = 2;
const LOOK_MS = 20;
const START_LIMIT_MS = 45_000;
/** Far more than a run, and a death in it, takes on a busy machine: ends that come later are hangs. */
const RUN_LIMIT_MS = 120_000;
const LIMIT_A_KILL_MS = 60_000;
const SETTLE_LIMIT_MS = 30_000;
const DEAD_MS = 500;
/** How often somebody looks at the status. */
const ATTEND_MS = 2_000;
const BY = 'boundaries';

const TURN = 'turn';

class RunLimitError extends Error {
  override readonly name = 'RunLimitError';
}

/** Runs a migration in which one process dies at one boundary, to its end, and judges what became of it. */
export async function runBoundary(spec: RunSpec, context: RunContext): Promise<RunResult> {
  const run = new BoundaryRun(spec, context);
  const begun = clockMs();
  try {
    return await run.run(begun);
  } catch (error) {
    context.signal.throwIfAborted();
    return await run.failed(error, begun);
  } finally {
    await run.stop();
  }
}

class BoundaryRun {
  readonly #passages: Passage[] = [];
  readonly #readers: EventLogReader<Passage>[] = [];
  #orders: Order[];
  readonly #answers: string;
  readonly #topics: { orders: string; payments: string };
  readonly #groups: string[];
  readonly #fleet: Fleet;
  /** What goes on beside the run, and what came of it that should not. */
  readonly #beside: Promise<void>[] = [];
  readonly #failures: unknown[] = [];
  readonly #over = new AbortController();
  /** The last who died is there again. */
  #restarted: Promise<void> = Promise.resolve();
  #reading: Promise<void> = Promise.resolve();
  #handle: WorkflowHandle | undefined;
  readonly #came: Kill[] = [];
  #owlmqDead = false;
  #rollbackAsked = false;
  #refusals = 0;
  #resumes = 0;

  constructor(
    private readonly spec: RunSpec,
    private readonly context: RunContext,
  ) {
    const { name, folder, lane, temporalAddress, workflowBundle, seed, log, signal } = context;
    const { scenario, kills } = spec;
    this.#answers = join(folder, 'answers');
    this.#topics = { orders: `${name}-orders`, payments: `${name}-payments` };
    this.#groups = [`${name}-group`];
    const { turn } = scenario;
    this.#orders = [
      ...kills.map(({ boundary, victim }, index) => ({
        ...{ id: `kill-${index}`, boundary, act: victim === 'worker' ? ('die' as const) : ('ask' as const) },
      })),
      ...(turn === undefined ? [] : [{ id: TURN, firstCallOf: turn.firstCallOf, act: 'hold' as const }]),
    ];
    const membersDie = kills.some(({ victim }) => victim === 'producer' || victim === 'consumer');
    this.#fleet = new Fleet({
      ...{ migration: name, taskQueue: name, topics: this.#topics, groups: this.#groups },
      ...{ membersPerGroup: membersDie ? 2 : 1, producers: membersDie ? 2 : 1 },
      ...{ rate: 40, keys: 20, seed, folder, log, signal },
      ...(scenario.foreign ? { foreignRate: 15 } : {}),
      env: { ...lane.env, TEMPORAL_ADDRESS: temporalAddress },
      worker: {
        script: join('boundaries', 'worker.js'),
        environment: (): WorkerEnvironment & Record<string, string> => {
          const passages = join(folder, `passages-${this.#readers.length}.jsonl`);
          this.#readers.push(new EventLogReader(passages, passageSchema));
          return {
            ...context.workerEnv,
            BOUNDARIES_BUNDLE: workflowBundle,
            BOUNDARIES_LOG: passages,
            BOUNDARIES_ANSWERS: this.#answers,
            BOUNDARIES_ORDERS: JSON.stringify(this.#orders),
            BOUNDARIES_PASSED: JSON.stringify(
              this.#passages.flatMap((passage) => (passage.event === 'passed' ? [passage.boundary] : [])),
            ),
          };
        },
      },
    });
  }

  async run(begun: number): Promise<RunResult> {
    await this.#start();
    const status = await this.#follow();
    await Promise.all(this.#beside);
    const evidence = (): Evidence => this.#evidence(status);
    const problems = await this.#straggling(evidence());
    await Promise.all([this.#fleet.stopProducers(), this.#fleet.stopForeignProducer()]);
    await this.#settle();
    await this.#fleet.stopConsumers();
    await this.#fleet.look();
    if (this.#owlmqDead) await this.context.lane.owlmq.startAgain();
    this.#owlmqDead = false;
    const last = evidence();
    const { lane } = this.context;
    problems.push(...effectProblems(last), ...(await routingProblems(lane, last)));
    problems.push(...(await commitProblems(lane, last)), ...(await legProblems(lane, last)));
    const { ends } = this.spec.scenario;
    if (status.phase !== ends) problems.push(`ended as ${status.phase}, not as ${ends}`);
    const cancelled = status.cutover.attempts - (status.cutover.journaledAt === undefined ? 0 : 1);
    const done = status.phase === 'completed' ? 'done' : `rolled back from ${status.rollback?.from ?? 'nowhere'}`;
    const before = [times(cancelled, 'cancelled'), times(this.#refusals, 'refused'), times(this.#resumes, 'resumed')];
    return {
      ended: [...before, done].filter((word) => word !== '').join(', '),
      came: this.#came,
      heldMs: Math.round(last.check.latency.longest),
      tookMs: Math.round(clockMs() - begun),
      published: last.check.published.acknowledged,
      problems,
      passed: this.#passed(status),
      activities: this.#passages.flatMap((passage) => (passage.event === 'activities' ? passage.names : [])),
    };
  }

  /** What is known of a run that did not get to its end. */
  async failed(error: unknown, begun: number): Promise<RunResult> {
    const problems = [error instanceof Error ? `${error.name}: ${error.message}` : String(error)];
    if (this.#handle !== undefined) {
      const history = historyInWords(this.#handle).catch((cause: unknown) => [`no history: ${String(cause)}`]);
      problems.push(...(await history));
    }
    const nothing = { heldMs: 0, published: 0, passed: [], activities: [] };
    return { ended: 'not', came: this.#came, tookMs: Math.round(clockMs() - begun), problems, ...nothing };
  }

  /** Ends what the run has started, and leaves the engines as they were. */
  async stop(): Promise<void> {
    const { lane, signal } = this.context;
    this.#over.abort();
    await Promise.all(this.#beside);
    await this.#handle?.terminate('the harness is done with it').catch(() => undefined);
    if (this.#owlmqDead && !signal.aborted) await lane.owlmq.startAgain();
    await this.#fleet.stop();
    for (const reader of this.#readers) await reader.close();
  }

  async #start(): Promise<void> {
    const { lane, client, name } = this.context;
    const { scenario } = this.spec;
    await mkdir(this.#answers, { recursive: true });
    for (const topic of Object.values(this.#topics)) await lane.admin.createTopic(topic, { partitions: PARTITIONS });
    const fleet = this.#fleet;
    const consuming = fleet.startConsumers().then(async () => {
      await Promise.all([fleet.startProducers(), fleet.startForeignProducer()]);
    });
    await Promise.all([fleet.startWorker(), consuming]);
    if (this.spec.kills.some(({ victim }) => victim === 'worker')) this.#goBeside(this.#replaceWorkers());
    await this.#until('the group to consume', START_LIMIT_MS, () =>
      [...fleet.applied.values()].every((list) => list.length > 0),
    );
    const { foreign, pace } = scenario;
    const topics = Object.values(this.#topics);
    const input = { topics, groups: this.#groups, ...(foreign ? { forward: [this.#topics.payments] } : {}), ...pace };
    this.#handle = await client.workflow.start('migrateKafkaToOwlmq', {
      ...{ workflowId: name, taskQueue: name, args: [input] },
      // A task whose worker died is given to the next one after this time.
      workflowTaskTimeout: '3 seconds',
    });
    this.#goBeside(this.#attend());
  }

  /** Another worker follows each that dies at its boundary. */
  async #replaceWorkers(): Promise<void> {
    const { signal } = this.#over;
    const over = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => {
        resolve();
      });
    });
    while (this.#orders.some(({ act }) => act === 'die')) {
      // A boundary that is not reached lets the worker live.
      await Promise.race([this.#fleet.expectEnd('worker'), over]);
      await this.#readPassages();
      if (signal.aborted) return;
      await this.#fleet.startAgain('worker');
    }
  }

  async #follow(): Promise<MigrationStatus> {
    const result = (this.#handle as WorkflowHandle).result() as Promise<MigrationStatus>;
    let end: { status: MigrationStatus } | { error: unknown } | undefined;
    result.then(
      (status) => {
        end = { status };
      },
      (error: unknown) => {
        end = { error };
      },
    );
    const limitMs = RUN_LIMIT_MS + this.spec.kills.length * LIMIT_A_KILL_MS;
    await this.#until('the end of the workflow', limitMs, () => end !== undefined, true);
    this.#over.abort();
    await this.#readPassages();
    const ended = end as unknown as { status: MigrationStatus } | { error: unknown };
    if ('error' in ended) throw ended.error;
    return ended.status;
  }

  async #onReached({ order }: Passage & { event: 'reached' }): Promise<void> {
    // The next worker is not to do it again.
    this.#orders = this.#orders.filter(({ id }) => id !== order);
    const kill = this.spec.kills[Number(/^kill-(\d+)$/.exec(order)?.[1])];
    if (kill !== undefined) {
      this.#came.push(kill);
      if (kill.victim !== 'worker') await this.#killVictim(kill.victim);
      await writeFile(join(this.#answers, order), '');
      return;
    }
    const { turn } = this.spec.scenario;
    if (turn === undefined || turn.then === 'wait') return;
    if (turn.then === 'kill OwlMQ and roll back') {
      await this.context.lane.owlmq.kill();
      this.#owlmqDead = true;
    }
    await this.#rollBack();
  }

  #goBeside(work: Promise<void>): void {
    this.#beside.push(
      work.catch((error: unknown) => {
        this.#failures.push(error);
      }),
    );
  }

  /** What a person does: asks again for a rollback that was refused, and resumes a run that is blocked. */
  async #attend(): Promise<void> {
    const { signal } = this.#over;
    for (;;) {
      await sleep(ATTEND_MS, undefined, { signal }).catch(() => undefined);
      const status = signal.aborted ? undefined : await this.#status();
      if (signal.aborted) return;
      if (status === undefined) continue;
      if (this.#rollbackAsked && status.rollback === null) {
        this.#refusals++;
        await this.#rollBack();
      } else if (status.blocked !== null) {
        this.#resumes++;
        await this.#handle?.signal('resume', { by: BY });
      }
    }
  }

  async #rollBack(): Promise<void> {
    this.#rollbackAsked = true;
    await this.#handle?.signal('rollback', { reason: `the scenario ${this.spec.scenario.name}`, by: BY });
  }

  /** Undefined while no worker answers, and once the workflow has ended. */
  async #status(): Promise<MigrationStatus | undefined> {
    const { connection } = this.context.client;
    try {
      return await connection.withDeadline(
        Date.now() + ATTEND_MS,
        async () => await this.#handle?.query<MigrationStatus>('status'),
      );
    } catch {
      return undefined;
    }
  }

  async #killVictim(victim: Exclude<Victim, 'worker'>): Promise<void> {
    const { lane } = this.context;
    const fleet = this.#fleet;
    // One at a time.
    await this.#restarted;
    if (victim === 'kafka' || victim === 'owlmq') {
      // In the scenario in which OwlMQ is dead there is nothing to kill.
      if (victim === 'owlmq' && this.#owlmqDead) return;
      await lane[victim].kill();
      this.#restart(() => lane[victim].startAgain());
      return;
    }
    const [member] = fleet.running(victim === 'producer' ? 'producers' : 'consumers');
    if (member === undefined) throw new Error(`No ${victim} runs.`);
    await fleet.kill(member);
    this.#restart(() => fleet.startAgain(member));
  }

  #restart(start: () => Promise<void>): void {
    this.#restarted = sleep(DEAD_MS).then(start);
    this.#goBeside(this.#restarted);
  }

  async #straggling(evidence: Evidence): Promise<string[]> {
    const deadline = clockMs() + SETTLE_LIMIT_MS;
    for (;;) {
      const stray = await strayMembers(this.context.lane, evidence);
      if (stray.length === 0 || clockMs() > deadline) return stray;
      await sleep(LOOK_MS * 5, undefined, { signal: this.context.signal });
    }
  }

  /** Until all that was acknowledged is applied; what is missing then is told by the checker. */
  async #settle(): Promise<void> {
    const fleet = this.#fleet;
    const settled = (): boolean =>
      [...fleet.applied.values()].every((applied) => outstanding(fleet.produced, applied) === 0);
    await this.#until('', SETTLE_LIMIT_MS, settled).catch((error: unknown) => {
      if (!(error instanceof RunLimitError)) throw error;
    });
  }

  async #until(what: string, limitMs: number, holds: () => boolean, watch = false): Promise<void> {
    const deadline = clockMs() + limitMs;
    for (;;) {
      await this.#fleet.look();
      if (this.#failures.length > 0) throw this.#failures[0];
      if (watch) await this.#readPassages();
      if (holds()) return;
      if (clockMs() > deadline) throw new RunLimitError(`Waited ${limitMs / 1_000} s for ${what}.`);
      await sleep(LOOK_MS, undefined, { signal: this.context.signal });
    }
  }

  async #readPassages(): Promise<void> {
    this.#reading = this.#reading.then(async () => {
      for (const reader of this.#readers) {
        for (const passage of await reader.read()) {
          this.#passages.push(passage);
          if (passage.event === 'reached') await this.#onReached(passage);
        }
      }
    });
    await this.#reading;
  }

  #evidence(status: MigrationStatus): Evidence {
    const { produced, applied } = this.#fleet;
    return {
      ...{ migration: this.context.name, topics: Object.values(this.#topics), groups: this.#groups, status },
      ...{ victims: this.spec.kills.map(({ victim }) => victim), produced, applied, check: check(produced, applied) },
    };
  }

  /** The phase of each passage is the one that the workflow was in when it decided it. */
  #passed({ log, startedAt }: MigrationStatus): PassedBoundary[] {
    const phases = log.flatMap(({ at, text }) => {
      const phase = /^phase (\S+)$/.exec(text)?.[1];
      return phase === undefined ? [] : [{ phase: phase as Phase, at: Date.parse(at) }];
    });
    phases.unshift({ phase: 'preflight', at: Date.parse(startedAt) });
    return this.#passages.flatMap((passage) => {
      if (passage.event !== 'passed') return [];
      const { boundary, type, decidedAt } = passage;
      return [{ boundary, type, phase: phases.findLast(({ at }) => at <= decidedAt)?.phase ?? 'preflight' }];
    });
  }
}

function times(count: number, what: string): string {
  return count === 0 ? '' : count === 1 ? what : `${what} ${count} times`;
}
