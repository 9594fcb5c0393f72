import type { Command } from 'commander';
import { discrepancyVerdicts } from '../../comparator/verdicts.js';
import type { CliIo } from '../cli-io.js';
import { option, withKafka, withOutput, withOwlmq } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';
import { withMigration } from './migration-flags.js';

/** `discrepancies list`: counts, samples, and what is likely behind them. */
export function addList(discrepancies: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = discrepancies
    .command('list')
    .summary('counts, samples, and what is behind them')
    .description(
      'Shows what the comparison has found: counts by verdict of each group, the newest samples, and a diagnosis with the next command. Needs Kafka alone; with OwlMQ the diagnosis sees more. Reads only. Listens to the members for up to three seconds.',
    )
    .optionsGroup('What to show:');
  withMigration(command)
    .addOption(option('--verdict <verdict>', `of ${discrepancyVerdicts.join(', ')}`, 'KAFKA_BRIDGE_VERDICT'))
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge discrepancies list --migration migrate-orders
  kafka-bridge discrepancies list --migration migrate-orders --group payment-service --verdict missing
  kafka-bridge discrepancies list --migration migrate-orders --output json | jq .diagnoses

${exitCodesHelp('discrepancies were found, or the comparison does not go on')}`,
    );
  withOwlmq(withKafka(withOutput(command))).action(async () => {
    const { list } = await import('./list.js');
    end(await list(command, io));
  });
}
