import { DeterminismViolationError } from '@temporalio/workflow';
import { Worker, type ReplayWorkerOptions } from '@temporalio/worker';
import type { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';

type History = ReturnType<typeof historyFromJSON>;

/** Where a history tells otherwise than workflow code decides. */
export interface Mismatch {
  /** Number of the completed workflow task whose decisions the code does not come to: a reset to it decides it anew. */
  at: number;
  /** What Temporal says of it. */
  message: string;
}

/**
 * Replays a run on workflow code.
 *
 * @returns undefined where the code decides all that the history tells.
 * @throws what a replay fails with that is no mismatch.
 */
export async function findMismatch(
  options: ReplayWorkerOptions,
  history: History,
  workflowId: string,
): Promise<Mismatch | undefined> {
  const events = history.events ?? [];
  const replays = async (count: number): Promise<string | undefined> => {
    try {
      await Worker.runReplayHistory(options, { ...history, events: events.slice(0, count) }, workflowId);
      return undefined;
    } catch (error) {
      // It quotes the core's own failure, of which this is the sentence for people.
      if (error instanceof DeterminismViolationError)
        return /message: "(.*?)", source/.exec(error.message)?.[1] ?? error.message;
      throw error;
    }
  };
  let message = await replays(events.length);
  if (message === undefined) return undefined;
  const completed = events.flatMap(({ workflowTaskCompletedEventAttributes: task }, index) => (task ? [index] : []));
  // What a task decided is looked at with what follows it, up to the end of the next task.
  const upTo = (nth: number): number => (completed[nth + 1] ?? events.length - 1) + 1;
  let [first, last] = [0, completed.length - 1];
  while (first < last) {
    const middle = Math.floor((first + last) / 2);
    const found = await replays(upTo(middle));
    if (found === undefined) first = middle + 1;
    else [last, message] = [middle, found];
  }
  const numberOf = (nth: number): number => Number(events[completed[nth] ?? 0]?.eventId ?? 1);
  return { at: numberOf(first), message };
}
