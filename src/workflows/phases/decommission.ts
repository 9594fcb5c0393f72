import { CancellationScope } from '@temporalio/workflow';
import { auditToKafka } from '../activity-proxies.js';
import { publishersToFollow } from '../fleet-steps.js';
import type { Migration } from '../migration.js';
import { warmSlice } from './keep-warm.js';

/** The end: publishers stop writing to Kafka. No topic and no group is ever deleted. */
export async function decommission(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  migration.enter('decommission');
  const approved = () => plan.decommission === 'automatic' || state.approved.decommission;
  for (;;) {
    const { paused } = state;
    const waitsForApproval = !approved();
    if (paused === undefined && !waitsForApproval && (await nothingBypasses(migration))) break;
    const reason = paused === undefined ? 'bypassing producers to end' : 'the resume signal';
    const changed = () => state.paused !== paused || (waitsForApproval && approved());
    await migration.waitingFor(waitsForApproval ? 'the approve signal' : reason, () =>
      warmSlice(migration, 'decommission: Kafka is kept warm', changed),
    );
    await migration.continueAsNewWhenLong();
  }

  state.decommissioned = true;
  // From here on a cancel of the workflow must not turn back half way.
  await CancellationScope.nonCancellable(async () => {
    await migration.route({ mirror: false, ratio: 1 }, 'decommission: publishers stop writing to Kafka');
    await publishersToFollow(migration, 'publishers to stop writing to Kafka');
    migration.enter('completed');
  });
}

/** The last proof of parity. Nobody forwards what producers without the library write to Kafka once the audit has ended. */
async function nothingBypasses(migration: Migration): Promise<boolean> {
  const before = foreignRecords(migration);
  await proveParity(migration);
  const since = foreignRecords(migration) - before;
  if (since === 0) return true;
  migration.note(`not decommissioned: ${since} records reached Kafka past the library since the last look`);
  return false;
}

function foreignRecords({ state }: Migration): number {
  return Object.values(state.parity?.foreign ?? {}).reduce((sum, count) => sum + count, 0);
}

async function proveParity(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  const { fences } = state.cutover;
  if (fences === undefined) throw new TypeError('a decommission needs a cutover before it');
  const audit = await migration.step('last parity proof', 'Check that the worker reaches Kafka and OwlMQ.', () =>
    auditToKafka.executeWithOptions({ summary: 'prove parity of both legs a last time' }, [
      {
        migration: migration.name,
        topics: plan.topics,
        checkpoint: state.warm?.audit,
        from: fences,
        graceMs: plan.audit.grace,
        toEnd: false,
      },
    ]),
  );
  if (state.warm !== undefined) state.warm.audit = audit.checkpoint;
  state.parity = audit.figures;
}
