import { ClusterAdmin, LogReader, MemberRoster, RoutingWriter } from '@owlmq/kafka-bridge/operations';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import type { Bench } from '../../packages/kafka-bridge/test/consumer-harness.js';
import { createActivities } from '../../src/activities/index.js';
import type { MigrationActivities } from '../../src/activities/migration-activities.js';

const quiet = new DefaultLogger('ERROR');

/** The steps of a worker of its own on the systems of a bench, without Temporal. */
export interface WorkerSteps {
  steps: MigrationActivities;
  roster: MemberRoster;
  close: () => Promise<void>;
}

export async function openSteps({ connection: kafka, owlmq, suffix }: Bench): Promise<WorkerSteps> {
  const client = { clientId: `worker-${suffix}` };
  const admin = new ClusterAdmin(kafka, client);
  const reader = new LogReader(kafka, client);
  const routing = new RoutingWriter({ connection: kafka, ...client });
  const roster = new MemberRoster({ connection: kafka, ...client });
  await roster.start();
  const temporal = () => Promise.resolve({ namespace: 'default', searchAttributes: [], retentionMs: undefined });
  return {
    steps: createActivities({ kafka, admin, reader, routing, roster, owlmq, temporal }),
    roster,
    close: async () => {
      await Promise.all([admin.close(), reader.close(), routing.close(), roster.stop()]);
    },
  };
}

/** The window of a cutover, which is how long a step may take. */
const WINDOW_MS = 15_000;

/** Runs a step as an activity. */
export async function step<T>(run: () => Promise<T>): Promise<T> {
  const environment = new MockActivityEnvironment({ startToCloseTimeoutMs: WINDOW_MS }, { logger: quiet });
  return await environment.run<[], T, () => Promise<T>>(run);
}
