import type { Command } from 'commander';
import { readVerdicts, type VerdictLog } from '../../comparator/verdict-log.js';
import {
  standingVerdicts,
  VERDICTS_TOPIC,
  type GroupVerdicts,
  type MigrationVerdicts,
} from '../../comparator/verdict-record.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { type LogReader, UnknownTopicError } from '../../kafka/log-reader.js';
import { CliError } from '../cli-error.js';
import type { CliIo } from '../cli-io.js';
import { EXIT } from '../exit-codes.js';
import type { Inputs } from '../inputs.js';
import { standingStates, stateOf, withRouting } from '../routing/open-routing.js';
import { plural } from '../words.js';

/** The migration that was named; its absence is added to the inputs. */
export function readMigration(command: Command, inputs: Inputs): { migration: string; group: string | undefined } {
  const { migration = '', group } = command.opts<{ migration?: string; group?: string }>();
  if (migration.trim() === '') inputs.add('--migration is needed: the workflow id of the migration');
  return { migration, group };
}

/**
 * What the comparison that stands has found, of the group that was named or of all.
 *
 * @throws {CliError} when there is no such migration, nothing was compared yet, or the group is not compared.
 */
export async function standingFindings(
  { connection, reader, io }: { connection: KafkaConnection; reader: LogReader; io: CliIo },
  migration: string,
  group: string | undefined,
): Promise<MigrationVerdicts> {
  const log = await verdictLog(reader, migration);
  if (log !== undefined && log.unreadable > 0) {
    io.err(
      `Warning: ${plural(log.unreadable, 'record')} of ${VERDICTS_TOPIC} cannot be read by this version and are left out.\n`,
    );
  }
  const found = log === undefined ? undefined : standingVerdicts(log.records);
  if (found === undefined) return await nothingCompared(connection, migration, log === undefined);
  for (const { group: name, missingParts } of found.groups) {
    if (missingParts > 0) {
      io.err(
        `Warning: group ${name}: ${plural(missingParts, 'part')} of the comparison has not written yet; figures are without it.\n`,
      );
    }
  }
  if (group === undefined) return found;
  const groups = found.groups.filter((one) => one.group === group);
  if (groups.length > 0) return { ...found, groups };
  const known = found.groups.map((one) => one.group).join(', ');
  throw new CliError(EXIT.refused, `Group "${group}" is not compared by ${migration}. Compared are: ${known}.`);
}

/** Discrepancies that are counted in a group, of all verdicts or one. */
export function discrepanciesOf({ counts }: GroupVerdicts, verdicts: readonly (keyof typeof counts)[]): number {
  return verdicts.reduce((sum, verdict) => sum + counts[verdict], 0);
}

/** Undefined when there is no topic of verdicts. */
async function verdictLog(reader: LogReader, migration: string): Promise<VerdictLog | undefined> {
  try {
    return await readVerdicts(reader, migration);
  } catch (error) {
    if (!(error instanceof UnknownTopicError)) throw error;
    return undefined;
  }
}

async function nothingCompared(connection: KafkaConnection, migration: string, noTopic: boolean): Promise<never> {
  const state = await withRouting(connection, async (writer) =>
    stateOf(migration, await standingStates(connection, writer)),
  );
  const why = noTopic
    ? `Topic ${VERDICTS_TOPIC} does not exist, or this user may not see it: the worker makes it at its start.`
    : state.shadow === 'compare'
      ? 'Shadows run, so the first figures are due within seconds of the worker comparing them.'
      : `Its routing state says shadow ${state.shadow}: the comparison begins with the soak, and the routing state stays behind it.`;
  throw new CliError(
    EXIT.refused,
    `Nothing was compared yet in the migration "${migration}". ${why} ` +
      `See where it stands: temporal workflow query --workflow-id ${migration} --type status`,
  );
}
