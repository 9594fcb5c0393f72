import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, switchOption, withKafka, withOutput } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';

/** `restore-offsets`: positions of groups in Kafka, by what was noted while OwlMQ still answered. */
export function addRestoreOffsets(program: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = program
    .command('restore-offsets')
    .summary('with OwlMQ dead: set groups on Kafka where they last were')
    .description(
      'Break-glass, for a way back to Kafka without OwlMQ: sets groups without members to the positions that the worker noted every ten seconds since the cutover. Nothing that a group has not consumed is skipped; what it consumed since the last note comes again. A group that has committed more on Kafka stays there. Needs Kafka alone. While OwlMQ answers, migrate-offsets --reverse is exact.',
    )
    .argument('<migration>', 'name of the migration: the workflow id')
    .optionsGroup('What to restore:')
    .addOption(
      option('--groups <list>', 'groups, with commas; patterns with * and ? too (default: all)', 'KAFKA_BRIDGE_GROUPS'),
    )
    .optionsGroup('How:')
    .addOption(switchOption('--dry-run', 'show what would be set, set nothing', 'KAFKA_BRIDGE_DRY_RUN'))
    .addOption(switchOption('--yes', 'do not ask', 'KAFKA_BRIDGE_YES'))
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge restore-offsets migrate-orders --dry-run
  kafka-bridge restore-offsets migrate-orders --yes

${exitCodesHelp('messages come again, no more than shown')}`,
    );
  withKafka(withOutput(command)).action(async (migration: string) => {
    const { restoreOffsets } = await import('./restore.js');
    end(await restoreOffsets(command, migration, io));
  });
}
