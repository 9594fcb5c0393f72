import { Option, type Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, withKafka, withOutput } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';

/** `routing set`: writes a state by hand. */
export function addSet(routing: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = routing
    .command('set <migration>')
    .summary('break-glass: write a routing state by hand, without Temporal')
    .description(
      'Break-glass, for when the workflow cannot: writes a routing state with a higher epoch, which the running fleet obeys within its lease. Needs Kafka alone. Shows what changes, what follows from it and what is at risk, and asks first. What is not named stays as it is.',
    )
    .optionsGroup('What to change (by flag only, so that nothing changes unseen):')
    .option(
      '--back-to-kafka',
      'everything on Kafka: primary and live kafka, ratio 0 (or --ratio), no shadow, fence, drain',
    )
    .option('--primary <leg>', 'whose acknowledgement publish() needs: kafka or owlmq')
    .option('--live <leg>', 'where consumers run apply: kafka or owlmq')
    .option('--ratio <number>', 'share of messages copied to OwlMQ while Kafka is primary, 0 to 1')
    .option('--shadow <mode>', 'shadow consumers: off or observe (compare and noise are set by the workflow alone)')
    .option('--fence <reason>', 'publishers hold')
    .option('--no-fence', 'publishers go on')
    .option('--drain <how>', '"stop": consumers commit where they are and apply nothing more')
    .option('--no-drain', 'consumers go on')
    .option('--mirror', 'write the other leg, too')
    .option('--no-mirror', 'FINAL: the other leg is written no more; needs --confirm-final')
    .option('--confirm-final <migration>', "the migration's name once more, to change what --mirror says")
    .optionsGroup('How:')
    .addOption(option('--reason <text>', 'why; members and later readers see it (required)', 'KAFKA_BRIDGE_REASON'))
    .addOption(option('--by <name>', 'who (default: your user)', 'KAFKA_BRIDGE_BY'))
    .option('--expect-epoch <number>', 'write only if this epoch stands')
    .addOption(
      option(
        '--wait <seconds>',
        'how long to wait for the members (default: lease and 5 s; 0: not)',
        'KAFKA_BRIDGE_WAIT',
      ),
    )
    .addOption(new Option('--yes', 'do not ask'))
    .option('--dry-run', 'show what would change, write nothing')
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge routing set migrate-orders --back-to-kafka --reason 'OwlMQ answers 500' --dry-run
  kafka-bridge routing set migrate-orders --fence 'switch by hand' --drain stop --reason 'Temporal is down'
  kafka-bridge routing set migrate-orders --no-fence --no-drain --reason 'all clear' --expect-epoch 10000
  kafka-bridge routing set migrate-orders --ratio 0 --reason 'OwlMQ is full' --yes --output json

docs/operations.md tells the whole way, step by step.

${exitCodesHelp('written, and living members do not follow yet')}`,
    );
  withKafka(withOutput(command)).action(async (migration: string) => {
    const { set } = await import('./set.js');
    end(await set(command, migration, io));
  });
}
