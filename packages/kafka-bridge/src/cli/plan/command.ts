import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, withOutput } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';
import { migrationInputFlag } from '../migration-input-flag.js';

/** `plan`: the steps that an input runs, without touching anything. */
export function addPlan(program: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = program
    .command('plan')
    .summary('the steps that an input runs, and when at the earliest')
    .description(
      'Reads the input of a migration, tells everything that is wrong with it, and prints the steps in their order, with the time at which each begins at the earliest: pauses, failed gates, discrepancies and checks that do not pass come on top. Asks neither Kafka nor OwlMQ.',
    )
    .addOption(migrationInputFlag())
    .addOption(option('--from <time>', 'when it is started, ISO 8601 (default: now)', 'KAFKA_BRIDGE_FROM'))
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge plan --input migration.json
  kafka-bridge plan --input migration.json --from 2026-12-01T08:00:00+01:00
  kafka-bridge plan --input migration.json --output json | jq -r '.steps[] | select(.phase == "cutover") | .earliest'

A run that is under way prints its own: temporal workflow query -w WORKFLOW --name plan

${exitCodesHelp('not used')}`,
    );
  withOutput(command).action(async () => {
    const { plan } = await import('./action.js');
    end(await plan(command, io));
  });
}
