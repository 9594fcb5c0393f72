import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { InvalidInputError, parseMigrationInput, type MigrationPlan } from '../playbook/index.js';
import type { Inputs } from './inputs.js';

/** The input that was named; undefined when its problems were added to the others. */
export async function readMigrationInput(command: Command, inputs: Inputs): Promise<MigrationPlan | undefined> {
  const { input: file } = command.opts<{ input?: string }>();
  if (file === undefined || file === '') {
    inputs.add('--input must name the file that the workflow is to be started with');
    return undefined;
  }
  try {
    const json = file === '-' ? await text(process.stdin) : await readFile(file, 'utf8');
    return parseMigrationInput(JSON.parse(json) as unknown);
  } catch (error) {
    if (error instanceof InvalidInputError) for (const problem of error.problems) inputs.add(`${file}: ${problem}`);
    else if (error instanceof SyntaxError) inputs.add(`${file} is no JSON: ${error.message}`);
    else if (isSystemError(error)) inputs.add(`${file} cannot be read: ${error.message}`);
    else throw error;
    return undefined;
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error;
}
