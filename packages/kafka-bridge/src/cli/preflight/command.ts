import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, withKafka, withOutput, withOwlmq } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';
import { migrationInputFlag } from '../migration-input-flag.js';
import { withRole } from '../role-flags.js';

/** `preflight`: everything that is in the way of a migration, before it is started. */
export function addPreflight(program: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = program
    .command('preflight')
    .summary('everything in Kafka and OwlMQ that is in the way of an input')
    .description(
      "Looks at both systems for what the first step of a migration looks for, and tells all of it at once, with what to do. Reads only. What only the worker can see it checks when the migration is started: Temporal's namespace, webhooks, clocks. With --as publisher or consumer it looks, with the connection of such a service, at the rights in Kafka that the service needs, and at nothing else.",
    )
    .addOption(migrationInputFlag())
    .addOption(
      option(
        '--migration <name>',
        'the workflow id that it will have: what an earlier run of that name left is found (default: none)',
        'KAFKA_BRIDGE_MIGRATION',
      ),
    )
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge preflight --input migration.json --migration migrate-orders
  kafka-bridge preflight --input migration.json --as consumer --groups payment-service
  kafka-bridge preflight --input migration.json --output json | jq '.findings[] | select(.kind != "warning")'

Kinds of findings:
  input    cured by other input: the migration would fail at once, with nothing changed
  state    cured by acting on a system: the migration would wait for it before it begins
  warning  it begins all the same

${exitCodesHelp('something stands in the way; warnings alone do not')}`,
    );
  withOwlmq(withKafka(withRole(withOutput(command)))).action(async () => {
    const { preflightAction } = await import('./action.js');
    end(await preflightAction(command, io));
  });
}
