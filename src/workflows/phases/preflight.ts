import { ApplicationFailure } from '@temporalio/workflow';
import { preflightRequest } from '@owlmq/kafka-bridge/playbook';
import { preflight, prepareTopics } from '../activity-proxies.js';
import type { Migration } from '../migration.js';

/**
 * Finds everything that is in the way before anything is touched. What other input cures fails the run, which has
 * changed nothing; what people can mend in the systems blocks it until they have.
 */
export async function preflightChecks(migration: Migration): Promise<void> {
  if (migration.isPast('preflight')) return;
  const { plan, state } = migration;
  const webhooks = plan.hooks.filter(({ kind }) => kind === 'webhook').map(({ name }) => name);
  for (;;) {
    await migration.whilePaused();
    const report = await migration.step(
      'preflight',
      'Check that the worker reaches Kafka and OwlMQ, with the right credentials.',
      () =>
        preflight.executeWithOptions({ summary: 'check both systems, topics and groups' }, [
          { ...preflightRequest(plan, migration.name), ...(webhooks.length === 0 ? {} : { webhooks }) },
        ]),
    );
    state.findings = report.findings;
    state.partitions = report.topics;
    state.searchAttributes = report.searchAttributes;
    state.epoch = Math.max(state.epoch, report.epoch);
    migration.announce();

    const wrongInput = report.findings.filter(({ kind }) => kind === 'input');
    if (wrongInput.length > 0) {
      state.phase = 'failed';
      const list = wrongInput.map(({ what, todo }) => `- ${what} ${todo}`).join('\n');
      throw ApplicationFailure.nonRetryable(`Preflight found what other input cures:\n${list}`, 'PreflightFailed');
    }
    const obstacles = report.findings.filter(({ kind }) => kind === 'state');
    if (obstacles.length === 0) break;
    await migration.block(
      'preflight',
      obstacles.map(({ what }) => what).join(' '),
      obstacles.map(({ todo }) => todo).join(' '),
    );
  }
  await migration.step('create topics', 'Check that the worker may create topics in Kafka and OwlMQ.', () =>
    prepareTopics.executeWithOptions({ summary: 'create the topics in OwlMQ' }, [{ topics: state.partitions }]),
  );
}
