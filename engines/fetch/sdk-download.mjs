// Makes the Temporal SDK download one of its servers: node sdk-download.mjs local|time-skipping FOLDER VERSION
// The SDK has no call that only downloads, and none that can be aborted: hence a process of its own, which starts the
// server once and ends it.
import { TestWorkflowEnvironment } from '@temporalio/testing';

const [kind, downloadDir, version] = process.argv.slice(2);
const options = { server: { executable: { type: 'cached-download', downloadDir, version } } };
try {
  const environment =
    kind === 'local'
      ? await TestWorkflowEnvironment.createLocal(options)
      : await TestWorkflowEnvironment.createTimeSkipping(options);
  await environment.teardown();
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
