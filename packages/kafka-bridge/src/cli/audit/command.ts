import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, withKafka, withOutput, withOwlmq } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';

/** `audit`: parity of the legs, by hand. */
export function addAudit(program: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = program
    .command('audit')
    .summary('does each leg have what it is to have?')
    .description(
      'Proves message by message that OwlMQ has every copy that was intended, or that both legs are equal. Reads only, unless --repair is given. A copy younger than the grace is waited for, so it may run while services publish.',
    )
    .optionsGroup('What to prove:')
    .addOption(option('--topics <list>', "topics, with commas (default: the migration's)", 'KAFKA_BRIDGE_TOPICS'))
    .addOption(
      option('--migration <name>', 'takes topics, and forwarding, from its routing state', 'KAFKA_BRIDGE_MIGRATION'),
    )
    .addOption(
      option(
        '--direction <which>',
        'kafka-to-owlmq: before the cutover; both: after it',
        'KAFKA_BRIDGE_DIRECTION',
      ).default('kafka-to-owlmq'),
    )
    .addOption(
      option(
        '--from <where...>',
        'beginning; end; an ISO time; coverage FILE; checkpoint FILE (default: beginning)',
        'KAFKA_BRIDGE_FROM',
      ),
    )
    .optionsGroup('How:')
    .addOption(
      option(
        '--checkpoint <file>',
        'go on from this file if it exists, and keep the place in it',
        'KAFKA_BRIDGE_CHECKPOINT',
      ),
    )
    .option('--repair', 'write what is missing')
    .option('--no-repair', 'count it only (default)')
    .option('--follow', 'go on with what comes, until Ctrl-C')
    .addOption(
      option('--grace <seconds>', 'how long a copy may take before it is missing', 'KAFKA_BRIDGE_GRACE').default('60'),
    )
    .addHelpText(
      'after',
      `
Where to begin:
  beginning        of the logs
  end              of the logs: what comes from now on, with --follow
  TIME             2026-03-01T14:00:00Z: messages of then and later
  coverage FILE    offsets by topic, {"orders.created": [0, 17]}; of both legs, {"kafka": …, "owlmq": …}; or the output
                   of the workflow's status query after the cutover, whose fences are taken
  checkpoint FILE  where another audit was, with its figures; the file stays as it is

Examples:
  kafka-bridge audit --topics orders.created
  kafka-bridge audit --migration migrate-orders --repair --checkpoint orders.json
  kafka-bridge audit --topics orders.created --direction both --from 2026-03-01T14:00:00Z
  kafka-bridge audit --topics orders.created --from end --follow

Ctrl-C ends it after the page in hand; with --checkpoint the same command goes on exactly there. --output json prints at
the end. Both ways it takes at least the grace where Kafka lacks something: that is counted from when it is first missed.

${exitCodesHelp('a leg lacks messages, or has copies in another partition')}`,
    );
  withOwlmq(withKafka(withOutput(command))).action(async () => {
    const { audit } = await import('./action.js');
    end(await audit(command, io));
  });
}
