import type { MigrationPlan } from './migration-input.js';
import { planSteps } from './planned-steps.js';
import type { PortfolioPlan } from './portfolio-input.js';

/** A wave of a portfolio as its `plan` prints it. */
export interface PlannedWave {
  wave: number;
  migrations: {
    id: string;
    topics: string[];
    groups: string[];
    /** Shortest time until it is far enough for another to begin. */
    atLeastMs: number;
  }[];
  /** Shortest time until the next wave begins, with no more migrations at a time than the limit. */
  atLeastMs: number;
}

/** The waves as this input runs them, without touching anything. */
export function planWaves({ waves, limit, until }: PortfolioPlan): PlannedWave[] {
  return waves.map(({ migrations }, index) => {
    const planned = migrations.map(({ id, input }) => ({
      ...{ id, topics: input.topics, groups: input.groups },
      atLeastMs: timeUntil(input, until),
    }));
    return { wave: index + 1, migrations: planned, atLeastMs: timeOfWave(planned, limit) };
  });
}

function timeUntil(input: MigrationPlan, until: PortfolioPlan['until']): number {
  const steps = planSteps(input).filter(
    ({ phase }) => until === 'completed' || (phase !== 'warm' && phase !== 'decommission'),
  );
  return steps.reduce((total, { atLeastMs }) => total + atLeastMs, 0);
}

/** Each begins as soon as one before it is far enough. */
function timeOfWave(migrations: readonly { atLeastMs: number }[], limit: number): number {
  const slots = new Array<number>(Math.min(limit, migrations.length)).fill(0);
  for (const { atLeastMs } of migrations) {
    const first = slots.indexOf(Math.min(...slots));
    slots[first] = (slots[first] ?? 0) + atLeastMs;
  }
  return Math.max(...slots);
}
