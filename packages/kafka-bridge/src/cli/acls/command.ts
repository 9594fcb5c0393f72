import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, withOutput } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';
import { migrationInputFlag } from '../migration-input-flag.js';
import { withRole } from '../role-flags.js';

/** `acls`: the rights in Kafka that a migration needs, as commands that grant them. */
export function addAcls(program: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = program
    .command('acls')
    .summary('the rights in Kafka that an input needs, as commands that grant them')
    .description(
      "Prints commands of Kafka's kafka-acls.sh for the worker, or for a service that embeds the library: all that it needs, and nothing else. Asks nobody, and changes nothing. They take the brokers from KAFKA_BROKERS, and how an administrator connects from admin.properties.",
    )
    .addOption(migrationInputFlag())
    .addOption(
      option('--principal <name>', 'who is to have them, such as User:worker', 'KAFKA_BRIDGE_PRINCIPAL').default(
        'User:NAME',
      ),
    )
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge acls --input migration.json --principal User:worker
  kafka-bridge acls --input migration.json --as publisher --topics orders.created --principal User:orders
  kafka-bridge acls --input migration.json --as consumer --groups payment-service --principal User:payments | sh
  kafka-bridge acls --input migration.json --output json | jq '.rights[] | [.operation, .resource, .names]'

${exitCodesHelp('not used')}`,
    );
  withRole(withOutput(command)).action(async () => {
    const { aclsAction } = await import('./action.js');
    end(await aclsAction(command, io));
  });
}
