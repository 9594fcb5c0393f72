import type { RoutingState } from '../../routing/routing-state.js';

/** What is to be changed of a routing state; what is absent stays. */
export interface RoutingEdit {
  primary?: RoutingState['primary'] | undefined;
  ratio?: number | undefined;
  live?: RoutingState['live'] | undefined;
  shadow?: RoutingState['shadow'] | undefined;
  /** Its reason, or false to lift it. */
  fence?: string | false | undefined;
  drain?: 'stop' | false | undefined;
  mirror?: boolean | undefined;
}

/**
 * Epochs written by hand are multiples of this. The workflow uses an epoch up at each try to write, also one that
 * failed: it may be well above the state that stands, and would pass over one written by hand directly above it without
 * noticing.
 */
const HAND_STEP = 10_000;

/** The next epoch for a state that is written by hand. */
function handEpoch(standing: number): number {
  return (Math.floor(standing / HAND_STEP) + 1) * HAND_STEP;
}

/** A state with the changes made, under the next epoch for one written by hand. */
export function editState(
  state: RoutingState,
  { primary, ratio, live, shadow, fence, drain, mirror }: RoutingEdit,
  written: { by: string; reason: string },
): RoutingState {
  const { fence: fenceNow, drain: drainNow, shadowFrom, ...rest } = state;
  const next: RoutingState = {
    ...rest,
    epoch: handEpoch(state.epoch),
    primary: primary ?? state.primary,
    ratio: ratio ?? state.ratio,
    live: live ?? state.live,
    shadow: shadow ?? state.shadow,
    mirror: mirror ?? state.mirror,
    writtenAt: new Date().toISOString(),
    reason: `by hand (${written.by}): ${written.reason}`,
  };
  const fenceNext = fence === undefined ? fenceNow : fence === false ? undefined : { reason: fence };
  // Offsets to drain to are of the live leg that they were taken from.
  const drainKept = next.live === state.live ? drainNow : drainNow === undefined ? undefined : ('stop' as const);
  const drainNext = drain === undefined ? drainKept : drain === false ? undefined : drain;
  if (fenceNext !== undefined) next.fence = fenceNext;
  if (drainNext !== undefined) next.drain = drainNext;
  // Offsets of a measurement of noise are none for a comparison of both legs, nor the other way round.
  const sameKind = (next.shadow === 'noise') === (state.shadow === 'noise');
  if ((next.shadow === 'compare' || next.shadow === 'noise') && sameKind && shadowFrom !== undefined) {
    next.shadowFrom = shadowFrom;
  }
  return next;
}
