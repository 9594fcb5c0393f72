/** Type of the workflow that runs a migration. */
export const MIGRATION_TYPE = 'migrateKafkaToOwlmq';

/** Query by which Temporal lists the migrations of a task queue, those that have ended among them. */
export function migrationsOf(taskQueue: string): string {
  return `WorkflowType = '${MIGRATION_TYPE}' AND TaskQueue = '${taskQueue.replaceAll(/[\\']/g, '\\$&')}'`;
}
