import type { Random } from './clock/random.js';
import type { NetworkFaults } from './systems/network.js';

/** What a seed is about, but for what goes wrong. */
export interface Scenario {
  /** From the first routing state on, or from the end of the soak. */
  start: 'ramp' | 'ready';
  leaseMs: number;
  windowMs: number;
  warmMs: number;
  sessionMs: number;
  publishers: number;
  /** Members of each group. */
  consumers: readonly number[];
  publishEveryMs: number;
  applyMs: number;
  faults: NetworkFaults;
  continueAsNew: number;
}

export function drawScenario(random: Random): Scenario {
  const leaseMs = random.between(1_000, 2_500);
  const troubled = random.chance(0.4);
  // Groups with a lag, that are not done with what they have when a window opens or a rollback begins.
  const slow = random.chance(0.15);
  return {
    start: random.chance(0.2) ? 'ramp' : 'ready',
    leaseMs,
    windowMs: random.between(2 * leaseMs, 5 * leaseMs),
    warmMs: random.between(1_000, 6_000),
    sessionMs: random.between(1_000, 2_500),
    publishers: random.between(1, 2),
    consumers: [random.between(1, 2), 1],
    publishEveryMs: slow ? random.between(1_000, 2_000) : random.between(300, 1_500),
    applyMs: slow ? random.between(100, 400) : random.chance(0.5) ? 0 : random.between(1, 80),
    faults: {
      loss: troubled ? random.next() * 0.02 : 0,
      late: troubled ? random.next() * 0.01 : 0,
      mayBeLate: troubled,
      latencyMs: random.between(2, 15),
    },
    continueAsNew: random.chance(0.2) ? 0.1 : 0,
  };
}
