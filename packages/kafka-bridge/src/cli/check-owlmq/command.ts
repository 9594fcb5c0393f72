import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, withOutput, withOwlmq } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';

/** `check-owlmq`: does an endpoint keep the contract of openapi/owlmq.yaml? */
export function addCheckOwlmq(program: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = program
    .command('check-owlmq')
    .summary('does an OwlMQ endpoint keep the contract?')
    .description(
      'Proves call by call whether an endpoint keeps the contract of openapi/owlmq.yaml. Writes to topics and groups of its own alone, whose names begin with --prefix; they stay behind, since the contract has no way to delete them. Needs no Kafka.',
    )
    .optionsGroup('What to check:')
    .addOption(option('--only <list>', 'checks or subjects, with commas, and what they need', 'KAFKA_BRIDGE_ONLY'))
    .option('--list', 'say what the checks are, and end')
    .addOption(option('--prefix <text>', 'begins all names (default: owlmq-check-RANDOM)', 'KAFKA_BRIDGE_PREFIX'))
    .optionsGroup('Its restart, which shows what is on disk:')
    .option('--restart-command <command>', 'run this in a shell to restart the endpoint, best by SIGKILL')
    .option('--restart', 'ask on the terminal for the restart')
    .optionsGroup('How:')
    .addOption(
      option(
        '--lease <ms>',
        'of members that are let fall silent (default: 1000, or 25 times what a request takes)',
        'KAFKA_BRIDGE_LEASE',
      ),
    )
    .addOption(option('--check-timeout <seconds>', 'bound of each check', 'KAFKA_BRIDGE_CHECK_TIMEOUT').default('30'))
    .addOption(option('--timeout <seconds>', 'bound over all, restarts too', 'KAFKA_BRIDGE_TIMEOUT').default('600'))
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge check-owlmq --owlmq-url https://owlmq.example
  kafka-bridge check-owlmq --only publish,ids.concurrent
  kafka-bridge check-owlmq --restart-command 'systemctl kill -s KILL owlmq; systemctl start owlmq'
  kafka-bridge check-owlmq --output json | jq '.checks[] | select(.result == "broken")'
  kafka-bridge check-owlmq --list

Each check is kept, broken or skipped. One that needs a broken one is skipped: mend that one first. Not for an endpoint at
the limit of its load: it is asked some 400 times, also with as many bytes as it allows (up to 64 MiB). The restart shows
what it had in memory alone; without one those checks are skipped. Ctrl-C ends it with what was found so far.

${exitCodesHelp('the contract is broken somewhere')}`,
    );
  withOwlmq(withOutput(command)).action(async () => {
    const { checkOwlmq } = await import('./action.js');
    end(await checkOwlmq(command, io));
  });
}
