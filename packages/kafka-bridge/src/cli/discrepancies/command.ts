import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import type { ExitCode } from '../exit-codes.js';
import { addList } from './list-command.js';
import { addShowDiscrepancy } from './show-command.js';

/** `discrepancies`: what the comparison of shadows with live consumers has found. */
export function addDiscrepancies(program: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = program
    .command('discrepancies')
    .description('what shadows did otherwise than live consumers: list it with what is behind it, or show one message');
  addList(command, io, end);
  addShowDiscrepancy(command, io, end);
}
