import type { Command } from 'commander';
import { kafkaGroups } from '../../groups/group-standing.js';
import { matchGroups } from '../../groups/match-groups.js';
import { ClusterAdmin } from '../../kafka/cluster-admin.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { LogReader } from '../../kafka/log-reader.js';
import { furthest, readLastPositions, withRecordsBehind, type KafkaPosition } from '../../offsets/position-log.js';
import { CliError } from '../cli-error.js';
import type { CliIo } from '../cli-io.js';
import { readKafka, readOutput } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { reachKafka } from '../reach-kafka.js';
import { textTable } from '../text-table.js';
import { ago, count, plural, printable } from '../words.js';
import { inUse, isInUse } from './members-in-words.js';

interface RestoreRequest {
  migration: string;
  patterns: string[];
  dryRun: boolean;
  yes: boolean;
  output: 'table' | 'json';
}

/** Where a group is to go on, of one partition. */
type RestoredPosition = KafkaPosition & { behind: number };

const CLIENT_ID = 'kafka-bridge';

/** What `restore-offsets` does. */
export async function restoreOffsets(command: Command, migration: string, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const connection = readKafka(command, inputs);
  const request = readRequest(command, migration, inputs, io);
  inputs.settle();
  if (connection === undefined) return EXIT.input;
  await reachKafka(connection, io);
  const admin = new ClusterAdmin(connection, { clientId: CLIENT_ID });
  const reader = new LogReader(connection, { clientId: CLIENT_ID });
  try {
    return await restore(request, connection, { admin, reader }, io);
  } finally {
    await Promise.all([admin.close(), reader.close()]);
  }
}

function readRequest(command: Command, migration: string, inputs: Inputs, io: CliIo): RestoreRequest {
  const given = command.opts<{ groups?: string; dryRun?: string; yes?: string }>();
  const request = {
    migration,
    patterns: inputs.list(given.groups),
    dryRun: inputs.on('--dry-run', given.dryRun),
    yes: inputs.on('--yes', given.yes),
    output: readOutput(command, inputs),
  };
  if (!request.yes && !request.dryRun && io.ask === undefined) {
    inputs.add('there is no terminal to confirm on: give --yes, or --dry-run to see what would be set');
  }
  return request;
}

async function restore(
  request: RestoreRequest,
  connection: KafkaConnection,
  { admin, reader }: { admin: ClusterAdmin; reader: LogReader },
  io: CliIo,
): Promise<ExitCode> {
  const { migration, patterns, dryRun, yes, output } = request;
  const noted = await readLastPositions(reader, migration);
  if (noted.at === undefined) {
    throw new CliError(
      EXIT.refused,
      `No positions were noted for the migration "${printable(migration)}" on ${connection.brokers.join(', ')}: it was not warm, or has another name. Groups that have committed nothing on Kafka since the cutover go on at its fence. Nothing was written.`,
    );
  }
  const names = [...new Set(noted.positions.map(({ group }) => group))].sort();
  const { matched, unmatched } = matchGroups(patterns.length === 0 ? ['*'] : patterns, names);
  if (unmatched.length > 0) {
    const known = names.map(printable).join(', ');
    throw new CliError(
      EXIT.refused,
      `Nothing was noted of ${unmatched.join(', ')}. There are: ${known}. Nothing was written.`,
    );
  }
  const standings = await kafkaGroups(admin, matched);
  const used = standings.filter(isInUse);
  if (used.length > 0) throw new CliError(EXIT.refused, `Nothing was written: ${used.map(inUse).join('\n')}`);

  const own = noted.positions.filter(({ group }) => matched.includes(group));
  const places = new Set(own.map(placeOf));
  // What a group has committed on Kafka it has consumed, too.
  const committed = standings.flatMap(({ group, offsets }) => offsets.map((commit) => ({ ...commit, group })));
  const positions = await withRecordsBehind(
    reader,
    furthest([...own, ...committed.filter((commit) => places.has(placeOf(commit))).map(bare)]),
  );
  const said = output === 'json' ? io.err : io.out;
  said(`${planLines(positions, noted.at).join('\n')}\n`);
  if (!dryRun && !yes && io.ask !== undefined) {
    const answer = await io.ask(
      `Set ${plural(matched.length, 'group')}? Type yes to go on, anything else to leave it: `,
    );
    if (answer.trim().toLowerCase() !== 'yes') throw new CliError(EXIT.refused, 'Not confirmed: nothing was written.');
  }
  const set: string[] = [];
  if (!dryRun) {
    for (const group of matched) {
      await admin.setGroupOffsets(
        group,
        positions.filter((position) => position.group === group),
      );
      set.push(group);
      said(`${printable(group)}: set, and read back.\n`);
    }
  }
  const redeliveriesAtMost = positions.reduce((sum, { behind }) => sum + behind, 0);
  if (output === 'json') {
    const report = { version: 1, migration, notedAt: noted.at, dryRun, set, redeliveriesAtMost, positions };
    io.out(`${JSON.stringify(report, undefined, 2)}\n`);
  }
  return redeliveriesAtMost === 0 ? EXIT.ok : EXIT.differences;
}

function placeOf({ group, topic, partition }: Omit<KafkaPosition, 'offset'>): string {
  return JSON.stringify([group, topic, partition]);
}

function bare({ group, topic, partition, offset }: KafkaPosition): KafkaPosition {
  return { group, topic, partition, offset };
}

function planLines(positions: readonly RestoredPosition[], notedAt: string): string[] {
  const rows = new Map<string, { group: string; topic: string; partitions: number; behind: number }>();
  for (const { group, topic, behind } of positions) {
    const key = JSON.stringify([group, topic]);
    const row = rows.get(key) ?? { group, topic, partitions: 0, behind: 0 };
    rows.set(key, { ...row, partitions: row.partitions + 1, behind: row.behind + behind });
  }
  return [
    ...textTable(
      ['GROUP', 'TOPIC', 'PARTITIONS', 'COME AGAIN AT MOST'],
      [...rows.values()].map(({ group, topic, partitions, behind }) => [
        printable(group),
        printable(topic),
        count(partitions),
        count(behind),
      ]),
    ),
    '',
    `Positions as of ${ago(notedAt)} (${notedAt}), when OwlMQ last told them.`,
  ];
}
