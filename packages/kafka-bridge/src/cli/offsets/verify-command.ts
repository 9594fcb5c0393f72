import type { Command } from 'commander';
import type { CliIo } from '../cli-io.js';
import { option, withKafka, withOutput, withOwlmq } from '../connections.js';
import { exitCodesHelp, type ExitCode } from '../exit-codes.js';
import { withSelection } from './selection-flags.js';

/** `verify-offsets`: do positions at the target stand where they are to? */
export function addVerifyOffsets(program: Command, io: CliIo, end: (exitCode: ExitCode) => void): void {
  const command = program
    .command('verify-offsets')
    .summary('do carried over positions stand where they are to?')
    .description(
      'Reads the positions of groups at the target and compares them with the report of a migrate-offsets, or without one with the positions at the source, translated anew. Reads only.',
    );
  withSelection(command)
    .optionsGroup('Compare with:')
    .addOption(option('--report <file>', 'a report of migrate-offsets; needs the target alone', 'KAFKA_BRIDGE_REPORT'))
    .addHelpText(
      'after',
      `
Examples:
  kafka-bridge verify-offsets --report moved.json
  kafka-bridge verify-offsets --groups payment-service,notification-service
  kafka-bridge verify-offsets --groups payment-service --reverse --output json

What is found, a partition:
  equal    it stands where it is to
  behind   messages come again
  AHEAD    messages would be skipped. Where the group consumes at the target by now it is as it should be
  absent   nothing is committed: the consumers' auto.offset.reset decides
  unknown  where it is to stand could not be translated

${exitCodesHelp('positions are behind or absent, or ahead in a group that consumes by now')}
Here, 4 is also: a position is ahead in a group without members, or was refused.`,
    );
  withOwlmq(withKafka(withOutput(command))).action(async () => {
    const { verifyOffsets } = await import('./verify.js');
    end(await verifyOffsets(command, io));
  });
}
