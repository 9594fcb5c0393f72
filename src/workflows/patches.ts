import { patched } from '@temporalio/workflow';

/**
 * Where a run does other steps than an earlier version did. Runs that began before go on as they began; an entry may go
 * once no run of before it is left.
 */
type Change =
  /** Shadows are compared in the back-off after a cancelled cutover; before, it was a timer. */
  | 'soak-in-back-off'
  /** A rollback from OwlMQ tries the whole way back first; before, a canary on Kafka was all. */
  | 'way-back-proven-first'
  /** The way back is rehearsed while Kafka is kept warm. */
  | 'way-back-rehearsed'
  /** In the window copies are proven while consumers drain; before, one after the other. */
  | 'proven-while-drained'
  /** Topics and groups stand in the memo, where lists of runs show them. */
  | 'memo';

/** Whether this run does as today's version does. */
export function does(change: Change): boolean {
  return patched(change);
}
