import type { PortfolioPlan } from '@owlmq/kafka-bridge/playbook';
import type { Member, PortfolioState } from './portfolio-state.js';

/** What a portfolio does next, from what it knows: pure. */

/** Phases of a migration whose services are on OwlMQ. */
const WARM = ['warm', 'decommission'];

/** Whether it makes room for another. */
export function isFarEnough({ state, phase = '' }: Member, until: PortfolioPlan['until']): boolean {
  if (state === 'completed' || state === 'left-out') return true;
  return state === 'running' && until === 'warm' && WARM.includes(phase);
}

/** Whether it has ended in a way that stops the portfolio. */
export function hasFailed({ state }: Member): boolean {
  return state === 'failed' || state === 'rolled-back' || state === 'taken';
}

/** Whether nothing more can come of it. */
export function isOver({ state }: Member): boolean {
  return state === 'completed' || state === 'left-out';
}

/** The wave that is under way: the first with a migration that is not far enough; undefined after the last. */
export function waveUnderWay(members: readonly Member[], until: PortfolioPlan['until']): number | undefined {
  return members.find((member) => !isFarEnough(member, until))?.wave;
}

/** Those that need a person, so that nothing new begins beside them. */
export function inNeed(members: readonly Member[]): Member[] {
  return members.filter(({ state, why }) => state === 'running' && why !== undefined);
}

/** The migrations to begin now, in their order. */
export function nextMembers({ limit, until }: PortfolioPlan, state: PortfolioState): Member[] {
  const { members, paused, stopped } = state;
  if (paused !== undefined || stopped !== undefined || inNeed(members).length > 0) return [];
  const wave = waveUnderWay(members, until);
  const underWay = members.filter((member) => member.state === 'running' && !isFarEnough(member, until)).length;
  const waiting = members.filter((member) => member.wave === wave && member.state === 'waiting');
  return waiting.slice(0, Math.max(0, limit - underWay));
}
