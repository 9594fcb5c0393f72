import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, withKafka, withOutput } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';

/** `routing show`: what the fleet obeys, and who it is. */
export function addShow(routing: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = routing
    .command('show [migration]')
    .summary('what the fleet obeys, who it is, and what stands out')
    .description(
      'Lists all migrations that have a routing state; with a name, shows its whole state, its members, and what stands out. Listens for up to three seconds, so that it can tell who is alive.',
    )
    .addOption(
      option('--watch [seconds]', 'show it again at this interval, until Ctrl-C', 'KAFKA_BRIDGE_WATCH').preset('2'),
    )
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge routing show --kafka-brokers kafka:9092
  kafka-bridge routing show migrate-orders --watch
  kafka-bridge routing show migrate-orders --output json | jq .standsOut

${exitCodesHelp('something stands out')}`,
    );
  withKafka(withOutput(command)).action(async (migration: string | undefined) => {
    const { show } = await import('./show.js');
    end(await show(command, migration, io));
  });
}
