/** What a verdict on a ratio of the ramp leads to. Pure: timers and routing are in `phases/dual-write.ts`. */

import { rampRatios, ratioBefore } from '@owlmq/kafka-bridge/playbook';

/** What is known of a step. An error is the lack of figures, inconclusive their not saying anything. */
export type Verdict = 'success' | 'failure' | 'inconclusive' | 'error';

/** What is done about verdicts. */
export interface RampPolicy {
  /** Share added at each step. */
  step: number;
  /** Failures of a ratio that are only held. */
  holds: number;
  /** Steps back over the whole ramp. */
  stepBacks: number;
  then: 'block' | 'rollback';
  /** Errors in a row before the run blocks. */
  errorLimit: number;
}

/** What the policy has used up. JSON-safe. */
export interface RampCounters {
  /** Judgements of the present ratio. */
  attempts: number;
  /** Failures at the present ratio that were held. */
  holds: number;
  /** Over the whole ramp. */
  stepBacks: number;
  /** Errors and inconclusive verdicts in a row. */
  errors: number;
  inconclusive: number;
}

export const freshCounters: RampCounters = { attempts: 0, holds: 0, stepBacks: 0, errors: 0, inconclusive: 0 };

/** What comes of a verdict. A `hold` judges the same ratio again after another interval. */
export type RampAction =
  | { do: 'promote'; ratio: number }
  | { do: 'finish' }
  | { do: 'hold' }
  | { do: 'step back'; ratio: number }
  | { do: 'block' }
  | { do: 'roll back' };

/**
 * Decides on a verdict. Only success raises the ratio; each failure uses up a hold, then a step back, then is the
 * policy's last word, so that a ramp that keeps failing comes to a person or back to Kafka.
 */
export function decideRamp(
  policy: RampPolicy,
  ratio: number,
  verdict: Verdict,
  before: RampCounters,
): { action: RampAction; counters: RampCounters } {
  const counters = {
    ...before,
    attempts: before.attempts + 1,
    errors: verdict === 'error' ? before.errors + 1 : 0,
    inconclusive: verdict === 'inconclusive' ? before.inconclusive + 1 : 0,
  };
  switch (verdict) {
    case 'success': {
      const action: RampAction =
        ratio >= 1 ? { do: 'finish' } : { do: 'promote', ratio: rampRatios(policy.step, ratio)[0] ?? 1 };
      return { action, counters: { ...freshCounters, stepBacks: counters.stepBacks } };
    }
    case 'inconclusive':
      return { action: { do: 'hold' }, counters };
    case 'error':
      return counters.errors < policy.errorLimit
        ? { action: { do: 'hold' }, counters }
        : { action: { do: 'block' }, counters: { ...counters, errors: 0 } };
    case 'failure':
      if (counters.holds < policy.holds) {
        return { action: { do: 'hold' }, counters: { ...counters, holds: counters.holds + 1 } };
      }
      if (counters.stepBacks < policy.stepBacks && ratio > 0) {
        return {
          action: { do: 'step back', ratio: ratioBefore(policy.step, ratio) },
          counters: { ...freshCounters, stepBacks: counters.stepBacks + 1 },
        };
      }
      // Somebody who resumes has mended something: the holds count anew.
      return policy.then === 'block'
        ? { action: { do: 'block' }, counters: { ...counters, holds: 0 } }
        : { action: { do: 'roll back' }, counters };
  }
}
