import type { PortfolioPlan } from '@owlmq/kafka-bridge/playbook';
import type { MigrationStanding } from '../../activities/portfolio-activities.js';
import type { LogEntry, Request } from '../migration-state.js';

/** A migration as its portfolio knows it. */
export interface Member {
  id: string;
  /** From 1. */
  wave: number;
  /** `waiting`: not begun. `left-out`: by somebody's word; it counts as done. */
  state: 'waiting' | 'left-out' | Exclude<MigrationStanding['state'], 'absent'>;
  phase?: string;
  why?: string;
  /** ISO time from which the portfolio counts it as under way. */
  since?: string;
  /** It was under way, or over, before the portfolio came to it. */
  takenOver?: boolean;
}

/** All that a portfolio remembers; handed over when it continues as new, so new fields must be optional. */
export interface PortfolioState {
  startedAt: string;
  members: Member[];
  /** Nothing new is started; what is under way goes on. */
  paused?: Request;
  /** The same since a migration failed, until `resume`. */
  stopped?: { id: string; why: string; since: string };
  /** Why migrations could not be looked at; they are looked at again by themselves. */
  trouble?: string;
  searchAttributes: string[];
  unknownSignals: string[];
  log: LogEntry[];
}

export function newPortfolioState({ waves }: PortfolioPlan, now: string): PortfolioState {
  return {
    startedAt: now,
    members: waves.flatMap(({ migrations }, index) =>
      migrations.map(({ id }): Member => ({ id, wave: index + 1, state: 'waiting' })),
    ),
    searchAttributes: [],
    unknownSignals: [],
    log: [],
  };
}
