import { parseMigrationInput, type MigrationInput } from '@owlmq/kafka-bridge/playbook';
import { newMigrationState, type CarriedOver } from '../../src/workflows/migration-state.js';

/**
 * As a run leaves it that continued as new after a clean soak, with windows and times so short that it is done in seconds
 * of real time.
 */
export function readyToCutOver(change: Partial<MigrationInput> = {}): CarriedOver {
  const plan = parseMigrationInput({
    ...{ topics: ['orders'], groups: ['payments', 'mails'], decommission: 'automatic', lease: '1 second' },
    cutover: { window: '8 seconds', backOff: '200 milliseconds' },
    ...{ soak: { duration: '1 second' }, warm: { duration: '1 second' } },
    ...change,
  });
  return {
    plan,
    state: {
      ...newMigrationState(new Date().toISOString()),
      ...{ phase: 'ready', epoch: 14, partitions: { orders: 2 } },
      ...{ coverage: { orders: [0, 0] }, auditFrom: { orders: [0, 0] } },
      routing: { ratio: 1, primary: 'kafka', mirror: true, live: 'kafka', shadow: 'compare', shadowFrom: {} },
      ratio: { wanted: 1, acknowledged: 1, settled: true },
      soak: {
        ...{ cleanMs: 60_000, restarts: 0, missing: [] },
        groups: { payments: { comparedUpTo: Date.now(), matched: 2_000, discrepancies: 0, comparisons: 2_000 } },
      },
    },
  };
}
