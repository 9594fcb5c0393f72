import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, switchOption, withKafka, withOutput, withOwlmq } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';
import { withSelection } from './selection-flags.js';

/** `migrate-offsets`: positions of groups from one leg to the other. */
export function addMigrateOffsets(program: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = program
    .command('migrate-offsets')
    .summary('carry positions of consumer groups over to OwlMQ, or back')
    .description(
      'Translates what groups have committed on Kafka to offsets of OwlMQ, or back, message by message, and sets them on groups without members, each in full or not at all. A position is never above the true one: what a group has not consumed is not skipped. What comes again is counted and listed. Running it again changes nothing, and finishes what an earlier run did not.',
    );
  withSelection(command)
    .addOption(
      switchOption(
        '--ignore-metadata',
        'leave metadata of commits behind: OwlMQ keeps none (default: refused)',
        'KAFKA_BRIDGE_IGNORE_METADATA',
      ),
    )
    .optionsGroup('How:')
    .addOption(switchOption('--dry-run', 'show what would be written, write nothing', 'KAFKA_BRIDGE_DRY_RUN'))
    .addOption(
      switchOption(
        '--skip-refused',
        'import the others while groups are refused (default: nothing is written then)',
        'KAFKA_BRIDGE_SKIP_REFUSED',
      ),
    )
    .addOption(option('--report <file>', 'write the JSON report to this file, too', 'KAFKA_BRIDGE_REPORT'))
    .addOption(switchOption('--yes', 'do not ask', 'KAFKA_BRIDGE_YES'))
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge migrate-offsets --groups payment-service,notification-service --dry-run
  kafka-bridge migrate-offsets --groups payment-service,notification-service --report moved.json
  kafka-bridge migrate-offsets --all-groups --topics orders.created --skip-refused
  kafka-bridge migrate-offsets --groups 'payment-*' --reverse --fences status.json

Verdicts, a partition:
  exact      the group goes on with exactly the messages that it has not consumed
  bounded    with all of them, and some that it has consumed come again; the report lists their ids
  refused    no position is known that would skip nothing; the reason says what to do

On a terminal it asks before it writes where that is more than what was typed: messages come again, consumers still run at
the source, groups are left out, or another position at the target is replaced. Elsewhere, and with --yes, it does not ask.

Ctrl-C ends it between two groups. --output json prints one document, the report that verify-offsets --report takes.

${exitCodesHelp('messages come again (bounded), or consumers still run at the source')}
Here, 0 is: all exact, and imported, or planned with --dry-run. With --skip-refused it is 4, too, when a group was refused.`,
    );
  withOwlmq(withKafka(withOutput(command))).action(async () => {
    const { migrateOffsets } = await import('./migrate.js');
    end(await migrateOffsets(command, io));
  });
}
