import type { AuditFigures } from '../../activities/migration-activities.js';
import { auditToOwlmq, awaitPublishers, legEnds } from '../activity-proxies.js';
import type { Migration } from '../migration.js';
import { judgeRampStep, rampRatios } from '../ramp.js';
import { percent } from '../status.js';

/** Phase 1: publishers copy a growing share to OwlMQ, each step judged before the next. */
export async function dualWrite(migration: Migration): Promise<void> {
  if (migration.isPast('dual-write')) return;
  const { plan, state } = migration;
  migration.enter('dual-write');
  if (state.coverage === undefined && state.ratio.acknowledged === 0) {
    await applyRatio(migration, 0);
    await beginAudit(migration);
  }
  while (state.ratio.acknowledged < 1) {
    await migration.whilePaused();
    const asked = takeRequestedRatio(migration);
    await applyRatio(migration, asked ?? rampRatios(plan.ramp.step, state.ratio.acknowledged)[0] ?? 1);
    await settleStep(migration);
    await migration.continueAsNewWhenLong();
  }
  if (state.coverage === undefined) await beginCoverage(migration);
}

function takeRequestedRatio(migration: Migration): number | undefined {
  const ratio = migration.requestedRatio;
  migration.requestedRatio = undefined;
  return ratio;
}

async function applyRatio(migration: Migration, ratio: number): Promise<void> {
  const { state } = migration;
  state.ratio.wanted = ratio;
  await migration.route({ ratio }, `ratio ${percent(ratio)}`);
  state.publishers = await migration.step(
    `publishers to apply ${percent(ratio)}`,
    'See in the worker log which publisher does not follow, and restart it.',
    () =>
      awaitPublishers.executeWithOptions({ summary: `ratio ${percent(ratio)}: wait for all publishers` }, [
        { migration: migration.name, epoch: state.epoch, fenced: false },
      ]),
  );
  migration.acknowledgeRatio(ratio);
}

/** Holds a ratio for its interval, and longer until its judgement is not inconclusive. */
async function settleStep(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  for (;;) {
    const label = `ratio ${percent(state.ratio.acknowledged)}`;
    const cutShort = () => migration.requestedRatio !== undefined;
    await migration.hold(plan.ramp.interval, `${label}: hold for the interval`, cutShort);
    if (cutShort()) return;
    const verdict = await judgeStep(migration, label);
    migration.note(`${label}: ${verdict.verdict}, ${verdict.reason}`);
    if (verdict.verdict === 'success') return;
    if (verdict.verdict === 'failure') {
      const todo = 'Mend the cause, or lower the ratio with the setRatio update.';
      await migration.block(`${label} judged`, verdict.reason, todo);
    }
  }
}

async function judgeStep(migration: Migration, label: string) {
  const { plan, state } = migration;
  const before = state.parity;
  const audit = await migration.step(`${label}: audit`, 'Check that the worker reaches Kafka and OwlMQ.', () =>
    auditToOwlmq.executeWithOptions({ summary: `${label}: prove the copies` }, [
      {
        migration: migration.name,
        topics: plan.topics,
        checkpoint: state.audit,
        graceMs: plan.audit.grace,
      },
    ]),
  );
  state.audit = audit.checkpoint;
  state.parity = audit.figures;
  const fleet = await migration.step(`${label}: publishers`, 'See in the worker log which publisher is silent.', () =>
    awaitPublishers.executeWithOptions({ summary: `${label}: ask the publishers` }, [
      { migration: migration.name, epoch: state.epoch, fenced: false },
    ]),
  );
  state.publishers = fleet;
  return judgeRampStep(audit.checked, difference(audit.figures, before), fleet);
}

function difference(now: AuditFigures, before: AuditFigures | undefined): AuditFigures {
  if (before === undefined) return now;
  return { ...now, missing: now.missing - before.missing, repaired: now.repaired - before.repaired };
}

/** The audit begins where Kafka stood when the first publisher could have been told to copy. */
async function beginAudit(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  const from = await migration.step('Kafka end offsets', 'Check that the worker reaches Kafka.', () =>
    legEnds.executeWithOptions({ summary: 'where the audit begins' }, [{ leg: 'kafka', topics: plan.topics }]),
  );
  const first = await migration.step('first audit', 'Check that the worker reaches Kafka and OwlMQ.', () =>
    auditToOwlmq.executeWithOptions({ summary: 'begin the audit' }, [
      { migration: migration.name, topics: plan.topics, from, until: from, graceMs: plan.audit.grace },
    ]),
  );
  state.audit = first.checkpoint;
  state.parity = first.figures;
}

/** Every publisher copies everything now, so every record from here on has its copy. */
async function beginCoverage(migration: Migration): Promise<void> {
  migration.state.coverage = await migration.step('coverage start', 'Check that the worker reaches Kafka.', () =>
    legEnds.executeWithOptions({ summary: 'coverage start: Kafka end offsets at 100%' }, [
      { leg: 'kafka', topics: migration.plan.topics },
    ]),
  );
  migration.note('coverage is complete from here on');
}
