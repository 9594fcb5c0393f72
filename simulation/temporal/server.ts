import type { TimeoutType } from '@temporalio/common';
import { ActivityFailure, ApplicationFailure, CancelledFailure, RetryState, TimeoutFailure } from '@temporalio/common';
import { optionalTsToMs } from '@temporalio/common/lib/time.js';
import type { Event, Process, World } from '../clock/world.js';
import { valuesOf, WorkflowRun, type Command, type Job, type Task } from './workflow-run.js';

/** What an attempt of an activity gets from its worker. */
export interface Attempt {
  readonly worker: Process;
  readonly number: number;
  /** What an earlier attempt recorded last. */
  readonly resumed: unknown;
  /** When the activity was scheduled; ms. */
  readonly scheduledAt: number;
  /** When the attempt ends by its time-out; ms. */
  readonly endsAt: number;
  /** Set once the cancellation has reached the attempt, with a heartbeat. */
  readonly cancelled: boolean;
  /** Records where the work is; told with the next heartbeat. */
  record(details: unknown): void;
  /** Resolves after `ms`, or when the cancellation comes. */
  pause(ms: number): Promise<void>;
}

export type RunActivity = (name: string, argument: unknown, attempt: Attempt) => Promise<unknown>;

const WAIT_CANCELLATION_COMPLETED = 1;
/** As `withHeartbeat` has it. */
const HEARTBEAT_MS = 1_000;

interface Activity {
  seq: number;
  name: string;
  argument: unknown;
  waitsForCancel: boolean;
  scheduledAt: number;
  startToCloseMs: number;
  scheduleToCloseMs: number;
  heartbeatMs: number;
  retry: { initialMs: number; maximumMs: number; factor: number; attempts: number };
  attempts: number;
  details: unknown;
  cancelRequested: boolean;
  /** The workflow was told how it ended. */
  resolved: boolean;
  running: Running | undefined;
  /** Waits for its first or next attempt. */
  waiting: Event | undefined;
}

interface Running {
  worker: Process;
  timers: Event[];
  cancel: () => void;
}

export type WorkflowEnd = { how: 'completed' | 'failed' | 'cancelled'; message?: string };

/** A worker process, on which attempts and workflow tasks run. */
export interface Worker {
  process: Process;
  runActivity: RunActivity;
}

/**
 * What Temporal's server and core do with a workflow, as far as the protocol depends on it: timers, activities with
 * their time-outs, retries and cancellation, workflow tasks that are replayed by a new worker.
 */
export class SimulatedTemporal {
  readonly #world: World;
  readonly #workflow: (...args: never[]) => Promise<unknown>;
  #run: WorkflowRun;
  #runs = 0;
  #args: readonly unknown[];
  #worker: Worker | undefined;
  /** Whether the present worker has the run in its cache. */
  #cached = false;
  #jobs: Job[] = [];
  #taskDue = false;
  readonly #timers = new Map<number, Event>();
  readonly #activities = new Map<number, Activity>();
  /** Those that no worker has taken. */
  readonly #queued: Activity[] = [];
  /** Share of workflow tasks that are told to continue as new. */
  continueAsNew = 0;
  end: WorkflowEnd | undefined;

  /** What the workflow shows of itself. */
  get details(): string {
    return this.#run.details;
  }

  constructor(
    world: World,
    workflow: (...args: never[]) => Promise<unknown>,
    readonly name: string,
    args: readonly unknown[],
  ) {
    this.#world = world;
    this.#workflow = workflow;
    this.#args = args;
    this.#run = this.#newRun();
    this.#tell({ kind: 'start' });
  }

