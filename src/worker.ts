// The process that runs the workflow and its steps. Its settings are environment variables, see worker-config.ts.
import { runWorker } from './run-worker.js';

await runWorker();
