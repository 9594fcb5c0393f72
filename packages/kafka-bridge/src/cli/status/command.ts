import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, withOutput } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';

/** `status`: where a migration stands, what it waits for and what to do. */
export function addStatus(program: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = program
    .command('status [migration]')
    .summary('where a migration stands, what it waits for and what to do')
    .description(
      "Asks the worker's live page, which the worker serves where PAGE_ADDRESS is set. Lists all migrations of the worker; with a name (the workflow id), shows one on a screen: what is wrong and what to do first. Reads only.",
    )
    .addOption(
      option(
        '--watch [seconds]',
        'show it again at this interval, until Ctrl-C or the end of the run; a line each where the output is no terminal',
        'KAFKA_BRIDGE_WATCH',
      ).preset('2'),
    )
    .addOption(option('--page-url <url>', "address of the worker's live page; https, or the loopback", 'PAGE_URL'))
    .addOption(option('--page-token-file <file>', 'file with its token; or set PAGE_TOKEN', 'PAGE_TOKEN_FILE'))
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge status --page-url http://127.0.0.1:8090
  kafka-bridge status migrate-orders --watch
  kafka-bridge status migrate-orders --output json | jq .blocked

With no worker: temporal workflow query --type status asks another one, kafka-bridge routing show asks Kafka alone.

${exitCodesHelp('somebody has to look: it is blocked, calls for attention, has no way back, has failed, or could not be read in full')}`,
    );
  withOutput(command).action(async (migration: string | undefined) => {
    const { status } = await import('./action.js');
    end(await status(command, migration, io));
  });
}