  /** A worker takes what waits. The one before is gone. */
  startWorker(worker: Worker): void {
    this.#worker = worker;
    this.#cached = this.#run.history.length === 0;
    for (const activity of this.#queued.splice(0)) this.#dispatch(activity);
    if (this.#jobs.length > 0) this.#scheduleTask();
  }

  /** The worker died: its attempts end by their time-outs. */
  loseWorker(): void {
    this.#worker = undefined;
    this.#taskDue = false;
  }

  signal(name: string, input: unknown): void {
    this.#tell({ kind: 'signal', name, input: JSON.stringify(input) });
  }

  cancel(): void {
    this.#tell({ kind: 'cancel' });
  }

  #newRun(): WorkflowRun {
    this.#runs++;
    return this.#runOf(this.#world.now);
  }

  #runOf(begun: number, isTold: () => boolean = () => true): WorkflowRun {
    const onLog = (text: string): void => {
      if (isTold()) this.#world.say(() => `workflow: ${text}`);
    };
    return new WorkflowRun(this.name, this.#workflow, this.#args, begun, onLog);
  }

  #tell(job: Job): void {
    if (this.end !== undefined) return;
    this.#jobs.push(job);
    this.#scheduleTask();
  }

  #scheduleTask(): void {
    const worker = this.#worker;
    if (this.#taskDue || worker === undefined) return;
    this.#taskDue = true;
    this.#world.later(worker.process, this.#world.random.between(1, 5), async () => {
      this.#taskDue = false;
      if (this.#worker === worker) await this.#workflowTask();
    });
  }

  async #workflowTask(): Promise<void> {
    const { random, now } = this.#world;
    if (this.#jobs.length === 0 || this.end !== undefined) return;
    if (!this.#cached) await this.#replay();
    // Signals first, as the SDK has it.
    const jobs = this.#jobs.splice(0);
    const first = (job: Job): boolean => job.kind === 'start' || job.kind === 'signal';
    const sorted = [...jobs.filter(first), ...jobs.filter((job) => !first(job))];
    const task: Task = { at: now, jobs: sorted, continueAsNew: random.chance(this.continueAsNew) };
    const commands = await this.#run.activate(task);
    for (const command of commands) this.#obey(command);
  }

  /** A worker that does not know the run repeats all its tasks: what was decided stays decided. */
  async #replay(): Promise<void> {
    const { history } = this.#run;
    let isReplaying = true;
    const again = this.#runOf(history[0]?.at ?? this.#world.now, () => !isReplaying);
    const { now } = this.#world;
    for (const task of history) {
      this.#world.now = task.at;
      await again.activate(task);
    }
    this.#world.now = now;
    isReplaying = false;
    this.#run = again;
    this.#cached = true;
  }

  #obey(command: Command): void {
    const { startTimer, cancelTimer, scheduleActivity, requestCancelActivity } = command;
    if (startTimer) this.#startTimer(Number(startTimer.seq), msOf(startTimer.startToFireTimeout));
    else if (cancelTimer) this.#cancelTimer(Number(cancelTimer.seq));
    else if (scheduleActivity) this.#schedule(scheduleActivity);
    else if (requestCancelActivity) this.#requestCancel(Number(requestCancelActivity.seq));
    else if (command.completeWorkflowExecution) this.#finish({ how: 'completed' });
    else if (command.cancelWorkflowExecution) this.#finish({ how: 'cancelled' });
    else if (command.failWorkflowExecution) {
      const message = command.failWorkflowExecution.failure?.message;
      this.#finish({ how: 'failed', ...(message ? { message } : {}) });
    } else if (command.continueAsNewWorkflowExecution) {
      this.#args = valuesOf(command.continueAsNewWorkflowExecution.arguments);
      this.#world.say(() => 'workflow: continues as new');
      this.#abandonAll();
      this.#run = this.#newRun();
      const kept = this.#jobs.filter(({ kind }) => kind === 'signal' || kind === 'cancel');
      this.#jobs = [{ kind: 'start' }, ...kept];
      this.#scheduleTask();
    }
  }

  #finish(end: WorkflowEnd): void {
    this.#world.say(() => `workflow: ${end.how} ${end.message ?? ''}`);
    this.end = end;
    this.#abandonAll();
  }

  #abandonAll(): void {
    for (const timer of this.#timers.values()) timer.cancelled = true;
    this.#timers.clear();
    for (const activity of this.#activities.values()) {
      activity.resolved = true;
      activity.running?.cancel();
      if (activity.waiting !== undefined) activity.waiting.cancelled = true;
    }
    this.#activities.clear();
    this.#queued.length = 0;
  }

  #startTimer(seq: number, ms: number): void {
    const fire = (): void => {
      this.#timers.delete(seq);
      this.#tell({ kind: 'timer', seq });
    };
    this.#timers.set(seq, this.#world.timer(undefined, ms, fire));
  }

  #cancelTimer(seq: number): void {
    const timer = this.#timers.get(seq);
    if (timer !== undefined) timer.cancelled = true;
    this.#timers.delete(seq);
  }

  #schedule(command: NonNullable<Command['scheduleActivity']>): void {
    const { retryPolicy } = command;
    const initialMs = msOf(retryPolicy?.initialInterval) || 1_000;
    const activity: Activity = {
      seq: Number(command.seq),
      name: command.activityType ?? '',
      argument: valuesOf(command.arguments)[0],
      waitsForCancel: Number(command.cancellationType) === WAIT_CANCELLATION_COMPLETED,
      scheduledAt: this.#world.now,
      startToCloseMs: msOf(command.startToCloseTimeout) || Infinity,
      scheduleToCloseMs: msOf(command.scheduleToCloseTimeout) || Infinity,
      heartbeatMs: msOf(command.heartbeatTimeout) || Infinity,
      retry: {
        initialMs,
        maximumMs: msOf(retryPolicy?.maximumInterval) || 100 * initialMs,
        factor: retryPolicy?.backoffCoefficient ?? 2,
        attempts: retryPolicy?.maximumAttempts || Infinity,
      },
      attempts: 0,
      details: undefined,
      cancelRequested: false,
      resolved: false,
      running: undefined,
      waiting: undefined,
    };
    this.#activities.set(activity.seq, activity);
    this.#dispatch(activity);
  }

  #dispatch(activity: Activity): void {
    const worker = this.#worker;
    if (worker === undefined) {
      if (!activity.resolved) this.#queued.push(activity);
      return;
    }
    this.#world.later(worker.process, this.#world.random.between(1, 6), () => {
      // A worker that was replaced while it stood still gets nothing any more.
      if (activity.resolved || activity.running !== undefined || this.#worker !== worker) return;
      this.#attempt(activity, worker);
    });
    // A worker that dies, or stands still, before it takes the task leaves it to the next one.
    const look = (): void => {
      if (activity.running !== undefined || activity.resolved) return;
      if (worker.process.state === 'dead' || this.#worker !== worker) this.#dispatch(activity);
      else activity.waiting = this.#world.timer(undefined, 100, look);
    };
    activity.waiting = this.#world.timer(undefined, 100, look);
  }

  #attempt(activity: Activity, worker: Worker): void {
    const world = this.#world;
    if (activity.waiting !== undefined) activity.waiting.cancelled = true;
    activity.waiting = undefined;
    activity.attempts++;
    const { process } = worker;
    const overall = activity.scheduledAt + activity.scheduleToCloseMs;
    const endsAt = Math.min(world.now + activity.startToCloseMs, overall);
    let cancelled = false;
    let told: unknown = activity.details;
    let paused: (() => void) | undefined;
    const isCurrent = (): boolean => activity.running === running;
    const attempt: Attempt = {
      worker: process,
      number: activity.attempts,
      resumed: activity.details,
      scheduledAt: activity.scheduledAt,
      endsAt,
      get cancelled() {
        return cancelled;
      },
      record: (details) => {
        told = details;
      },
      pause: async (ms) => {
        if (cancelled) return;
        await new Promise<void>((resolve) => {
          const timer = world.timer(process, ms, resolve);
          paused = () => {
            timer.cancelled = true;
            resolve();
          };
        });
        paused = undefined;
      },
    };
    const cancel = (): void => {
      // It comes with the answer to a heartbeat.
      world.later(process, world.random.between(5, HEARTBEAT_MS), () => {
        if (cancelled) return;
        cancelled = true;
        paused?.();
      });
    };
    const running: Running = { worker: process, timers: [], cancel };
    activity.running = running;
    const timeOut = (type: TimeoutType): void => {
      if (!isCurrent()) return;
      this.#failed(activity, new TimeoutFailure(`activity ${type} timeout`, undefined, type), false);
    };
    if (Number.isFinite(endsAt)) {
      running.timers.push(
        world.timer(undefined, endsAt - world.now, () => {
          timeOut('START_TO_CLOSE');
        }),
      );
    }
    let lastBeat = world.now;
    if (Number.isFinite(activity.heartbeatMs)) {
      // Heartbeats are sent by a timer of the worker: as long as that runs they come, and carry the details.
      const watch = (): void => {
        if (!isCurrent()) return;
        if (process.state === 'running') {
          lastBeat = world.now;
          activity.details = told;
        }
        if (world.now - lastBeat >= activity.heartbeatMs) timeOut('HEARTBEAT');
        else running.timers.push(world.timer(undefined, HEARTBEAT_MS, watch));
      };
      running.timers.push(world.timer(undefined, HEARTBEAT_MS, watch));
    }
    world.say(() => `${process.name}: ${activity.name} attempt ${activity.attempts}`);
    worker.runActivity(activity.name, activity.argument, attempt).then(
      (result) => {
        const text = result === undefined ? undefined : JSON.stringify(result);
        world.later(undefined, world.random.between(1, 5), () => {
          if (isCurrent()) this.#resolve(activity, { result: text });
        });
      },
      (error: unknown) => {
        world.later(undefined, world.random.between(1, 5), () => {
          if (isCurrent()) this.#failed(activity, error, cancelled);
        });
      },
    );
  }

  #failed(activity: Activity, error: unknown, byCancel: boolean): void {
    const world = this.#world;
    for (const timer of activity.running?.timers ?? []) timer.cancelled = true;
    activity.running = undefined;
    const message = error instanceof Error ? error.message : String(error);
    world.say(() => `temporal: ${activity.name} attempt ${activity.attempts} failed: ${message}`);
    if (activity.resolved) return;
    if (byCancel || activity.cancelRequested) {
      const cause = byCancel ? new CancelledFailure('cancelled') : asFailure(error);
      this.#resolve(activity, { error: failureOf(activity, cause) });
      return;
    }
    const final = error instanceof ApplicationFailure && error.nonRetryable === true;
    const { initialMs, maximumMs, factor, attempts } = activity.retry;
    const waitMs = Math.min(maximumMs, initialMs * factor ** (activity.attempts - 1));
    const late = world.now + waitMs >= activity.scheduledAt + activity.scheduleToCloseMs;
    if (final || late || activity.attempts >= attempts) {
      this.#resolve(activity, { error: failureOf(activity, asFailure(error)) });
      return;
    }
    activity.waiting = world.timer(undefined, waitMs, () => {
      activity.waiting = undefined;
      this.#dispatch(activity);
    });
  }

  #resolve(activity: Activity, outcome: Extract<Job, { kind: 'activity' }>['outcome']): void {
    for (const timer of activity.running?.timers ?? []) timer.cancelled = true;
    activity.running = undefined;
    if (activity.waiting !== undefined) activity.waiting.cancelled = true;
    if (activity.resolved) return;
    activity.resolved = true;
    this.#activities.delete(activity.seq);
    this.#tell({ kind: 'activity', seq: activity.seq, outcome });
  }

  #requestCancel(seq: number): void {
    const activity = this.#activities.get(seq);
    if (activity === undefined || activity.resolved) return;
    activity.cancelRequested = true;
    activity.running?.cancel();
    const idle = activity.running === undefined;
    // An attempt that is not waited for goes on until the cancellation reaches it.
    if (!activity.waitsForCancel || idle) {
      this.#resolve(activity, { error: failureOf(activity, new CancelledFailure('cancelled')) });
    }
  }
}

type Timestamp = Parameters<typeof optionalTsToMs>[0];

function msOf(time: Timestamp): number {
  return optionalTsToMs(time) ?? 0;
}

function failureOf(activity: Activity, cause: Error): ActivityFailure {
  return new ActivityFailure(
    'Activity task failed',
    activity.name,
    String(activity.seq),
    RetryState.MAXIMUM_ATTEMPTS_REACHED,
    undefined,
    cause,
  );
}

/** As the failure converter makes it of what an activity throws. */
function asFailure(error: unknown): Error {
  if (error instanceof ApplicationFailure || error instanceof TimeoutFailure || error instanceof CancelledFailure)
    return error;
  const message = error instanceof Error ? error.message : String(error);
  const type = error instanceof Error ? error.name : 'Error';
  return ApplicationFailure.retryable(message, type);
}
