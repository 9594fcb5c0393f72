import { CancellationScope } from '@temporalio/workflow';
import { words } from '@owlmq/kafka-bridge/playbook';
import { AUDIT_TODO, proveMirror } from '../audit-steps.js';
import { publishersToFollow } from '../fleet-steps.js';
import { quietMs, recentForeign } from '../foreign-producers.js';
import { leftoversOf } from '../leftovers.js';
import { hookStep } from '../hooks.js';
import type { Migration } from '../migration.js';
import { keepWarm, warmSlice } from './keep-warm.js';

/** The end: publishers stop writing to Kafka. No topic and no group is ever deleted. */
export async function decommission(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  migration.enter('decommission');
  const approved = () => plan.decommission === 'automatic' || state.approved.decommission;
  for (;;) {
    if (isExtended(migration)) {
      migration.enter('warm');
      await keepWarm(migration);
      migration.enter('decommission');
    }
    const { paused } = state;
    const waitsForApproval = !approved();
    const obstacle =
      paused !== undefined
        ? 'the resume signal'
        : waitsForApproval
          ? 'the approve signal'
          : await whoStillWritesToKafka(migration);
    if (obstacle === undefined) break;
    const changed = () => state.paused !== paused || (waitsForApproval && approved()) || isExtended(migration);
    await migration.waitingFor(obstacle, () => warmSlice(migration, 'decommission: Kafka is kept warm', changed));
    await migration.continueAsNewWhenLong();
  }

  state.decommissioned = true;
  // From here on a cancel of the workflow must not turn back half way.
  await CancellationScope.nonCancellable(async () => {
    await migration.route({ mirror: false, ratio: 1 }, 'decommission: publishers stop writing to Kafka');
    await publishersToFollow(migration, 'publishers to stop writing to Kafka');
    state.leftovers = leftoversOf(plan);
    const list = state.leftovers.map(({ what, command }) => `${what}: ${command}`).join('; ');
    migration.note(`nothing is deleted; once nobody needs it, this may be: ${list}`);
    migration.enter('completed');
  });
}

/** Somebody wants Kafka kept warm for longer after all. */
function isExtended({ state }: Migration): boolean {
  return (state.warm?.remainingMs ?? 0) > 0;
}

/**
 * The last proof of parity, and a look at producers without the library: nobody forwards what they write to Kafka once
 * the audit has ended, so it would be lost. Those of `forward` topics have to be gone too.
 *
 * @returns which topics they still write to; undefined when Kafka has been quiet.
 */
async function whoStillWritesToKafka(migration: Migration): Promise<string | undefined> {
  const { plan, state } = migration;
  const { fences } = state.cutover;
  if (fences === undefined) throw new TypeError('a decommission needs a cutover before it');
  if (state.kafkaWritesStopped !== true) {
    // Kafka stays a mirror meanwhile, whatever they stop.
    const call = { event: 'stop-kafka-writes', reason: 'decommission' } as const;
    await hookStep(migration, call, (until) => warmSlice(migration, 'decommission: hooks are called', until));
    state.kafkaWritesStopped = true;
  }
  await migration.step('last parity proof', AUDIT_TODO, () =>
    proveMirror(migration, 'prove parity of both legs a last time', fences, false),
  );
  const quiet = Math.min(quietMs(plan), plan.warm.duration);
  const topics = recentForeign(state.foreign, quiet, Date.now());
  if (topics.length === 0) return undefined;
  const list = topics
    .map(({ topic, records, lastAt }) => `${topic} (${records} records since the start, the last at ${lastAt})`)
    .join(', ');
  const obstacle =
    `producers without the library to stop: they wrote to Kafka within the last ${words(quiet)}, in ${list}; ` +
    'what they write after the decommission would be lost';
  migration.note(`decommission refused: ${obstacle}`);
  return obstacle;
}
