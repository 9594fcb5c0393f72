import { setTimeout as realTime } from 'node:timers/promises';
import { Worker, type WorkflowBundleOption } from '@temporalio/worker';
import { type MigrationInput, type MigrationPlan, parseMigrationInput } from '@owlmq/kafka-bridge/playbook';
import type { migrateKafkaToOwlmq } from '../src/workflows/playbook.js';
import { rehearsalQueue } from '../src/workflows/rehearsal-queue.js';
import type { MigrationStatus } from '../src/workflows/status.js';
import { readMigration, type RecordedMigration } from './evidence/recorded-migration.js';
import { judge, type Verdict } from './invariants.js';
import { answer, readStatus, SCENARIOS, type Handle, type Moment, type Scenario } from './scenarios.js';
import { SkippedClock } from './skipped-clock.js';
import { ModelSystems } from './state/systems.js';
import { StateModel } from './state-model.js';
import { startTestServer } from './test-server.js';
import { trafficFor } from './traffic.js';

/** Search attributes of the workflow, with Temporal's numbers of their types: they say in a history when a phase began. */
const ATTRIBUTES = { MigrationPhase: 2, MigrationRatio: 4, MigrationBlocked: 5, MigrationAttention: 2 };
/** Without a call of an activity for so long a run gets no further. */
const STALLED_AFTER_MS = 15_000;
const ANSWERS_WITHIN_MS = 5_000;
const LOOK_EVERY_MS = 500;
/** The time-skipping server at times skips no more after an activity was cancelled. */
const ATTEMPTS = 3;

/** A run of the rehearsal waits for a person, for something that a rehearsal cannot mend. */
export class RehearsalStuckError extends Error {
  override readonly name = 'RehearsalStuckError';
}

/** The server skips no further, of no fault of the run. */
class ServerStalledError extends Error {
  override readonly name = 'ServerStalledError';
}

export interface RehearsalOptions {
  input: MigrationInput;
  seed: number;
  /** Path of the time-skipping server. */
  testServer: string;
  /** Of the workflows, with heartbeat timeouts taken off: `without-heartbeat-timeouts.ts`. */
  workflowBundle: WorkflowBundleOption;
  scenarios?: readonly Scenario[];
  signal?: AbortSignal;
  log?: (line: string) => void;
}

/** What one scenario came to. */
export interface RehearsedScenario {
  scenario: Pick<Scenario, 'name' | 'what' | 'ends'>;
  /** As it is in its history and its status. */
  migration: RecordedMigration;
  /** What the rehearsal did in place of a person, and when. */
  given: { at: string; what: string }[];
  invariants: Verdict[];
}

/**
 * Runs the playbook with this input on a skipped clock, once for each scenario, against systems that are a state in
 * memory.
 *
 * @throws {InvalidInputError} {@link RehearsalStuckError} {@link TooMuchTrafficError}
 */
export async function rehearse(options: RehearsalOptions): Promise<RehearsedScenario[]> {
  const { scenarios = SCENARIOS, log = () => undefined, signal } = options;
  const input = { ...options.input, rehearsal: true };
  const plan = parseMigrationInput(input);
  trafficFor(plan, options.seed);
  const rehearsed: RehearsedScenario[] = [];
  for (const scenario of scenarios) {
    const started = performance.now();
    for (let attempt = 1; ; attempt += 1) {
      signal?.throwIfAborted();
      try {
        rehearsed.push(await run(scenario, input, plan, options));
        break;
      } catch (error) {
        if (!(error instanceof ServerStalledError) || attempt === ATTEMPTS) throw error;
        log(`${scenario.name}: the time-skipping server skips no more; once again on another`);
      }
    }
    const bad = rehearsed.at(-1)?.invariants.filter(({ ok }) => !ok) ?? [];
    const verdict = bad.length === 0 ? 'ok' : `NOT OK: ${bad.map(({ name }) => name).join('; ')}`;
    log(`${scenario.name}: ${verdict} (${((performance.now() - started) / 1_000).toFixed(1)} s)`);
  }
  return rehearsed;
}

