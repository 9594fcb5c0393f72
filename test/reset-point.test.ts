import { expect, it } from 'vitest';
import { findMismatch } from '../rehearsal/reset-point.js';
import { installQuietRuntime } from '../rehearsal/quiet-runtime.js';
import { storedHistories } from './workflow/histories.js';
import { bundleWorkflowSources } from './workflow/workflow-bundle.js';

it('finds where a history tells otherwise than the code decides, and what to reset the run to', async () => {
  installQuietRuntime();
  const workflowBundle = await bundleWorkflowSources();
  const history = (await storedHistories()).find(({ name }) => name === 'cutover-cancelled-once')?.history;
  const events = history?.events ?? [];
  expect(await findMismatch({ workflowBundle }, { events }, 'as-it-was')).toBeUndefined();

  // Two steps of one task, in the other order.
  const index = events.findIndex(({ activityTaskScheduledEventAttributes: step }, at) => {
    const next = events[at + 1]?.activityTaskScheduledEventAttributes;
    return at > events.length / 4 && step && next && step.activityType?.name !== next.activityType?.name;
  });
  const [one, other] = [events[index], events[index + 1]];
  if (one === undefined || other === undefined) throw new Error('the history has no two steps of one task');
  const swapped = [...events];
  const attributes = (of: typeof one) => of.activityTaskScheduledEventAttributes ?? null;
  swapped[index] = { ...one, activityTaskScheduledEventAttributes: attributes(other) };
  swapped[index + 1] = { ...other, activityTaskScheduledEventAttributes: attributes(one) };
  const completed = events.slice(0, index).flatMap(({ workflowTaskCompletedEventAttributes: task, eventId }) => {
    return task ? [Number(eventId)] : [];
  });
  expect(await findMismatch({ workflowBundle }, { events: swapped }, 'swapped')).toMatchObject({
    at: completed.at(-1),
    message: expect.stringContaining('Nondeterminism error') as string,
  });
});
