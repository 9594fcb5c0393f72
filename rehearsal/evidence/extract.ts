import { tsToMs } from '@temporalio/common/lib/time.js';
import { decode, type HistoryEvent, type RecordedMigration } from './recorded-migration.js';

/** An activity as its run's history has it. Times are Unix ms. */
export interface ActivityRecord {
  name: string;
  summary: string;
  taskQueue: string;
  argument: unknown;
  scheduledAt: number;
  endedAt: number | undefined;
  outcome: 'completed' | 'failed' | 'timed out' | 'cancelled' | 'pending';
  attempts: number;
  result: unknown;
  /** Of the attempt that ended it, or of the last one before. */
  failure: string | undefined;
}

export interface TimerRecord {
  summary: string;
  startedAt: number;
  forMs: number;
  endedAt: number | undefined;
  outcome: 'fired' | 'cancelled' | 'pending';
}

/** Something that somebody asked for. */
export interface RequestRecord {
  at: number;
  kind: 'signal' | 'update' | 'cancel';
  name: string;
  argument: unknown;
  /** As the one who asked gave it to Temporal. */
  identity: string;
  answer: unknown;
}

/** The facts of a migration, in the order of its histories. */
export interface Facts {
  startedAt: number;
  /** Undefined: it runs. */
  endedAt: number | undefined;
  outcome: string;
  startedBy: string;
  taskQueue: string;
  input: unknown;
  activities: ActivityRecord[];
  timers: TimerRecord[];
  requests: RequestRecord[];
  /** By search attribute. */
  phases: { at: number; phase: string }[];
  events: number;
}

const ENDS: Readonly<Record<string, string>> = {
  workflowExecutionCompletedEventAttributes: 'completed',
  workflowExecutionFailedEventAttributes: 'failed',
  workflowExecutionCanceledEventAttributes: 'cancelled',
  workflowExecutionTerminatedEventAttributes: 'terminated',
  workflowExecutionTimedOutEventAttributes: 'timed out',
};

export function extractFacts({ runs }: RecordedMigration): Facts {
  const facts: Facts = {
    startedAt: 0,
    endedAt: undefined,
    outcome: 'running',
    startedBy: '',
    taskQueue: '',
    input: undefined,
    activities: [],
    timers: [],
    requests: [],
    phases: [],
    events: 0,
  };
  for (const [index, { events }] of runs.entries()) {
    facts.events += events.length;
    const run = new Run(facts);
    for (const event of events) run.take(event, index === 0);
  }
  return facts;
}

/** Event ids belong to a run: one for each. */
class Run {
  readonly #activities = new Map<string, ActivityRecord>();
  readonly #timers = new Map<string, TimerRecord>();
  readonly #updates = new Map<string, RequestRecord>();

  constructor(private readonly facts: Facts) {}

  take(event: HistoryEvent, isFirst: boolean): void {
    const at = tsToMs(event.eventTime);
    const started = event.workflowExecutionStartedEventAttributes;
    if (started && isFirst) {
      const { facts } = this;
      facts.startedAt = at;
      facts.startedBy = started.identity ?? '';
      facts.taskQueue = started.taskQueue?.name ?? '';
      facts.input = decode(started.input?.payloads?.[0]);
    }
    for (const [attributes, outcome] of Object.entries(ENDS)) {
      if (!(event as unknown as Record<string, unknown>)[attributes]) continue;
      this.facts.endedAt = at;
      this.facts.outcome = outcome;
      const reason = event.workflowExecutionFailedEventAttributes?.failure?.message;
      if (reason) this.facts.outcome = `failed: ${reason}`;
    }
    const phase = decode(
      event.upsertWorkflowSearchAttributesEventAttributes?.searchAttributes?.indexedFields?.['MigrationPhase'],
    );
    const [name] = Array.isArray(phase) ? (phase as unknown[]) : [phase];
    if (typeof name === 'string' && this.facts.phases.at(-1)?.phase !== name)
      this.facts.phases.push({ at, phase: name });
    this.#takeActivity(event, at);
    this.#takeTimer(event, at);
    this.#takeRequest(event, at);
  }

