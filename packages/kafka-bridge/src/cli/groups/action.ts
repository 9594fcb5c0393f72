import type { Command } from 'commander';
import { matchGroups } from '../../groups/match-groups.js';
import { ClusterAdmin } from '../../kafka/cluster-admin.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { LogReader } from '../../kafka/log-reader.js';
import { OwlmqClient } from '../../owlmq/owlmq-client.js';
import { CliError } from '../cli-error.js';
import type { CliIo } from '../cli-io.js';
import { readKafka, readOutput, readOwlmq, readOwlmqIfGiven } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { didYouMean, nearNames } from '../near-names.js';
import { reachKafka } from '../reach-kafka.js';
import { legName, plural, printable } from '../words.js';
import { kafkaSide, owlmqSide, type Side } from '../../groups/sides.js';
import { sideReports } from './group-report.js';
import { groupLines, memberLines, positionLines, refusalLines, type GroupReport } from './tables.js';

const CLIENT_ID = 'kafka-bridge';

interface GroupsFlags {
  groups?: string;
  allGroups?: string;
  topics?: string;
  side?: string;
  members?: string;
  positions?: string;
}

interface GroupsRequest {
  /** Names, or patterns with * and ?. Empty for all groups. */
  patterns: string[];
  /** Undefined: those that groups have commits on. */
  topics: string[] | undefined;
  members: boolean;
  positions: boolean;
  output: 'table' | 'json';
}

interface Found {
  groups: GroupReport[];
  /** What was asked for and no side has, with names that may have been meant. */
  unknown: { group: string; near: string[] }[];
}

/** What `groups` does. */
export async function groups(command: Command, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const { connection, owlmq } = readSides(command, inputs, io);
  const request = readRequest(command, inputs);
  inputs.settle();

  if (connection !== undefined) await reachKafka(connection, io);
  const { sides, close } = openSides(connection, owlmq);
  try {
    const found = await look(sides, request, io);
    if (request.output === 'json') {
      const document = { at: new Date().toISOString(), sides: sides.map(({ leg }) => leg), ...found };
      io.out(`${JSON.stringify(document, undefined, 2)}\n`);
    } else {
      io.out(`${tableLines(sides, request, found).join('\n')}\n`);
    }
    for (const { group, near } of found.unknown) io.err(`${unknownLine(sides, group, near)}\n`);
    return found.unknown.length > 0 ? EXIT.differences : EXIT.ok;
  } finally {
    await close();
  }
}

/** The connections to the sides that are meant. */
function readSides(
  command: Command,
  inputs: Inputs,
  io: CliIo,
): { connection: KafkaConnection | undefined; owlmq: { url: string; apiKey: string } | undefined } {
  const { side } = command.opts<GroupsFlags>();
  const wanted = inputs.choice('--side', side === '' ? undefined : side, ['kafka', 'owlmq', 'both'] as const);
  const connection = wanted === 'owlmq' ? undefined : readKafka(command, inputs);
  if (wanted === 'kafka') return { connection, owlmq: undefined };
  if (wanted !== undefined) return { connection, owlmq: readOwlmq(command, inputs, io) };
  const owlmq = readOwlmqIfGiven(command, inputs, io);
  if (owlmq === undefined) io.err('Note: OwlMQ was not asked: neither --owlmq-url nor OWLMQ_URL is given.\n');
  return { connection, owlmq };
}

function readRequest(command: Command, inputs: Inputs): GroupsRequest {
  const given = command.opts<GroupsFlags>();
  const patterns = inputs.list(given.groups);
  if (inputs.on('--all-groups', given.allGroups) && patterns.length > 0) {
    inputs.add('--all-groups and --groups exclude each other');
  }
  const topics = inputs.list(given.topics);
  const one = patterns.length === 1 && !patterns.some((pattern) => /[*?]/.test(pattern));
  return {
    patterns,
    topics: topics.length === 0 ? undefined : topics,
    members: inputs.on('--members', given.members),
    positions: inputs.on('--positions', given.positions ?? String(one)),
    output: readOutput(command, inputs),
  };
}

