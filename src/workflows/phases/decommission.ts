import { auditToKafka, awaitPublishers } from '../activity-proxies.js';
import type { Migration } from '../migration.js';
import { warmSlice } from './keep-warm.js';

/** The end: publishers stop writing to Kafka. No topic and no group is ever deleted. */
export async function decommission(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  migration.enter('decommission');
  const approved = () => plan.decommission === 'automatic' || state.approved.decommission;
  while (!approved()) {
    await migration.whilePaused();
    await warmSlice(migration, 'decommission: wait for the approve signal, Kafka kept warm', approved);
    await migration.continueAsNewWhenLong();
  }
  await migration.whilePaused();
  await proveParity(migration);

  migration.decommissioned = true;
  await migration.route({ mirror: false, ratio: 1 }, 'decommission: publishers stop writing to Kafka');
  const todo = 'See in the worker log which publisher does not follow, and restart it.';
  state.publishers = await migration.step('publishers to stop writing to Kafka', todo, () =>
    awaitPublishers.executeWithOptions({ summary: 'wait for all publishers' }, [
      { migration: migration.name, epoch: state.epoch, fenced: false },
    ]),
  );
  migration.enter('completed');
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
  state.parity = audit.figures;
}
