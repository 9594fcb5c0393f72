import { readFileSync } from 'node:fs';
import { Command, CommanderError, Help } from 'commander';
import { addAcls } from './acls/command.js';
import { addAudit } from './audit/command.js';
import { addCheckOwlmq } from './check-owlmq/command.js';
import type { CliIo } from './cli-io.js';
import { withConfigFile } from './config-file.js';
import { SWITCH_VALUE } from './connections.js';
import { addDiscrepancies } from './discrepancies/command.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { addGroups } from './groups/command.js';
import { addMigrateOffsets } from './offsets/migrate-command.js';
import { addRestoreOffsets } from './offsets/restore-command.js';
import { addVerifyOffsets } from './offsets/verify-command.js';
import { addPlan } from './plan/command.js';
import { addPreflight } from './preflight/command.js';
import { addSet } from './routing/set-command.js';
import { addShow } from './routing/show-command.js';
import { addStatus } from './status/command.js';
import { printable } from './words.js';

/**
 * Runs the command with the arguments behind its name, and resolves with its exit code. Flags that are not given are
 * taken from the environment of the process.
 */
export async function runCli(args: readonly string[], io: CliIo): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.ok;
  const program = kafkaBridge(io, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    // Commander has said what is wrong with the arguments, or printed the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.input;
    const { failureOf } = await import('./failures.js');
    const failure = failureOf(error);
    // Errors name groups, topics and clients as others have called them.
    io.err(`kafka-bridge: ${failure.message.split('\n').map(printable).join('\n')}\n`);
    return failure.exitCode;
  }
}

function kafkaBridge(io: CliIo, end: (exitCode: ExitCode) => void): Command {
  const program = new Command('kafka-bridge')
    .description('Tools for a migration from Kafka to OwlMQ, for when it must be looked at or moved by hand.')
    .version(version())
    .exitOverride()
    .configureOutput({ writeOut: io.out, writeErr: io.err })
    .configureHelp({
      showGlobalOptions: true,
      optionTerm: ({ flags }) => flags.replace(SWITCH_VALUE, ''),
      optionDescription: (option) => new Help().optionDescription(option).replace('preset: "true", ', ''),
    })
    .addHelpText(
      'after',
      `
In the life of a migration:
  kafka-bridge check-owlmq --owlmq-url https://…                       does this endpoint keep the OwlMQ contract?
  kafka-bridge plan --input migration.json                             which steps will it run, and when?
  kafka-bridge preflight --input migration.json                        what is in its way?
  kafka-bridge acls --input migration.json --principal User:worker     which rights in Kafka does it need?
  kafka-bridge status migrate-orders --watch                           where it stands, and what to do
  kafka-bridge routing show migrate-orders                             what the fleet obeys, and who does
  kafka-bridge audit --migration migrate-orders                        does OwlMQ have every copy?
  kafka-bridge discrepancies list --migration migrate-orders           what did shadows do otherwise, and why?
  kafka-bridge groups                                                  who consumes what, and where are they, on both sides?
  kafka-bridge migrate-offsets --groups payment-service --dry-run      where would the group go on?
  kafka-bridge migrate-offsets --groups payment-service                set it, while the group has no members
  kafka-bridge verify-offsets --groups payment-service                 does it stand there?
  kafka-bridge migrate-offsets --groups payment-service --reverse      back to Kafka
  kafka-bridge routing set migrate-orders --help                       break-glass, with Temporal down
  kafka-bridge restore-offsets migrate-orders --dry-run                break-glass, with OwlMQ dead

Connections come from flags or the environment; those of the worker are understood: KAFKA_BROKERS, KAFKA_TLS…, KAFKA_SASL_…,
OWLMQ_URL, OWLMQ_API_KEY. Flags may stand in a file, too: --config FILE, or KAFKA_BRIDGE_CONFIG. A flag goes before the
environment, and that before the file. Every command has --help, with its exit codes.`,
    );
  program.hook('preAction', (_, command) => {
    forgetEmptyVariables(command);
  });
  withConfigFile(program, io);
  program.commandsGroup('Before the start:');
  addPlan(program, io, end);
  addPreflight(program, io, end);
  addAcls(program, io, end);
  program.commandsGroup('The migration:');
  addStatus(program, io, end);
  program.commandsGroup('The fleet:');
  const routing = program.command('routing').description('the state that the fleet obeys: show it, or set it by hand');
  addShow(routing, io, end);
  addSet(routing, io, end);
  program.commandsGroup('Messages:');
  addAudit(program, io, end);
  addDiscrepancies(program, io, end);
  addCheckOwlmq(program, io, end);
  program.commandsGroup('Positions of consumer groups:');
  addGroups(program, io, end);
  addMigrateOffsets(program, io, end);
  addVerifyOffsets(program, io, end);
  addRestoreOffsets(program, io, end);
  program.commandsGroup('Help:').helpCommand('help [command]', 'what a command does, its flags and exit codes');
  return program;
}

/** A variable that is set to nothing counts as not set. */
function forgetEmptyVariables(command: Command): void {
  for (const option of command.options) {
    const [{ envVar }, name] = [option, option.attributeName()];
    const value: unknown = option.defaultValue;
    if (envVar === undefined || process.env[envVar] !== '') continue;
    if (command.getOptionValueSource(name) !== 'env') continue;
    command.setOptionValueWithSource(name, value, value === undefined ? undefined : 'default');
  }
}

function version(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