  #takeActivity(event: HistoryEvent, at: number): void {
    const scheduled = event.activityTaskScheduledEventAttributes;
    if (scheduled) {
      const record: ActivityRecord = {
        name: scheduled.activityType?.name ?? '',
        summary: summaryOf(event),
        taskQueue: scheduled.taskQueue?.name ?? '',
        argument: decode(scheduled.input?.payloads?.[0]),
        scheduledAt: at,
        endedAt: undefined,
        outcome: 'pending',
        attempts: 0,
        result: undefined,
        failure: undefined,
      };
      this.#activities.set(idOf(event.eventId), record);
      this.facts.activities.push(record);
      return;
    }
    const started = event.activityTaskStartedEventAttributes;
    if (started) {
      const record = this.#activities.get(idOf(started.scheduledEventId));
      if (record === undefined) return;
      record.attempts = started.attempt ?? 1;
      record.failure = started.lastFailure?.message ?? undefined;
      return;
    }
    const completed = event.activityTaskCompletedEventAttributes;
    const failed = event.activityTaskFailedEventAttributes;
    const timedOut = event.activityTaskTimedOutEventAttributes;
    const cancelled = event.activityTaskCanceledEventAttributes;
    const ended = completed ?? failed ?? timedOut ?? cancelled;
    const record = ended ? this.#activities.get(idOf(ended.scheduledEventId)) : undefined;
    if (record === undefined) return;
    record.endedAt = at;
    record.outcome = completed ? 'completed' : failed ? 'failed' : timedOut ? 'timed out' : 'cancelled';
    record.result = decode(completed?.result?.payloads?.[0]);
    const failure = failed?.failure ?? timedOut?.failure;
    record.failure = failure?.cause?.message ?? failure?.message ?? record.failure;
  }

  #takeTimer(event: HistoryEvent, at: number): void {
    const started = event.timerStartedEventAttributes;
    if (started) {
      const forMs = started.startToFireTimeout ? tsToMs(started.startToFireTimeout) : 0;
      const record: TimerRecord = {
        summary: summaryOf(event),
        startedAt: at,
        forMs,
        endedAt: undefined,
        outcome: 'pending',
      };
      this.#timers.set(started.timerId ?? '', record);
      this.facts.timers.push(record);
    }
    const ended = event.timerFiredEventAttributes ?? event.timerCanceledEventAttributes;
    const record = ended ? this.#timers.get(ended.timerId ?? '') : undefined;
    if (record === undefined) return;
    record.endedAt = at;
    record.outcome = event.timerFiredEventAttributes ? 'fired' : 'cancelled';
  }

  #takeRequest(event: HistoryEvent, at: number): void {
    const signaled = event.workflowExecutionSignaledEventAttributes;
    if (signaled) {
      this.facts.requests.push({
        at,
        kind: 'signal',
        name: signaled.signalName ?? '',
        argument: decode(signaled.input?.payloads?.[0]),
        identity: signaled.identity ?? '',
        answer: undefined,
      });
    }
    const cancel = event.workflowExecutionCancelRequestedEventAttributes;
    if (cancel) {
      const { cause, identity } = cancel;
      const common = { at, kind: 'cancel', name: 'cancel', answer: undefined } as const;
      this.facts.requests.push({ ...common, argument: cause || undefined, identity: identity ?? '' });
    }
    const accepted = event.workflowExecutionUpdateAcceptedEventAttributes;
    if (accepted) {
      const { input, meta } = accepted.acceptedRequest ?? {};
      const record: RequestRecord = {
        at,
        kind: 'update',
        name: input?.name ?? '',
        argument: decode(input?.args?.payloads?.[0]),
        identity: meta?.identity ?? '',
        answer: undefined,
      };
      this.#updates.set(idOf(event.eventId), record);
      this.facts.requests.push(record);
    }
    const done = event.workflowExecutionUpdateCompletedEventAttributes;
    const record = done ? this.#updates.get(idOf(done.acceptedEventId)) : undefined;
    if (record !== undefined) {
      record.answer = decode(done?.outcome?.success?.payloads?.[0]) ?? done?.outcome?.failure?.message ?? undefined;
    }
  }
}

function idOf(id: { toString(): string } | null | undefined): string {
  return id?.toString() ?? '';
}

function summaryOf(event: HistoryEvent): string {
  const summary = decode(event.userMetadata?.summary);
  return typeof summary === 'string' ? summary : '';
}
