import { Context } from '@temporalio/activity';
import { setTimeout as sleep } from 'node:timers/promises';
import { pause } from '@owlmq/kafka-bridge/operations';
import type { MigrationInput } from '@owlmq/kafka-bridge/playbook';
import { FleetModel, type ModelClock } from '../../rehearsal/fleet-model.js';

/** For runs on a dev server, which has what the time-skipping one lacks: the wall's clock, and short durations. */
const clock: ModelClock = { now: () => Promise.resolve(Date.now()), sleep: pause };

/**
 * The steps of migrations, each run on a model of its own, whichever worker runs them.
 *
 * @param findings what preflight finds, by the migration's id.
 */
export function modelledActivities(
  findings: ReadonlyMap<string, FleetModel['findings']> = new Map(),
): Record<string, (argument: never) => Promise<unknown>> {
  const models = new Map<string, FleetModel>();
  const calls = FleetModel.activityNames.map((name) => [
    name,
    async (argument: never) => {
      const { runId = '', workflowId = '' } = Context.current().info.workflowExecution ?? {};
      const model = models.get(runId) ?? new FleetModel(clock);
      model.findings = findings.get(workflowId) ?? [];
      models.set(runId, model);
      return await (model.activities[name] as (of: never) => Promise<unknown>)(argument);
    },
  ]);
  return Object.fromEntries(calls) as Record<string, (argument: never) => Promise<unknown>>;
}

/** As short as a migration can be. */
export function shortInput(name: string, change: Partial<MigrationInput> = {}): MigrationInput {
  return {
    ...{ topics: [`topic-${name}`], groups: [`group-${name}`], lease: 1_000, decommission: 'automatic' },
    ramp: { step: 1, interval: 200, gates: { sustained: 0 }, onFailure: { settle: 0 } },
    soak: { duration: 1_000, minComparisons: 1, lateness: 100 },
    ...{ audit: { grace: 100 }, warm: { duration: 1_000 } },
    ...change,
  };
}

/** Polls in real time until what it reads is wanted. @throws with what was read last. */
export async function untilRead<T>(read: () => Promise<T>, wanted: (value: T) => boolean): Promise<T> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const value = await read();
    if (wanted(value)) return value;
    if (performance.now() > deadline) throw new Error(`not reached: ${JSON.stringify(value, undefined, 2)}`);
    await sleep(50);
  }
}
