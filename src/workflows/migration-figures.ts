import { metricMeter, workflowInfo } from '@temporalio/workflow';
import type { MigrationPlan } from '@owlmq/kafka-bridge/playbook';
import { PHASES, type MigrationState } from './migration-state.js';

/** A gauge of the worker's metrics, as of one moment of a migration. JSON-safe. */
export interface Figure {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/**
 * Where a migration stands, as gauges, without the label `migration`. All are named in docs/metrics.md.
 *
 * @param at Unix ms: figures of several workers are told apart by it.
 */
export function migrationFigures(plan: MigrationPlan, state: MigrationState, at: number): Figure[] {
  const { phase, ratio, soak, warm, cutover, rollback, decommissioned } = state;
  const watched = phase === 'shadow-soak' || phase === 'ready';
  const keptWarm = warm !== undefined && decommissioned !== true && (phase === 'warm' || phase === 'decommission');
  return [
    figure('reported_timestamp_seconds', at / 1_000),
    ...[...PHASES, 'failed' as const].map((name) => figure('phase', Number(name === phase), { phase: name })),
    figure('epoch', state.epoch),
    figure('ratio', ratio.wanted, { ratio: 'wanted' }),
    figure('ratio', ratio.acknowledged, { ratio: 'acknowledged' }),
    figure('paused', Number(state.paused !== undefined)),
    figure('blocked', Number(state.blocked !== undefined)),
    figure('audit_stopped', Number(state.auditFailure !== undefined)),
    figure('rollback_unavailable', Number(keptWarm && warm.unavailableSince !== undefined)),
    figure('warm_remaining_seconds', keptWarm ? warm.remainingMs / 1_000 : 0),
    figure('soak_clean_seconds', soak.cleanMs / 1_000),
    figure('soak_target_seconds', plan.soak.duration / 1_000),
    figure('soak_restarts', soak.restarts),
    figure('soak_inconclusive_reasons', watched ? soak.missing.length : 0),
    ...Object.entries(state.verdicts).flatMap(([group, { matched, discrepancies, acknowledged = 0 }]) => [
      figure('comparisons', matched, { group, verdict: 'matched' }),
      figure('comparisons', discrepancies, { group, verdict: 'discrepancy' }),
      figure('comparisons', acknowledged, { group, verdict: 'acknowledged' }),
    ]),
    figure('hold_budget_seconds', plan.cutover.window / 1_000),
    ...held('cutover', cutover.publisherHoldMs),
    ...held('cancelled-cutover', cutover.lastCancel?.publisherHoldMs),
    ...held('rollback', rollback?.publisherHoldMs),
  ];
}

function figure(name: string, value: number, labels: Record<string, string> = {}): Figure {
  return { name: `kafka_to_owlmq_migration_${name}`, labels, value };
}

function held(window: string, ms: number | undefined): Figure[] {
  return ms === undefined ? [] : [figure('hold_seconds', ms / 1_000, { window })];
}

/**
 * Puts them into the metrics of the worker that runs the workflow now. Adds nothing to the history, and does nothing in
 * a replay, where nothing is worked out either.
 */
export function reportFigures(figures: () => readonly Figure[]): void {
  if (workflowInfo().unsafe.isReplaying) return;
  const migration = workflowInfo().workflowId;
  for (const { name, labels, value } of figures()) {
    metricMeter.createGauge(name, 'float').set(value, { ...labels, migration });
  }
}
