// Runs in the workflow's sandbox: tells the worker what each workflow task decides, and each activity why it is called.
import { defaultPayloadConverter } from '@temporalio/common';
import { proxySinks, type ActivityOptions, type Sinks, type WorkflowInterceptorsFactory } from '@temporalio/workflow';
import { SUMMARY_HEADER } from './summary-header.js';

/** What the worker is told of workflow tasks. */
export interface TaskSinks extends Sinks {
  boundaries: { decided: (decisions: string[], at: number) => void };
}

/**
 * A call whose worker died is tried again when its time is over. On the compressed clock of the harness that takes
 * seconds; what happens then is the same.
 */
const HEARTBEAT = '3 seconds';
const WITHOUT_HEARTBEAT = '6 seconds';

const { boundaries } = proxySinks<TaskSinks>();

/** A command as the SDK gives it: an object with one of its fields set, which says its kind. */
type Command = Readonly<Record<string, unknown>>;

function compressed(options: ActivityOptions): ActivityOptions {
  if (options.heartbeatTimeout !== undefined) return { ...options, heartbeatTimeout: HEARTBEAT };
  if (options.scheduleToCloseTimeout !== undefined) return options;
  return { ...options, startToCloseTimeout: WITHOUT_HEARTBEAT };
}

/** Decisions that nobody would see undone by a kill: they go with the others of their task. */
const besides = new Set(['upsertWorkflowSearchAttributes', 'modifyWorkflowProperties', 'userMetadata']);

function decisions(commands: readonly Command[], called: ReadonlyMap<unknown, string>): string[] {
  const names = commands.flatMap((command) => {
    const [kind] = Object.keys(command).filter((name) => !besides.has(name) && command[name] != null);
    if (kind === undefined) return [];
    const { seq } = command[kind] as { seq?: unknown };
    if (kind === 'scheduleActivity') return [called.get(seq) ?? kind];
    return [kind.replaceAll(/([A-Z])/g, ' $1').toLowerCase()];
  });
  return [...new Set(names)].sort();
}

export const interceptors: WorkflowInterceptorsFactory = () => {
  const called = new Map<unknown, string>();
  return {
    outbound: [
      {
        scheduleActivity: async (input, next) => {
          const { options, activityType, headers } = input;
          called.set(input.seq, JSON.stringify([activityType, options.summary ?? '']));
          return await next({
            ...input,
            options: compressed(options),
            headers: { ...headers, [SUMMARY_HEADER]: defaultPayloadConverter.toPayload(options.summary ?? '') },
          });
        },
      },
    ],
    internals: [
      {
        concludeActivation: (input, next) => {
          const output = next(input);
          const decided = decisions(output.commands as unknown as readonly Command[], called);
          // Answers to queries are no workflow tasks.
          if (decided.length > 0 && !decided.includes('respond to query')) boundaries.decided(decided, Date.now());
          return output;
        },
      },
    ],
  };
};
