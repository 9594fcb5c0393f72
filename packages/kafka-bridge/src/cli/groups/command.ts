import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, switchOption, withKafka, withOutput, withOwlmq } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';

/** `groups`: who consumes what, and where they are, on both sides. */
export function addGroups(program: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = program
    .command('groups')
    .summary('who consumes what, and where they are, on both sides')
    .description(
      'Shows consumer groups of Kafka and OwlMQ side by side: kind, state, members, lag, and positions. Needs one side alone; of a side without an address nothing is said. Reads only.',
    )
    .optionsGroup('What to show:')
    .addOption(
      option('--groups <list>', 'groups, with commas; patterns with * and ? too (default: all)', 'KAFKA_BRIDGE_GROUPS'),
    )
    .addOption(switchOption('--all-groups', 'every group of either side', 'KAFKA_BRIDGE_ALL_GROUPS'))
    .addOption(
      option(
        '--topics <list>',
        'topics, with commas (default: those that groups have commits on)',
        'KAFKA_BRIDGE_TOPICS',
      ),
    )
    .addOption(option('--side <side>', 'kafka, owlmq or both (default: what has an address)', 'KAFKA_BRIDGE_SIDE'))
    .addOption(switchOption('--members', 'who is in each group, a line a member', 'KAFKA_BRIDGE_MEMBERS'))
    .addOption(
      switchOption(
        '--positions',
        'where each group is, a line a partition (default: for one group)',
        'KAFKA_BRIDGE_POSITIONS',
      ),
    )
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge groups
  kafka-bridge groups --groups payment-service --members
  kafka-bridge groups --groups 'payment-*' --topics orders.created --positions
  kafka-bridge groups --side kafka --output json | jq '.groups[] | select(.kafka.lag > 0) | .group'

Columns of a side:
  KAFKA, OWLMQ  state of the group there; - where that side does not know it. With --positions: its position
  TOPICS        topics that it has committed on
  LAG           messages behind, over all partitions with a commit
  NO COMMIT     partitions without one: there the consumers' auto.offset.reset decides

Kinds: classic and consumer (KIP-848) can be moved. share, streams, connect and other cannot, and it says why.
--output json has positions and members always.

${exitCodesHelp('a group that was named, or a pattern, is not there')}`,
    );
  withOwlmq(withKafka(withOutput(command))).action(async () => {
    const { groups } = await import('./action.js');
    end(await groups(command, io));
  });
}
