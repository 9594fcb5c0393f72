import type { Command } from 'commander';
import { planSteps, words, type MigrationPlan, type PlannedStep } from '../../playbook/index.js';
import { nextOpening } from '../../playbook/next-opening.js';
import type { CliIo } from '../cli-io.js';
import { readOutput } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { readMigrationInput } from '../migration-input-file.js';
import { textTable } from '../text-table.js';

/** A step with the time at which it begins at the earliest. */
interface TimedStep extends PlannedStep {
  /** ISO 8601. */
  earliest: string;
}

/** What `plan` does. */
export async function plan(command: Command, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const { from } = command.opts<{ from?: string }>();
  const output = readOutput(command, inputs);
  const begin = from === undefined ? Date.now() : Date.parse(from);
  if (Number.isNaN(begin))
    inputs.add(`--from must be an ISO 8601 time, such as 2026-12-01T08:00:00Z; "${from}" is none`);
  const migration = await readMigrationInput(command, inputs);
  inputs.settle();
  // Nothing to settle means that it is there.
  if (migration === undefined) throw new Error('there is no input');
  const steps = timed(migration, begin);
  const last = steps.at(-1);
  const atLeastMs = last === undefined ? 0 : Date.parse(last.earliest) + last.atLeastMs - begin;
  if (output === 'json') {
    io.out(`${JSON.stringify({ version: 1, atLeastMs, steps, input: migration }, undefined, 2)}\n`);
    return EXIT.ok;
  }
  const rows = steps.map(({ phase, step, earliest }, index) => [`${index + 1}.`, earliest, phase, step]);
  io.out(`${textTable(['', 'AT THE EARLIEST', 'PHASE', 'STEP'], rows).join('\n')}\n`);
  io.out(`\nIt takes ${words(atLeastMs)} at the least. A rollback is possible at any time up to the last step.\n`);
  return EXIT.ok;
}

function timed(plan: MigrationPlan, begin: number): TimedStep[] {
  const { hours, window } = plan.cutover;
  let at = begin;
  return planSteps(plan).map((step) => {
    if (step.phase === 'cutover' && hours !== undefined) at = nextOpening(hours, window, at) ?? at;
    const earliest = new Date(at).toISOString();
    at += step.atLeastMs;
    return { ...step, earliest };
  });
}
