import type { Command } from 'commander';
import { aclCommands } from '../../preflight/acl-commands.js';
import { neededRights } from '../../preflight/needed-rights.js';
import type { CliIo } from '../cli-io.js';
import { readOutput } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { readMigrationInput } from '../migration-input-file.js';
import { readRole } from '../role-flags.js';

/** What `acls` does. */
export async function aclsAction(command: Command, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const { principal } = command.opts<{ principal: string }>();
  const output = readOutput(command, inputs);
  if (!/^[^:\s]+:\S/.test(principal))
    inputs.add(`--principal must be a type and a name, such as User:worker; "${principal}" is none`);
  const plan = await readMigrationInput(command, inputs);
  const { role, rights: request } = readRole(command, inputs, plan);
  inputs.settle();
  const rights = neededRights(role, request);
  const commands = aclCommands(rights, principal);
  if (output === 'table') io.out(`${commands.join('\n')}\n`);
  else {
    const told = rights.map(({ covers: _, ...right }) => right);
    io.out(`${JSON.stringify({ version: 1, role, principal, rights: told, commands }, undefined, 2)}\n`);
  }
  return EXIT.ok;
}
