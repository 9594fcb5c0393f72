import type { PortfolioPlan } from '@owlmq/kafka-bridge/playbook';
import type { LogEntry, Request } from '../migration-state.js';
import type { Member, PortfolioState } from './portfolio-state.js';
import { inNeed, isFarEnough, isOver, waveUnderWay } from './waves.js';

/** What the `status` query of a portfolio answers. Times are ISO 8601. */
export interface PortfolioStatus {
  /**
   * `stopped`: a migration has failed, `held`: one needs a person, `paused`: somebody asked for it; in all three nothing
   * new begins, and what is under way goes on.
   */
  state: 'running' | 'held' | 'paused' | 'stopped' | 'completed';
  startedAt: string;
  /** The wave under way, from 1; null once all have begun and are far enough. */
  wave: number | null;
  waves: number;
  limit: number;
  until: PortfolioPlan['until'];
  paused: Request | null;
  stopped: { id: string; why: string; since: string; todo: string } | null;
  /** Why migrations cannot be looked at just now. */
  trouble: string | null;
  migrations: (Member & { farEnough: boolean })[];
  /** What comes next, and what it waits for. */
  next: string;
  unknownSignals: string[];
  log: LogEntry[];
}

const STOPPED_TODO =
  'Migrations under way go on. Mend the cause and send resume, which starts it again, or leave it out with the update skip.';

export function portfolioStatus(plan: PortfolioPlan, state: PortfolioState): PortfolioStatus {
  const { members, paused, stopped, trouble } = state;
  return {
    state: stateOf(state),
    startedAt: state.startedAt,
    wave: waveUnderWay(members, plan.until) ?? null,
    waves: plan.waves.length,
    limit: plan.limit,
    until: plan.until,
    paused: paused ?? null,
    stopped: stopped === undefined ? null : { ...stopped, todo: STOPPED_TODO },
    trouble: trouble ?? null,
    migrations: members.map((member) => ({ ...member, farEnough: isFarEnough(member, plan.until) })),
    next: nextOf(plan, state),
    unknownSignals: state.unknownSignals,
    log: state.log,
  };
}

function stateOf({ members, paused, stopped }: PortfolioState): PortfolioStatus['state'] {
  if (members.every(isOver)) return 'completed';
  if (stopped !== undefined) return 'stopped';
  if (paused !== undefined) return 'paused';
  return inNeed(members).length > 0 ? 'held' : 'running';
}

function nextOf(plan: PortfolioPlan, state: PortfolioState): string {
  const { members, paused, stopped } = state;
  if (members.every(isOver)) return 'nothing: every migration is completed or left out';
  if (stopped !== undefined) return `nothing new begins: ${stopped.id} ${stopped.why}. ${STOPPED_TODO}`;
  if (paused !== undefined) return 'nothing new begins until the resume signal';
  const [needy] = inNeed(members);
  if (needy !== undefined) return `nothing new begins while ${needy.id} ${needy.why ?? 'needs a person'}`;
  const wave = waveUnderWay(members, plan.until);
  if (wave === undefined) return 'all have begun: their ends';
  const waiting = members.find((member) => member.wave === wave && member.state === 'waiting');
  if (waiting !== undefined) return `${waiting.id}, once there is room: ${plan.limit} at a time`;
  return wave === plan.waves.length
    ? 'all have begun: their ends'
    : `wave ${wave + 1}, once all of wave ${wave} are ${plan.until}`;
}

/** Rows of migrations that the UI shows; the rest is in the status. */
const ROWS = 50;

/** What the Temporal UI shows of a portfolio. */
export function portfolioMarkdown(plan: PortfolioPlan, state: PortfolioState): string {
  const status = portfolioStatus(plan, state);
  const begun = status.migrations.filter((member) => member.state !== 'waiting');
  const wave = status.wave === null ? `all ${status.waves} waves have begun` : `wave ${status.wave} of ${status.waves}`;
  return [
    `**${status.state}**, ${wave}, ${begun.length} of ${status.migrations.length} migrations begun`,
    '',
    `- next: ${status.next}`,
    ...(status.trouble === null ? [] : [`- migrations cannot be looked at: ${status.trouble}`]),
    ...status.unknownSignals.map((name) => `- signal \`${name}\` is not known and did nothing`),
    '',
    '| migration | wave | state | phase | |',
    '| --- | --- | --- | --- | --- |',
    ...status.migrations
      .slice(0, ROWS)
      .map(
        ({ id, wave: of, state: is, phase = '', why = '' }) => `| ${id} | ${of} | ${is} | ${phase} | ${inCell(why)} |`,
      ),
    ...(status.migrations.length > ROWS ? [`\n${status.migrations.length - ROWS} more are in the status.`] : []),
  ].join('\n');
}

function inCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
