import type { AuditFigures, PublisherFleet } from '../activities/migration-activities.js';

/**
 * The ratios of a ramp above what is reached already, in order, ending with 1. Worked out in whole thousandths of a
 * percent, so that ten steps of 0.1 are ten steps.
 */
export function rampRatios(step: number, reached = 0): number[] {
  const scale = 100_000;
  const increment = Math.max(1, Math.round(step * scale));
  const ratios: number[] = [];
  for (let ratio = Math.round(reached * scale) + increment; ratio < scale; ratio += increment)
    ratios.push(ratio / scale);
  return [...ratios, 1];
}

/** Judgement of a step of the ramp. Inconclusive is neither pass nor fail: it holds. */
export interface RampVerdict {
  verdict: 'success' | 'inconclusive' | 'failure';
  reason: string;
}

/** Copies that the audit had to repair, out of all that it checked, from which a step counts as failed. */
const REPAIRED_SHARE_LIMIT = 0.01;

/**
 * Judges a step by what the audit and the publishers saw during it.
 *
 * @param checked Kafka records the audit read during the step.
 * @param during figures of the audit for the step alone.
 */
export function judgeRampStep(checked: number, during: AuditFigures, fleet: PublisherFleet): RampVerdict {
  if (checked === 0) return { verdict: 'inconclusive', reason: 'no messages were published during the step' };
  if (fleet.acknowledged === 0) {
    return { verdict: 'inconclusive', reason: 'no DualPublisher reports to this migration' };
  }
  if (fleet.degraded.length > 0) {
    return { verdict: 'failure', reason: `copies to OwlMQ are failing in ${fleet.degraded.join(', ')}` };
  }
  if (during.repaired > checked * REPAIRED_SHARE_LIMIT) {
    return { verdict: 'failure', reason: `the audit had to repair ${during.repaired} of ${checked} messages` };
  }
  return { verdict: 'success', reason: `${checked} messages checked, ${during.repaired} copies repaired` };
}
