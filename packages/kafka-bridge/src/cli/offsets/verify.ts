import type { Command } from 'commander';
import { owlmqGroups, kafkaGroups, type GroupStanding } from '../../groups/group-standing.js';
import { unlessAborted } from '../../async/bounded.js';
import { matchGroups } from '../../groups/match-groups.js';
import { ClusterAdmin } from '../../kafka/cluster-admin.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { OwlmqClient } from '../../owlmq/owlmq-client.js';
import { CliError } from '../cli-error.js';
import type { CliIo } from '../cli-io.js';
import { readKafka, readOutput, readOwlmq } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { reachKafka } from '../reach-kafka.js';
import { count, plural, printable } from '../words.js';
import { compare, comparisonLines, type Comparison } from './comparison.js';
import { findGroups, translate } from './plan.js';
import { Progress } from './progress.js';
import { readReport, type GroupReport, type MigrationReport } from './report.js';
import { readSelection, type Selection } from './selection.js';
import { standings, withSystems } from './systems.js';

type OwlmqAddress = { url: string; apiKey: string };

/** What `verify-offsets` does. */
export async function verifyOffsets(command: Command, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const { report: file } = command.opts<{ report?: string }>();
  const report = file === undefined ? undefined : await reportIn(file, inputs);
  const selection = await readSelection(command, inputs, file === undefined);
  const output = readOutput(command, inputs);
  if (report !== undefined) checkAgainst(report, selection, inputs);
  const toOwlmq = report === undefined ? undefined : report.direction === 'kafka-to-owlmq';
  const connection = toOwlmq === true ? undefined : readKafka(command, inputs);
  const owlmq = toOwlmq === false ? undefined : readOwlmq(command, inputs, io);
  inputs.settle();

  const stop = new AbortController();
  const release = io.onInterrupt(() => {
    stop.abort();
  });
  try {
    if (connection !== undefined && !(await reachKafka(connection, io, stop.signal))) return EXIT.interrupted;
    const comparison =
      report === undefined
        ? await againstSource(selection, { connection, owlmq }, io, stop.signal)
        : await againstReport(report, selection, { connection, owlmq }, stop.signal);
    if (comparison === undefined) {
      io.err('Ended by Ctrl-C.\n');
      return EXIT.interrupted;
    }
    if (output === 'json') io.out(`${JSON.stringify(comparison, undefined, 2)}\n`);
    else io.out(`${comparisonLines(comparison).map(printable).join('\n')}\n`);
    return comparison.exitCode;
  } finally {
    release();
  }
}

async function reportIn(file: string, inputs: Inputs): Promise<MigrationReport | undefined> {
  try {
    return await readReport(file);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    inputs.add(`--report: ${error.message}`);
    return undefined;
  }
}

function checkAgainst({ direction, groups }: MigrationReport, selection: Selection, inputs: Inputs): void {
  if (selection.from === 'owlmq' && direction === 'kafka-to-owlmq') {
    inputs.add('--report is of positions carried over to OwlMQ: leave out --reverse');
  }
  if (selection.reset !== undefined || selection.fences !== undefined) {
    inputs.add('--offset-reset and --fences are for a new translation: with --report leave them out');
  }
  const { unmatched } = matchGroups(
    selection.patterns,
    groups.map(({ group }) => group),
  );
  for (const pattern of unmatched) inputs.add(`--report has no group ${pattern}`);
}

async function againstReport(
  report: MigrationReport,
  { patterns, topics }: Selection,
  systems: { connection: KafkaConnection | undefined; owlmq: OwlmqAddress | undefined },
  signal: AbortSignal,
): Promise<Comparison | undefined> {
  const names = report.groups.map(({ group }) => group);
  const wanted = patterns.length === 0 ? names : matchGroups(patterns, names).matched;
  const groups = report.groups
    .filter(({ group, outcome }) => wanted.includes(group) && outcome !== 'passed-over')
    .map((group) => ({
      ...group,
      partitions: group.partitions.filter(({ topic }) => topics?.includes(topic) ?? true),
    }));
  const found = await targetStandings(
    groups.map(({ group }) => group),
    systems,
    signal,
  );
  return found && compare({ direction: report.direction, against: 'report', groups, standings: found });
}

async function targetStandings(
  groups: readonly string[],
  { connection, owlmq }: { connection: KafkaConnection | undefined; owlmq: OwlmqAddress | undefined },
  signal: AbortSignal,
): Promise<GroupStanding[] | undefined> {
  if (owlmq !== undefined) {
    const client = new OwlmqClient(owlmq);
    try {
      return await unlessAborted(owlmqGroups(client, groups), signal);
    } finally {
      await client.close();
    }
  }
  if (connection === undefined) return [];
  const admin = new ClusterAdmin(connection, { clientId: 'kafka-bridge' });
  try {
    return await unlessAborted(kafkaGroups(admin, groups), signal);
  } finally {
    await admin.close();
  }
}

async function againstSource(
  selection: Selection,
  { connection, owlmq }: { connection: KafkaConnection | undefined; owlmq: OwlmqAddress | undefined },
  io: CliIo,
  signal: AbortSignal,
): Promise<Comparison | undefined> {
  if (connection === undefined || owlmq === undefined) return undefined;
  return await withSystems(connection, owlmq, async (systems) => {
    const asked = { ...selection, ignoreMetadata: true };
    const plan = await unlessAborted(findGroups(systems, asked, { targetInUse: 'allowed' }), signal);
    if (plan === undefined) return undefined;
    const progress = new Progress(io);
    try {
      await translate(systems, asked, plan, {
        signal,
        onProgress: ({ done, of }) => {
          progress.show(`${count(done)} of ${plural(of, 'partition')} translated`);
        },
      });
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    } finally {
      progress.clear();
    }
    const groups: GroupReport[] = plan.groups
      .map(({ report }) => report)
      .filter(({ outcome }) => outcome !== 'passed-over');
    // Read after the translation: a group that consumes meanwhile is ahead of it, never behind.
    const found = await unlessAborted(
      standings(
        systems,
        selection.to,
        groups.map(({ group }) => group),
      ),
      signal,
    );
    if (found === undefined) return undefined;
    const direction = selection.to === 'owlmq' ? 'kafka-to-owlmq' : 'owlmq-to-kafka';
    return compare({ direction, against: 'translation', groups, standings: [...found.values()] });
  });
}
