import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { checkoutRoot } from '../engines/checkout.js';
import type { Log } from '../engines/fetch/progress.js';
import { startEngines } from '../engines/start-engines.js';
import { connectToTemporal } from '../src/temporal-connection.js';
import { runBoundary, type RunResult, type RunSpec } from './boundary-run.js';
import { startHookReceiver } from './hook-receiver.js';
import { Lane } from './lane.js';

export interface HarnessOptions {
  /** Runs at a time, each on engines of its own. */
  readonly jobs: number;
  readonly seed: number;
  readonly folder: string;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** What many runs share: Temporal, the workflow's code, and lanes of engines that serve one run after the other. */
export class Harness {
  #runs = 0;

  private constructor(
    private readonly options: HarnessOptions,
    private readonly lanes: readonly Lane[],
    private readonly temporal: { address: string; client: Client },
    private readonly workflowBundle: string,
    private readonly workerEnv: Readonly<Record<string, string>>,
    private readonly ends: (() => Promise<void>)[],
  ) {}

  /** @throws EngineUnavailableError, EngineStartError; nothing is left running then. */
  static async start(options: HarnessOptions): Promise<Harness> {
    const { jobs, folder, log, signal } = options;
    const ends: (() => Promise<void>)[] = [];
    try {
      const engines = await startEngines({ want: ['temporal'], log, signal });
      ends.unshift(() => engines.stop());
      const { connection, close } = await connectToTemporal({ address: engines.temporal.address });
      ends.unshift(close);
      const receiver = await startHookReceiver(folder);
      ends.unshift(() => receiver.stop());
      const workflowBundle = join(folder, 'workflow-bundle.js');
      await writeFile(workflowBundle, await bundle());
      const lanes: Lane[] = [];
      for (let lane = 1; lane <= jobs; lane++) {
        const started = await Lane.start(join(folder, `lane-${lane}`), log, signal);
        ends.unshift(() => started.stop());
        lanes.push(started);
      }
      const temporal = { address: engines.temporal.address, client: new Client({ connection }) };
      return new Harness(options, lanes, temporal, workflowBundle, receiver.env, ends);
    } catch (error) {
      for (const end of ends) await end();
      throw error;
    }
  }

  /** Runs all, as many at a time as there are lanes; `onResult` is told of each when it is done. */
  async runAll<S extends RunSpec>(
    specs: readonly S[],
    onResult: (spec: S, result: RunResult) => Promise<void> | void,
  ): Promise<void> {
    const { folder, log, signal, seed } = this.options;
    const { address: temporalAddress, client } = this.temporal;
    const queue = specs.values();
    const work = async (lane: Lane): Promise<void> => {
      for (const spec of queue) {
        signal.throwIfAborted();
        const number = ++this.#runs;
        const name = `boundary-${seed}-${number}`;
        const result = await runBoundary(spec, {
          ...{ lane, client, temporalAddress, folder: join(folder, name) },
          ...{ workflowBundle: this.workflowBundle, workerEnv: this.workerEnv },
          ...{ name, seed: seed + number, log, signal },
        });
        await onResult(spec, result);
      }
    };
    // Each lane clears up what it has begun before the engines go.
    const lanes = await Promise.allSettled(this.lanes.map(work));
    for (const lane of lanes) if (lane.status === 'rejected') throw lane.reason;
  }

  async stop(): Promise<void> {
    for (const end of this.ends) await end();
  }
}

/** The workflow as it is, watched by interceptors. */
async function bundle(): Promise<string> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(checkoutRoot, 'dist', 'src', 'workflows', 'index.js'),
    workflowInterceptorModules: [join(checkoutRoot, 'dist', 'boundaries', 'workflow-interceptors.js')],
    logger: new DefaultLogger('ERROR'),
  });
  return code;
}
