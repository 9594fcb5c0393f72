import type { MigrationInput } from '@owlmq/kafka-bridge/playbook';

type Range = readonly [number, number];

/** How fast a run goes: each range is ms, from which the seed chooses. */
export interface Pace {
  /** Between the begins of two faults. */
  readonly gapMs: Range;
  /** How long a fault lasts that can last. */
  readonly faultMs: Range;
  /** How long a process stays dead. */
  readonly deadMs: Range;
  /** From when a migration is in the phase that it is to be rolled back from. */
  readonly beforeRollbackMs: Range;
  readonly pauseMs: Range;
  /**
   * A ramp, a soak, or a wait for the window that has not come through by then is left alone for a time, so that the run
   * gets on to what a fault can spoil: from when it is left alone, and until when.
   */
  readonly calmMs: Range;
  /** A migration that has not got that far by then is rolled back where it is. */
  readonly migrationMs: number;
  readonly input: Omit<MigrationInput, 'topics' | 'groups' | 'forward'>;
}

/** As fast as it can go; a step of the ramp is judged by what faults do to it only as far as it needs figures. */
const input = {
  ramp: {
    step: 0.5,
    interval: '1 second',
    gates: {
      ...{ copyFailures: 1, missing: 1, latency: '1 hour', backlog: 1_000_000_000, oldestCopy: '1 hour' },
      ...{ inconclusiveLimit: 100, errorLimit: 20 },
    },
    onFailure: { holds: 100, settle: 0 },
  },
  soak: { duration: '40 seconds', minComparisons: 100, lateness: '2 seconds' },
  cutover: { window: '20 seconds', backOff: '1 second', maxAttempts: 5 },
  warm: { duration: '10 minutes' },
  decommission: 'automatic',
  // Longer than publishers go on trying.
  audit: { grace: '7 seconds' },
  lease: '3 seconds',
} satisfies Pace['input'];

/** For `npm test`: one migration that is rolled back, and one to its end. */
export const briefPace: Pace = {
  gapMs: [200, 600],
  faultMs: [500, 1_000],
  deadMs: [100, 300],
  beforeRollbackMs: [0, 500],
  pauseMs: [100, 500],
  calmMs: [0, 0],
  migrationMs: 20_000,
  input: { ...input, soak: { ...input.soak, duration: '1 second', lateness: '1 second' } },
};

/** For runs of minutes and hours. */
export const longPace: Pace = {
  gapMs: [500, 5_000],
  faultMs: [500, 6_000],
  deadMs: [200, 3_000],
  beforeRollbackMs: [0, 25_000],
  pauseMs: [500, 5_000],
  calmMs: [10_000, 120_000],
  migrationMs: 360_000,
  input,
};

/**
 * The same with another soak. Slices of the comparison are a twentieth of it, and each reads again what may be out of
 * order: a short one costs more than it compares where there are many messages.
 */
export function withSoak(pace: Pace, durationMs: number): Pace {
  return { ...pace, input: { ...pace.input, soak: { ...pace.input.soak, duration: durationMs } } };
}
