import { pause } from '../../async/bounded.js';
import type { MemberRoster } from '../../members/member-roster.js';
import type { RoutingState } from '../../routing/routing-state.js';
import { lag, memberName } from './fleet.js';

/** Who follows a state. */
export interface FleetAnswer {
  /** Instances that follow it in full. */
  following: string[];
  /** What the others do, a line each. */
  behind: string[];
  /** Instances that were silent for longer than their lease: they hold by themselves. */
  silent: string[];
}

const POLL_MS = 100;
/** Drift of clocks between a member's lease and this count, and the time that a report takes. */
const LEASE_MARGIN_MS = 1_000;

/** Waits until every living member follows a state that was written, or for `waitMs`. */
export async function awaitFleet(
  roster: MemberRoster,
  state: RoutingState,
  options: { waitMs: number; signal: AbortSignal; onProgress: (answer: FleetAnswer) => void },
): Promise<FleetAnswer> {
  const started = performance.now();
  for (;;) {
    // Who registered before the state was written is in the topic by now; later ones read the state first.
    const asked = performance.now();
    await roster.readToEnd();
    const waitedMs = performance.now() - started;
    const answer: FleetAnswer = { following: [], behind: [], silent: [] };
    for (const { report, silentMs } of roster.members(state.migration, asked)) {
      if (report.state === 'left') continue;
      const behind = lag(report, state);
      // A lease ends a lease after the last report: who has been silent for longer holds.
      if (behind === undefined) answer.following.push(report.instance);
      else if (silentMs > report.leaseMs + LEASE_MARGIN_MS) answer.silent.push(report.instance);
      else answer.behind.push(`${memberName(report)} ${behind}`);
    }
    options.onProgress(answer);
    if (answer.behind.length === 0 || waitedMs >= options.waitMs || options.signal.aborted) return answer;
    await pause(POLL_MS, options.signal);
  }
}