function openSides(
  connection: KafkaConnection | undefined,
  owlmqOptions: { url: string; apiKey: string } | undefined,
): { sides: Side[]; close: () => Promise<void> } {
  const admin = connection && new ClusterAdmin(connection, { clientId: CLIENT_ID });
  const reader = connection && new LogReader(connection, { clientId: CLIENT_ID });
  const owlmq = owlmqOptions && new OwlmqClient(owlmqOptions);
  return {
    sides: [
      ...(admin === undefined || reader === undefined ? [] : [kafkaSide(admin, reader)]),
      ...(owlmq === undefined ? [] : [owlmqSide(owlmq)]),
    ],
    close: async () => {
      await Promise.all([admin?.close(), reader?.close(), owlmq?.close()]);
    },
  };
}

async function look(sides: readonly Side[], { patterns, topics }: GroupsRequest, io: CliIo): Promise<Found> {
  if (topics !== undefined) await checkTopics(sides, topics);
  const names = [...new Set((await Promise.all(sides.map((side) => side.groupNames()))).flat())].sort();
  const all = patterns.length === 0;
  const { matched, unmatched } = matchGroups(all ? ['*'] : patterns, names);
  const reports = await Promise.all(
    sides.map(async (side) => ({ leg: side.leg, found: await sideReports(side, matched, topics) })),
  );
  const groups = matched.map((group) => ({
    group,
    ...Object.fromEntries(reports.map(({ leg, found }) => [leg, found.get(group)])),
  })) as GroupReport[];
  const unknown = all ? [] : unmatched.map((group) => ({ group, near: nearNames(group, names) }));
  if (!all || topics === undefined) return { groups, unknown };
  // Who asks for topics alone means the groups that consume them.
  const consuming = groups.filter(({ kafka, owlmq }) =>
    [kafka, owlmq].some((side) => side?.positions.some(({ position }) => position !== undefined)),
  );
  if (consuming.length < groups.length) {
    io.err(`Note: left out, without a commit on these topics: ${plural(groups.length - consuming.length, 'group')}.\n`);
  }
  return { groups: consuming, unknown };
}

/** @throws {CliError} when no side has one of the topics. */
async function checkTopics(sides: readonly Side[], topics: readonly string[]): Promise<void> {
  const known = (await Promise.all(sides.map((side) => side.topicNames()))).flat();
  const missing = topics.filter((topic) => !known.includes(topic));
  if (missing.length === 0) return;
  const lines = missing.map((topic) => printable(`${topic}.${didYouMean(topic, known)}`));
  throw new CliError(
    EXIT.refused,
    `--topics: ${sides.map(({ leg }) => legName(leg)).join(' and ')} ${sides.length === 1 ? 'does' : 'do'} not have ${lines.join(' ')}`,
  );
}

function unknownLine(sides: readonly Side[], group: string, near: readonly string[]): string {
  const where = sides.map(({ leg }) => legName(leg)).join(' or ');
  if (/[*?]/.test(group)) return printable(`No group of ${where} matches ${group}.`);
  const meant = near.length === 0 ? '' : ` Did you mean ${near.join(', ')}?`;
  return printable(`There is no group ${group} on ${where}, or it may not be seen.${meant}`);
}

function tableLines(sides: readonly Side[], request: GroupsRequest, { groups }: Found): string[] {
  const legs = sides.map(({ leg }) => leg);
  if (groups.length === 0) return ['No groups.'];
  const positions = request.positions ? positionLines(legs, groups) : [];
  const refusals = refusalLines(legs, groups);
  return [
    ...groupLines(legs, groups),
    ...(positions.length === 0 ? [] : ['', ...positions]),
    ...(request.members ? ['', ...memberLines(legs, groups)] : []),
    ...(refusals.length === 0 ? [] : ['', 'Cannot be moved:', ...refusals]),
  ];
}
