import type { MigrationInput } from '@owlmq/kafka-bridge/playbook';
import { HOOK } from './hook-receiver.js';

/** A way through the playbook. Boundaries are run in the first scenario that has them. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly pace: Omit<MigrationInput, 'topics' | 'groups' | 'forward'>;
  /** Whether a producer without the library takes part. */
  readonly foreign: boolean;
  /** What happens before the first call of an activity; the call goes on once the workflow cancels it. */
  readonly turn?: { readonly firstCallOf: string; readonly then: 'wait' | 'roll back' | 'kill OwlMQ and roll back' };
  readonly ends: 'completed' | 'rolled-back';
}

/** The playbook's ten hours, 48 hours and two weeks, in some seconds. */
const pace = {
  ramp: { step: 1, interval: 300 },
  soak: { duration: '1 second', minComparisons: 15, lateness: '2 seconds' },
  // Long enough for several deaths in one window.
  cutover: { window: '2 minutes', backOff: 200, maxAttempts: 20 },
  warm: { duration: '1 second' },
  decommission: 'automatic',
  audit: { grace: '1 second' },
  lease: '4 seconds',
} as const;

/** Called at everything that comes before a decommission. */
const hook: NonNullable<MigrationInput['hooks']>[number] = {
  ...{ name: HOOK, kind: 'webhook', timeout: '1 minute' },
  at: ['before-cutover', 'hold-publishers', 'stop-consumers', 'resume-on-owlmq', 'resume-on-kafka'],
};

export const scenarios: readonly Scenario[] = [
  { name: 'straight', title: 'to the decommission', pace, foreign: false, ends: 'completed' },
  {
    ...{ name: 'rollback-in-window', title: 'noise is measured, and a rollback comes inside the window' },
    pace: { ...pace, noise: { duration: '1 second', minComparisons: 15, lateness: '2 seconds' } },
    foreign: false,
    turn: { firstCallOf: 'moveOffsets', then: 'roll back' },
    ends: 'rolled-back',
  },
  {
    ...{
      name: 'rollback-from-warm',
      title: 'a rollback from the warm period, with a producer without the library and a hook',
    },
    pace: { ...pace, warm: { duration: '1 minute' }, hooks: [hook] },
    foreign: true,
    turn: { firstCallOf: 'watchWarm', then: 'roll back' },
    ends: 'rolled-back',
  },
  {
    ...{ name: 'rollback-owlmq-dead', title: 'a rollback from the warm period once OwlMQ is dead' },
    pace: { ...pace, warm: { duration: '1 minute' } },
    foreign: false,
    turn: { firstCallOf: 'watchWarm', then: 'kill OwlMQ and roll back' },
    ends: 'rolled-back',
  },
  {
    ...{ name: 'second-attempt', title: 'the window is over before the journal, and tried again' },
    pace: { ...pace, cutover: { ...pace.cutover, window: '8 seconds' } },
    foreign: false,
    turn: { firstCallOf: 'moveOffsets', then: 'wait' },
    ends: 'completed',
  },
];
