import { sameState } from './routing-log.js';
import type { RoutingState } from './routing-state.js';

/** What a writer does next about a state that is to stand, by what it has just read of the topic. */
export type WriteDecision =
  { do: 'nothing' } | { do: 'send'; state: RoutingState } | { do: 'refuse'; found: RoutingState };

/** What the routing topic holds of a migration: the state that stands, and the last record, which compaction leaves. */
export interface KnownStates {
  standing: RoutingState | undefined;
  last: RoutingState | undefined;
}

/**
 * The whole rule by which routing states are written. After `send` the topic is to be read again; writing is through
 * with `nothing`: the state stands, and nothing lower lies behind it.
 *
 * @param options `over`: the epoch that must stand before it. `mayRepair`: whether the standing state may be written
 * once more behind another writer's lower one.
 */
export function decideWrite(
  state: RoutingState,
  { standing, last }: KnownStates,
  { over, mayRepair }: { over: number | undefined; mayRepair: boolean },
): WriteDecision {
  if (standing !== undefined && standing.epoch >= state.epoch) {
    // Another writer's lower epoch may have come behind the one that stands. Members ignore it, but compaction would
    // keep it alone: the standing state is put behind it again.
    if ((last === undefined || !sameState(last, standing)) && mayRepair) return { do: 'send', state: standing };
    return sameState(standing, state) ? { do: 'nothing' } : { do: 'refuse', found: standing };
  }
  if (over !== undefined && standing !== undefined && standing.epoch !== over) return { do: 'refuse', found: standing };
  return { do: 'send', state };
}
