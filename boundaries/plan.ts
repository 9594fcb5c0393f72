import type { Phase } from '../src/workflows/migration-state.js';
import type { Kill, PassedBoundary, RunResult, RunSpec } from './boundary-run.js';
import type { Victim } from './evidence.js';
import type { Boundary } from './passages.js';
import type { Scenario } from './scenarios.js';

/** A death of the plan, and in which phase it comes. */
export interface PlannedKill extends Kill {
  readonly scenario: Scenario;
  readonly phase: Phase;
}

/** Phases in which more than the worker dies. */
const underFire: readonly Phase[] = ['cutover', 'rolling-back'];
const victims: readonly Victim[] = ['worker', 'producer', 'consumer', 'kafka', 'owlmq'];

/**
 * Every boundary that a recorded run has passed, once for each who dies: the worker at each, and before each step of
 * the cutover and of the rollback everybody else too. It lies in the first scenario that has it.
 */
export function planKills(recordings: ReadonlyMap<Scenario, readonly PassedBoundary[]>): PlannedKill[] {
  const planned = new Map<string, PlannedKill>();
  for (const victim of victims) {
    for (const [scenario, passed] of scenariosFor(victim, recordings)) {
      for (const { boundary, phase } of passed) {
        const step = boundary.kind === 'activity' && boundary.moment === 'before' && underFire.includes(phase);
        if (victim !== 'worker' && !step) continue;
        const name = nameOf(boundary, phase, victim);
        if (!planned.has(name)) planned.set(name, { scenario, phase, boundary, victim });
      }
    }
  }
  return [...planned.values()];
}

/** The longest way first for those who die in the cutover and the rollback, so that one run has both. */
function scenariosFor(
  victim: Victim,
  recordings: ReadonlyMap<Scenario, readonly PassedBoundary[]>,
): (readonly [Scenario, readonly PassedBoundary[]])[] {
  const all = [...recordings];
  if (victim === 'worker') return all;
  const alive = all.filter(([{ turn }]) => victim !== 'owlmq' || turn?.then !== 'kill OwlMQ and roll back');
  const fire = (passed: readonly PassedBoundary[]): number =>
    new Set(passed.filter(({ phase }) => underFire.includes(phase)).map(({ boundary }) => boundary.site)).size;
  return alive.sort(([, one], [, other]) => fire(other) - fire(one));
}

/** The same step outside the cutover and the rollback is one, in whichever phase it is; a later round of a loop too. */
function nameOf({ kind, site, moment }: Boundary, phase: Phase, victim: Victim): string {
  return JSON.stringify([kind, site, moment, underFire.includes(phase) ? phase : '', victim]);
}

/**
 * Runs for all kills: `most` of a scenario and victim in one run at the most, far from each other, so that each finds
 * the run recovered from the one before.
 */
export function planRuns(kills: readonly PlannedKill[], most: number): RunSpec[] {
  const runs: { round: number; spec: RunSpec }[] = [];
  const names = new Set(kills.map(alikeName));
  for (const name of names) {
    const group = kills.filter((kill) => alikeName(kill) === name);
    const count = Math.ceil(group.length / most);
    for (let round = 0; round < count; round++) {
      const own = group.filter((_, index) => index % count === round);
      const [first] = own;
      if (first !== undefined) runs.push({ round, spec: { scenario: first.scenario, kills: own } });
    }
  }
  // In turn, so that a run that is cut short has something of everything.
  return runs.sort((one, other) => one.round - other.round).map(({ spec }) => spec);
}

function alikeName({ scenario, victim }: PlannedKill): string {
  return `${scenario.name} ${victim}`;
}

/** What `--only` is matched with. */
export function killName({ scenario, phase, boundary: { kind, site, nth, moment }, victim }: PlannedKill): string {
  return `${scenario.name} ${phase} ${kind} ${site} ${nth} ${moment} ${victim}`;
}

/** Activities of the worker that no recorded run has called: nobody dies at them. */
export function unreached(recordings: Iterable<RunResult>): string[] {
  const known = new Set<string>();
  const called = new Set<string>();
  for (const { activities, passed } of recordings) {
    for (const name of activities) known.add(name);
    for (const { type } of passed) if (type !== undefined) called.add(type);
  }
  return [...known].filter((name) => !called.has(name)).sort();
}
