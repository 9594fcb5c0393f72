import { type MigrationPlan, percent, rampRatios, words } from '@owlmq/kafka-bridge/playbook';
import type { MigrationState } from './migration-state.js';

/** What comes next, when at the earliest, and for whose word it waits: for the status and the UI. */
export function nextStep(plan: MigrationPlan, state: MigrationState): string {
  switch (state.phase) {
    case 'preflight':
      return `start the dual-write ramp at 0%${plan.noise.duration > 0 ? ', after measuring noise' : ''}`;
    case 'noise':
      return 'start the dual-write ramp at 0% when handlers are equal to themselves';
    case 'dual-write':
      return nextOfRamp(plan, state);
    case 'shadow-soak': {
      const left = Math.max(0, plan.soak.duration - state.soak.cleanMs);
      return left === 0
        ? 'get ready for the cutover'
        : `get ready for the cutover after ${words(left)} more without a discrepancy`;
    }
    case 'ready':
      return plan.cutover.trigger === 'automatic' || state.approved.cutover
        ? 'cut over when every check passes'
        : 'cut over when every check passes and the approve signal has come';
    case 'cutover':
      return 'keep Kafka warm as a mirror';
    case 'warm':
      return `decommission Kafka writes after ${words(state.warm?.remainingMs ?? plan.warm.duration)} more${onceApproved(plan, state)}`;
    case 'decommission':
      return `end Kafka writes${onceApproved(plan, state)}, after a last proof of parity`;
    case 'completed':
      return 'nothing: publishers write to OwlMQ only; Kafka topics are left as they are';
    case 'rolling-back':
      return 'return to Kafka';
    case 'rolled-back':
      return 'nothing: publishers and consumers are on Kafka';
    case 'failed':
      return 'nothing: start again with other input';
  }
}

function nextOfRamp({ ramp, soak }: MigrationPlan, { ratio, requestedRatio }: MigrationState): string {
  const following = requestedRatio ?? rampRatios(ramp.step, ratio.acknowledged)[0] ?? 1;
  if (ratio.wanted !== ratio.acknowledged) return `hold ${percent(ratio.wanted)} once every publisher obeys it`;
  if (ratio.acknowledged >= 1) return `compare shadow consumers for ${words(soak.duration)} once this step is judged`;
  return `raise the ratio to ${percent(following)} when this step has passed`;
}

function onceApproved(plan: MigrationPlan, { approved }: MigrationState): string {
  return plan.decommission === 'automatic' || approved.decommission ? '' : ', once the approve signal has come';
}
