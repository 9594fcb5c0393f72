import {
  allHandlersFinished,
  condition,
  continueAsNew,
  defineQuery,
  defineUpdate,
  setDefaultSignalHandler,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { parsePortfolioInput, planWaves, type PlannedWave, type PortfolioInput } from '@owlmq/kafka-bridge/playbook';
import { pauseSignal, resumeSignal } from '../messages.js';
import { now } from '../migration.js';
import { validInput } from '../valid-input.js';
import { Portfolio } from './portfolio.js';
import { newPortfolioState, type PortfolioState } from './portfolio-state.js';
import { portfolioStatus, type PortfolioStatus } from './portfolio-status.js';

const statusQuery = defineQuery<PortfolioStatus>('status');
const planQuery = defineQuery<PlannedWave[]>('plan');
const skipUpdate = defineUpdate<string, [{ id: string; reason?: string; by?: string }]>('skip');

/**
 * Runs many migrations in waves, no more of them at a time than the limit, and begins nothing new once one has failed.
 * Each is a workflow of its own, which goes on whatever becomes of the portfolio.
 *
 * @param input see `PortfolioInput`; only `waves` is required.
 * @param carried state of the run before, when this one continues it.
 * @returns the last status, once every migration is completed or left out.
 */
export async function migratePortfolio(input: PortfolioInput, carried?: PortfolioState): Promise<PortfolioStatus> {
  const plan = validInput(parsePortfolioInput, input);
  const portfolio = new Portfolio(plan, input, carried ?? newPortfolioState(plan, now()));
  listen(portfolio);
  portfolio.show();
  for (;;) {
    await portfolio.beginNext();
    if (portfolio.isOver) break;
    await portfolio.watch();
    if (workflowInfo().continueAsNewSuggested) {
      await condition(allHandlersFinished);
      await continueAsNew<typeof migratePortfolio>(input, portfolio.state);
    }
  }
  await condition(allHandlersFinished);
  portfolio.note('completed');
  return portfolioStatus(plan, portfolio.state);
}

/** Sets all handlers before the first await, so that no early signal or update is refused. */
function listen(portfolio: Portfolio): void {
  setHandler(statusQuery, () => portfolioStatus(portfolio.plan, portfolio.state), {
    description: 'Which wave, where each migration stands, which one failed and why, and what comes next.',
  });
  setHandler(planQuery, () => planWaves(portfolio.plan), {
    description: 'The waves in order, with the least time each takes.',
  });
  setHandler(pauseSignal, portfolio.pause.bind(portfolio), {
    description: 'Begins no further migration. Those under way go on.',
  });
  setHandler(resumeSignal, portfolio.resume.bind(portfolio), {
    description: 'Ends a pause, and a stop after a failure: the migration that failed is started again.',
  });
  setHandler(skipUpdate, (input) => portfolio.skip(input), {
    description: 'Leaves out a migration that has not begun or has failed: {"id", "reason", "by"}.',
    validator: (input) => {
      const refusal = portfolio.skipRefusal(input as unknown);
      if (refusal !== undefined) throw new Error(`Refused: ${refusal}`);
    },
  });
  setDefaultSignalHandler((name) => {
    portfolio.unknownSignal(name);
  });
}
