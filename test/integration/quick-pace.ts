import type { TrialOptions } from '../../demo/trial.js';

/** The playbook in a fraction of a minute, with all of its phases. */
export const quickPace: TrialOptions['pace'] = {
  ramp: { step: 0.5, interval: 500 },
  soak: { duration: '4 seconds', minComparisons: 50, lateness: '5 seconds' },
  cutover: { window: '30 seconds', backOff: '1 second', maxAttempts: 20 },
  warm: { duration: '5 seconds' },
  decommission: 'automatic',
  audit: { grace: '1 second' },
};
