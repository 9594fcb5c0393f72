/**
 * The playbook as a user asks for it: the input, and the steps that come of it. Pure, so that workflow code can use it.
 */
export { embeddedGroups, externalGroups } from './external-groups.js';
export { HOOK_EVENTS, type HookEvent } from './hook-events.js';
export { InvalidInputError } from './input-file.js';
export {
  migrationInputJsonSchema,
  MINUTES_A_DAY,
  minuteOfDay,
  parseDuration,
  parseMigrationInput,
  YEAR,
  type CutoverHours,
  type MigrationInput,
  type MigrationPlan,
} from './migration-input.js';
export { planSteps, type PlannedPhase, type PlannedStep } from './planned-steps.js';
export { planWaves, type PlannedWave } from './planned-waves.js';
export {
  parsePortfolioInput,
  portfolioInputJsonSchema,
  type PortfolioInput,
  type PortfolioPlan,
} from './portfolio-input.js';
export { preflightRequest, type PreflightRequest } from './preflight-request.js';
export { rampRatios, ratioBefore } from './ramp-ratios.js';
export { percent, words } from './words.js';
