import type { AuditFigures } from '../../activities/migration-activities.js';
import { auditToOwlmq, legEnds } from '../activity-proxies.js';
import { publishersToFollow } from '../fleet-steps.js';
import type { Migration } from '../migration.js';
import { judgeRampStep, rampRatios } from '../ramp.js';
import { percent } from '../status.js';

/** Phase 1: publishers copy a growing share to OwlMQ, each step judged before the next. */
export async function dualWrite(migration: Migration): Promise<void> {
  if (migration.isPast('dual-write')) return;
  const { plan, state } = migration;
  migration.enter('dual-write');
  if (state.audit === undefined) {
    await applyRatio(migration, 0);
    await beginAudit(migration);
    // Nothing is copied at 0%: there is nothing to judge.
    state.ratio.settled = true;
  }
  for (;;) {
    await migration.whilePaused();
    const asked = state.requestedRatio;
    delete state.requestedRatio;
    if (asked !== undefined) {
      await applyRatio(migration, asked);
    } else if (state.ratio.settled) {
      if (state.ratio.acknowledged >= 1) break;
      await applyRatio(migration, rampRatios(plan.ramp.step, state.ratio.acknowledged)[0] ?? 1);
    }
    await settleStep(migration);
    await migration.continueAsNewWhenLong();
  }
  if (state.coverage === undefined) await beginCoverage(migration);
}

async function applyRatio(migration: Migration, ratio: number): Promise<void> {
  const { state } = migration;
  state.ratio.wanted = ratio;
  state.ratio.settled = false;
  const label = `ratio ${percent(ratio)}`;
  await migration.route({ ratio }, label);
  await publishersToFollow(migration, `publishers to apply ${percent(ratio)}`, `${label}: wait for all publishers`);
  migration.acknowledgeRatio(ratio);
}

/** Holds a ratio for its interval and judges it. Inconclusive is not settled: the next round holds it again. */
async function settleStep(migration: Migration): Promise<void> {
  const { plan, state } = migration;
  const label = `ratio ${percent(state.ratio.acknowledged)}`;
  const cutShort = () => state.requestedRatio !== undefined;
  await migration.hold(plan.ramp.interval, `${label}: hold for the interval`, cutShort);
  if (cutShort()) return;
  const verdict = await judgeStep(migration, label);
  migration.note(`${label}: ${verdict.verdict}, ${verdict.reason}`);
  if (verdict.verdict === 'failure') {
    const todo = 'Mend the cause, or lower the ratio with the setRatio update.';
    await migration.block(`${label} judged`, verdict.reason, todo);
  }
  state.ratio.settled = verdict.verdict === 'success';
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
  const fleet = await publishersToFollow(migration, `${label}: publishers`, `${label}: ask the publishers`);
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
