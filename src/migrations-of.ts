import type { Client, WorkflowExecutionInfo } from '@temporalio/client';

/** Type of the workflow that runs a migration. */
export const MIGRATION_TYPE = 'migrateKafkaToOwlmq';

/** Query by which Temporal lists the migrations of a task queue, those that have ended among them. */
export function migrationsOf(taskQueue: string): string {
  return `WorkflowType = '${MIGRATION_TYPE}' AND TaskQueue = '${taskQueue.replaceAll(/[\\']/g, '\\$&')}'`;
}

const LISTED_WITHIN_MS = 10_000;

/** Those of them that run. */
export async function runningMigrations(client: Client, taskQueue: string): Promise<WorkflowExecutionInfo[]> {
  const query = `${migrationsOf(taskQueue)} AND ExecutionStatus = 'Running'`;
  return await client.withDeadline(Date.now() + LISTED_WITHIN_MS, async () => {
    const found: WorkflowExecutionInfo[] = [];
    for await (const run of client.workflow.list({ query })) found.push(run);
    return found;
  });
}
