import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { withKafka, withOutput } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';
import { withMigration } from './migration-flags.js';

/** `discrepancies show`: one message, both sides side by side. */
export function addShowDiscrepancy(discrepancies: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = discrepancies
    .command('show <id>')
    .summary('one message: both sides, and how to acknowledge it')
    .description(
      'Shows every sample of a message id with what each side observed, side by side, and the command that acknowledges exactly this kind of discrepancy. Needs Kafka alone. Reads only.',
    )
    .optionsGroup('What to show:');
  withMigration(command)
    .option('--values', 'captured outputs too, in clear, where the service captures them')
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge discrepancies show --migration migrate-orders 0190f3c2-7a30-7c3e-8a55-2f6d3f1f9f10
  kafka-bridge discrepancies show --migration migrate-orders --output json 0190f3c2-… | jq '.samples[].acknowledge'

${exitCodesHelp('an observation is not in the log any more')}`,
    );
  withKafka(withOutput(command)).action(async (id: string) => {
    const { show } = await import('./show.js');
    end(await show(command, id, io));
  });
}
