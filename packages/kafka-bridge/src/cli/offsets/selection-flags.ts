import type { Command } from 'commander';
import { option, switchOption } from '../connections.js';

/** Adds the flags that say which positions are meant. */
export function withSelection(command: Command): Command {
  return command
    .optionsGroup('What to carry over:')
    .addOption(option('--groups <list>', 'groups, with commas; patterns with * and ? too', 'KAFKA_BRIDGE_GROUPS'))
    .addOption(switchOption('--all-groups', 'every group that the source has', 'KAFKA_BRIDGE_ALL_GROUPS'))
    .addOption(
      option(
        '--topics <list>',
        'topics, with commas (default: those that each group has commits on)',
        'KAFKA_BRIDGE_TOPICS',
      ),
    )
    .addOption(switchOption('--reverse', 'from OwlMQ back to Kafka', 'KAFKA_BRIDGE_REVERSE'))
    .optionsGroup('How to translate:')
    .addOption(
      option(
        '--offset-reset <where>',
        "earliest or latest: the consumers' auto.offset.reset, for partitions without a commit (default: refused)",
        'KAFKA_BRIDGE_OFFSET_RESET',
      ),
    )
    .addOption(
      option(
        '--fences <file>',
        "with --reverse: Kafka's offsets at the cutover (default: what each group committed on Kafka)",
        'KAFKA_BRIDGE_FENCES',
      ),
    );
}
