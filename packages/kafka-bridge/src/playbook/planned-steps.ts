import type { MigrationPlan } from './migration-input.js';
import { rampRatios } from './ramp-ratios.js';
import { percent, words } from './words.js';

/** Phases of the playbook, in their order, as far as nothing goes wrong. */
export type PlannedPhase =
  'preflight' | 'noise' | 'dual-write' | 'shadow-soak' | 'ready' | 'cutover' | 'warm' | 'decommission';

/** A step of the playbook as `plan` prints it. */
export interface PlannedStep {
  phase: PlannedPhase;
  step: string;
  /** Shortest time it takes. */
  atLeastMs: number;
}

/** The playbook as this input runs it, without touching anything. */
export function planSteps(plan: MigrationPlan): PlannedStep[] {
  return [
    {
      phase: 'preflight',
      step: `check Kafka, OwlMQ, ${plan.topics.join(', ')} and ${plan.groups.join(', ')}`,
      atLeastMs: 0,
    },
    ...(plan.noise.duration === 0
      ? []
      : [
          {
            phase: 'noise' as const,
            step: `compare handlers with themselves on Kafka for ${words(plan.noise.duration)}, with ${plan.noise.minComparisons} comparisons a group`,
            atLeastMs: plan.noise.duration,
          },
        ]),
    ...rampRatios(plan.ramp.step).map((ratio) => ({
      phase: 'dual-write' as const,
      step: `copy ${percent(ratio)} of messages to OwlMQ, then judge the step`,
      atLeastMs: plan.ramp.interval,
    })),
    {
      phase: 'shadow-soak',
      step: `compare shadow consumers until ${words(plan.soak.duration)} are clean, with ${plan.soak.minComparisons} comparisons a group`,
      atLeastMs: plan.soak.duration,
    },
    { phase: 'ready', step: 'check that a cutover fits its window', atLeastMs: 0 },
    ...(plan.cutover.trigger === 'approval'
      ? [{ phase: 'ready' as const, step: 'wait for the approve signal', atLeastMs: 0 }]
      : []),
    {
      phase: 'cutover',
      step: `${hoursWords(plan)}hold publishers, drain groups, move offsets, switch to OwlMQ, within ${words(plan.cutover.window)}`,
      atLeastMs: 0,
    },
    { phase: 'warm', step: `keep Kafka as a mirror for ${words(plan.warm.duration)}`, atLeastMs: plan.warm.duration },
    ...(plan.decommission === 'approval'
      ? [{ phase: 'decommission' as const, step: 'wait for the approve signal', atLeastMs: 0 }]
      : []),
    { phase: 'decommission', step: 'prove parity a last time and stop writing to Kafka', atLeastMs: 0 },
  ];
}

function hoursWords({ cutover: { hours } }: MigrationPlan): string {
  if (hours === undefined) return '';
  const { from, to, timeZone, days } = hours;
  return `between ${from} and ${to} ${timeZone}${days === undefined ? '' : ` on ${days.join(', ')}`}: `;
}