async function run(
  scenario: Scenario,
  input: MigrationInput,
  plan: MigrationPlan,
  { seed, testServer, workflowBundle, signal }: RehearsalOptions,
): Promise<RehearsedScenario> {
  const env = await startTestServer(testServer);
  const clock = new SkippedClock(env);
  // Calls that are tried again on a connection that is closed would end the process.
  const calls = new AbortController();
  const within = <T>(call: () => Promise<T>): Promise<T> => env.client.withAbortSignal(calls.signal, call);
  try {
    await env.connection.operatorService.addSearchAttributes({
      namespace: env.client.options.namespace,
      searchAttributes: ATTRIBUTES,
    });
    const model = new StateModel(clock, new ModelSystems(trafficFor(plan, seed)), Object.keys(ATTRIBUTES));
    const taskQueue = rehearsalQueue('kafka-to-owlmq');
    const worker = await Worker.create({
      connection: env.nativeConnection,
      taskQueue,
      workflowBundle,
      activities: { ...model.activities },
      maxHeartbeatThrottleInterval: '20 milliseconds',
      defaultHeartbeatThrottleInterval: '20 milliseconds',
    });
    return await worker.runUntil(async () => {
      const workflowId = `rehearsal-${scenario.name}`;
      const handle = env.client.workflow.getHandle<typeof migrateKafkaToOwlmq>(workflowId);
      const given: RehearsedScenario['given'] = [];
      let failure: unknown;
      model.before = async (call, nth) => {
        const moment: Moment = { call, nth, handle, model, plan };
        try {
          const what = await within(async () => {
            await scenario.before(moment);
            return await answer(moment);
          });
          if (what !== undefined) given.push({ at: new Date(call.at).toISOString(), what });
        } catch (error) {
          failure ??= error;
        }
      };
      await env.client.workflow.start<typeof migrateKafkaToOwlmq>('migrateKafkaToOwlmq', {
        taskQueue,
        workflowId,
        args: [input],
      });
      const status = await within(() => untilEnd(handle, model, signal, () => failure));
      return {
        scenario: { name: scenario.name, what: scenario.what, ends: scenario.ends },
        migration: await readMigration(env.client, workflowId),
        given,
        invariants: judge(model, status, scenario.ends),
      };
    });
  } finally {
    calls.abort();
    await clock.drain();
    await env.teardown();
  }
}

/** Its status at the end; or why it gets no further. */
async function untilEnd(
  handle: Handle,
  model: StateModel,
  signal: AbortSignal | undefined,
  failure: () => unknown,
): Promise<MigrationStatus> {
  let ended = false;
  const result = handle.result().finally(() => {
    ended = true;
  });
  const watch = async (): Promise<never> => {
    let [calls, since] = [0, performance.now()];
    for (;;) {
      await realTime(LOOK_EVERY_MS, undefined, { signal });
      if (failure() !== undefined) throw failure();
      if (model.calls.length > calls) [calls, since] = [model.calls.length, performance.now()];
      if (ended) return await new Promise<never>(() => undefined);
      if (performance.now() - since < STALLED_AFTER_MS) continue;
      // A server that has lost count does not let a workflow answer either.
      const status = await Promise.race([readStatus(handle), realTime(ANSWERS_WITHIN_MS, undefined)]);
      if (status?.blocked) {
        const { step, cause, todo } = status.blocked;
        throw new RehearsalStuckError(`The run is blocked in "${step}": ${cause}. ${todo}`);
      }
      const where =
        status === undefined ? '' : ` in phase ${status.phase}, waiting for ${status.waiting?.for ?? 'nothing'}`;
      throw new ServerStalledError(`The time-skipping server skips no more${where}.`);
    }
  };
  const watching = watch();
  // Whichever comes second is of no interest.
  result.catch(() => undefined);
  watching.catch(() => undefined);
  return await Promise.race([result, watching]);
}
