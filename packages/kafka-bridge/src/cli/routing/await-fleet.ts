import { pause } from '../../async/bounded.js';
import { isCountedOut, type MemberRoster } from '../../members/member-roster.js';
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

/** Waits until every living member follows a state that was written, or for `waitMs`. */
export async function awaitFleet(
  roster: MemberRoster,
  state: RoutingState,
  options: { waitMs: number; signal: AbortSignal; onProgress: (answer: FleetAnswer) => void },
): Promise<FleetAnswer> {
  const started = performance.now();
  for (;;) {
    const members = await roster.readMembers(state.migration);
    const waitedMs = performance.now() - started;
    const answer: FleetAnswer = { following: [], behind: [], silent: [] };
    for (const member of members) {
      const { report } = member;
      if (report.state === 'left') continue;
      const behind = lag(report, state);
      if (behind === undefined) answer.following.push(report.instance);
      else if (isCountedOut(member)) answer.silent.push(report.instance);
      else answer.behind.push(`${memberName(report)} ${behind}`);
    }
    options.onProgress(answer);
    if (answer.behind.length === 0 || waitedMs >= options.waitMs || options.signal.aborted) return answer;
    await pause(POLL_MS, options.signal);
  }
}
