import { Worker } from '@temporalio/worker';
import { expect, it } from 'vitest';
import { storedHistories } from './histories.js';
import { bundleWorkflowSources } from './workflow-bundle.js';
import { installQuietRuntime } from '../../rehearsal/quiet-runtime.js';

/** A run lasts for weeks: what an earlier version recorded, today's code must take up where it stands. */
it('replays every stored history on the code of today', async () => {
  installQuietRuntime();
  const histories = await storedHistories();
  expect(histories.length).toBeGreaterThan(0);
  const named = histories.map(({ name, history }) => ({ workflowId: name, history }));
  const failures: string[] = [];
  for await (const result of Worker.runReplayHistories({ workflowBundle: await bundleWorkflowSources() }, named)) {
    if (result.error !== undefined) failures.push(`${result.workflowId}: ${result.error.message}`);
  }
  expect(failures).toEqual([]);
});
