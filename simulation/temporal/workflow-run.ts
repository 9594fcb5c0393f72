import type { ActivityFailure } from '@temporalio/common';
import { type PayloadConverter } from '@temporalio/common';
import { setActivator } from '@temporalio/workflow/lib/global-attributes.js';
import { Activator } from '@temporalio/workflow/lib/internals.js';
import { activate, concludeActivation, tryUnblockConditions } from '@temporalio/workflow/lib/worker-interface.js';
import { followNoPromises, followPromises } from '../clock/globals.js';
import { settled } from '../clock/world.js';

type WorkflowInput = ConstructorParameters<typeof Activator>[0];
type Command = NonNullable<NonNullable<ReturnType<typeof concludeActivation>['successful']>['commands']>[number];

export type { Command };

/** What has happened that the workflow is told of. */
export type Job =
  | { kind: 'start' }
  | { kind: 'timer'; seq: number }
  | { kind: 'activity'; seq: number; outcome: { result: string | undefined } | { error: ActivityFailure } }
  | { kind: 'signal'; name: string; input: string }
  | { kind: 'cancel' };

/** What one workflow task was: enough to repeat it. */
export interface Task {
  at: number;
  jobs: readonly Job[];
  continueAsNew: boolean;
}

/** As text, so that no two sides share an object. */
const payloads = {
  toPayload: (value: unknown) => ({ text: JSON.stringify(value) }),
  fromPayload: textOf,
} as unknown as PayloadConverter;

function textOf(payload: object): unknown {
  const { text } = payload as { text?: string };
  return text === undefined ? undefined : JSON.parse(text);
}

/** The arguments of a command, as values of their own. */
export function valuesOf(given: readonly object[] | null | undefined): unknown[] {
  return (given ?? []).map(textOf);
}

/**
 * One run of a workflow function in this process, on Temporal's own workflow library: its scopes, conditions, timers and
 * activity proxies are the real ones. In place of the sandbox there is the simulation, which is as deterministic.
 */
export class WorkflowRun {
  readonly #activator: Activator;
  readonly #args: readonly unknown[];
  readonly history: Task[] = [];

  constructor(
    readonly name: string,
    workflow: (...args: never[]) => Promise<unknown>,
    args: readonly unknown[],
    now: number,
    /** Told what the workflow logs. */
    private readonly onLog: (text: string) => void = () => undefined,
  ) {
    this.#args = args;
    const info = {
      workflowId: name,
      runId: name,
      workflowType: 'simulated',
      namespace: 'simulation',
      taskQueue: 'simulation',
      continueAsNewSuggested: false,
      historyLength: 0,
      historySize: 0,
      attempt: 1,
      startTime: new Date(now),
      runStartTime: new Date(now),
      searchAttributes: {},
      unsafe: { isReplaying: false, isReplayingHistoryEvents: false, now: () => now },
    };
    this.#activator = new Activator({
      info,
      now,
      showStackTraceSources: false,
      getTimeOfDay: () => 0n,
      randomnessSeed: [1, 2, 3, 4],
      registeredActivityNames: new Set(),
      stackTracesEnabled: false,
    } as unknown as WorkflowInput);
    this.#activator.workflow = workflow as NonNullable<Activator['workflow']>;
    this.#activator.payloadConverter = payloads;
    this.#activator.failureConverter = {
      failureToError: (failure) => failure as unknown as Error,
      errorToFailure: (error) => ({ message: error instanceof Error ? error.message : String(error) }),
    };
  }

  /** What it shows of itself, in markdown. */
  get details(): string {
    return this.#activator.currentDetails;
  }

  /** Runs a workflow task to its end. @returns the commands that it ends with. */
  async activate(task: Task): Promise<readonly Command[]> {
    this.history.push(task);
    this.#activator.now = task.at;
    this.#activator.mutateWorkflowInfo((info) => ({ ...info, continueAsNewSuggested: task.continueAsNew }));
    setActivator(this.#activator);
    followPromises();
    try {
      activate({ jobs: task.jobs.map((job) => this.#jobOf(job)) });
      do await settled();
      while (tryUnblockConditions() > 0);
      this.#activator.maybeRethrowWorkflowTaskError();
      const { successful } = concludeActivation();
      for (const { fnName, args } of this.#activator.getAndResetSinkCalls()) {
        if (fnName === 'info') this.onLog(String(args[0]));
      }
      return successful?.commands ?? [];
    } finally {
      followNoPromises();
      setActivator(undefined);
    }
  }

  #jobOf(job: Job): object {
    switch (job.kind) {
      case 'start':
        return {
          variant: 'initializeWorkflow',
          initializeWorkflow: { arguments: this.#args.map((value) => payloads.toPayload(value)) },
        };
      case 'timer':
        return { variant: 'fireTimer', fireTimer: { seq: job.seq } };
      case 'activity': {
        const result =
          'error' in job.outcome
            ? { failed: { failure: job.outcome.error } }
            : { completed: { result: job.outcome.result === undefined ? undefined : { text: job.outcome.result } } };
        return { variant: 'resolveActivity', resolveActivity: { seq: job.seq, result } };
      }
      case 'signal':
        return {
          variant: 'signalWorkflow',
          signalWorkflow: {
            signalName: job.name,
            input: [{ text: job.input }],
            originatingEventId: { toNumber: () => 1 },
          },
        };
      case 'cancel':
        return { variant: 'cancelWorkflow', cancelWorkflow: {} };
    }
  }
}
