import type { Command } from 'commander';
import { asError } from '../../async/bounded.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { LogReader } from '../../kafka/log-reader.js';
import { OffsetSyncWriter } from '../../offsets/sync-log.js';
import { OwlmqClient } from '../../owlmq/owlmq-client.js';
import { ensureBridgeTopics } from '../../routing/bridge-topics.js';
import type { CliIo } from '../cli-io.js';
import { option, readKafka, readOutput, readOwlmq, withKafka, withOutput, withOwlmq } from '../connections.js';
import { EXIT, exitCodesHelp, type ExitCode } from '../exit-codes.js';
import { Inputs } from '../inputs.js';
import { reachKafka } from '../reach-kafka.js';
import { standingStates, stateOf, withRouting } from '../routing/open-routing.js';
import { readCheckpoint, type CheckpointFile } from './checkpoint-file.js';
import { forwardLegs, mirrorLegs } from './leg-audit.js';
import { readStart, startPositions, type Start } from './start.js';
import { AuditRun } from './run.js';

interface AuditFlags {
  topics?: string;
  migration?: string;
  direction: string;
  from?: string[];
  checkpoint?: string;
  repair?: boolean;
  follow?: boolean;
  grace: string;
}

interface AuditRequest {
  topics: string[];
  migration: string | undefined;
  direction: 'kafka-to-owlmq' | 'both';
  start: Start;
  checkpointFile: string | undefined;
  repair: boolean;
  follow: boolean;
  graceMs: number;
  output: 'table' | 'json';
}

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
    end(await audit(command, io));
  });
}

async function audit(command: Command, io: CliIo): Promise<ExitCode> {
  const inputs = new Inputs();
  const connection = readKafka(command, inputs);
  const owlmqOptions = readOwlmq(command, inputs, io);
  const request = readRequest(command, inputs);
  inputs.settle();
  if (connection === undefined || owlmqOptions === undefined) return EXIT.input;
  const checkpoint = await checkpointOf(request, inputs, io);
  inputs.settle();

  await reachKafka(connection, io);
  const { topics, forward } = await fromRouting(connection, request);
  const owlmq = new OwlmqClient(owlmqOptions);
  const reader = new LogReader(connection, { clientId: 'kafka-bridge' });
  try {
    const both = request.direction === 'both';
    const from =
      checkpoint === undefined ? await startPositions(request.start, topics, both, { reader, owlmq }) : { kafka: {} };
    warn(request, io);
    const { repair, graceMs } = request;
    const options = { connection, owlmq, topics, from, repair, graceMs, checkpoint: checkpoint?.checkpoint };
    const legs = both ? mirrorLegs(options) : forwardLegs(options, forward);
    const syncs = repair ? await offsetSyncs(connection, owlmq, topics, io) : undefined;
    try {
      return await new AuditRun({ ...request, topics, legs, syncs, reader, owlmq, io }).run();
    } finally {
      await Promise.all([legs.close(), syncs?.close()]);
    }
  } finally {
    await Promise.all([reader.close(), owlmq.close()]);
  }
}

/** What repairs proves, too: where it got to is left to translations. */
async function offsetSyncs(
  connection: KafkaConnection,
  owlmq: OwlmqClient,
  topics: readonly string[],
  io: CliIo,
): Promise<OffsetSyncWriter> {
  const onError = (error: Error): void => {
    io.err(`Warning: ${error.message}\n`);
  };
  const clientId = 'kafka-bridge';
  await ensureBridgeTopics(connection, clientId, 'audit').catch((error: unknown) => {
    onError(asError(error));
  });
  return new OffsetSyncWriter({ connection, owlmq, clientId, topics, role: 'audit', onError });
}

function readRequest(command: Command, inputs: Inputs): AuditRequest {
  const given = command.opts<AuditFlags>();
  const topics = inputs.list(given.topics);
  if (topics.length === 0 && given.migration === undefined) {
    inputs.add('--topics (or --migration, to take its topics) is needed: say what to audit');
  }
  const direction = inputs.choice('--direction', given.direction, ['kafka-to-owlmq', 'both']) ?? 'kafka-to-owlmq';
  const repair = given.repair === true;
  const start = readStart(given.from, inputs);
  if (direction === 'both' && repair && start.kind === 'beginning') {
    inputs.add(
      '--direction both --repair does not begin at the beginning: it would copy to OwlMQ every record whose copy was not intended. Give --from a time after the cutover, or coverage FILE with the fences of the cutover',
    );
  }
  const graceS = inputs.number('--grace', given.grace, { min: 0, max: 86_400 }) ?? 60;
  return {
    topics,
    migration: given.migration,
    direction,
    start,
    checkpointFile: given.checkpoint,
    repair,
    follow: given.follow === true,
    graceMs: graceS * 1_000,
    output: readOutput(command, inputs),
  };
}

/** The checkpoint to go on from: the kept one before the one that `--from` names. */
async function checkpointOf(
  { checkpointFile, start, topics, direction, repair, migration }: AuditRequest,
  inputs: Inputs,
  io: CliIo,
): Promise<CheckpointFile | undefined> {
  const kept = checkpointFile === undefined ? undefined : await readCheckpoint(checkpointFile);
  const named = start.kind === 'checkpoint' ? await readCheckpoint(start.file) : undefined;
  if (start.kind === 'checkpoint' && named === undefined) inputs.add(`${start.file} does not exist`);
  const [file, found] =
    kept === undefined ? [start.kind === 'checkpoint' ? start.file : '', named] : [checkpointFile ?? '', kept];
  if (found === undefined) return undefined;
  if (found.direction !== direction) inputs.add(`${file} is of an audit with --direction ${found.direction}`);
  if (found.repair !== repair) {
    inputs.add(
      found.repair
        ? `${file} is of an audit with --repair: give it here too, or another file`
        : `${file} is of an audit that did not repair, and what it found missing lies behind its place: repair from where it began, with another file`,
    );
  }
  const given = topics.length > 0 || migration === undefined ? topics : found.topics;
  if ([...given].sort().join() !== [...found.topics].sort().join()) {
    inputs.add(`${file} is of an audit of ${found.topics.join(', ')}`);
  }
  if (kept !== undefined) io.err(`Goes on from ${file}, written ${kept.writtenAt}. To begin anew, delete it.\n`);
  return found;
}

/** Topics and forwarding, from the routing state where a migration is named. */
async function fromRouting(
  connection: KafkaConnection,
  { migration, topics }: AuditRequest,
): Promise<{ topics: string[]; forward: { topics: string[]; ratio: number } | undefined }> {
  if (migration === undefined) return { topics, forward: undefined };
  return await withRouting(connection, async (writer) => {
    const state = stateOf(migration, await standingStates(connection, writer));
    return {
      topics: topics.length > 0 ? topics : state.topics,
      forward: state.forward === undefined ? undefined : { topics: state.forward, ratio: state.ratio },
    };
  });
}

function warn({ direction, repair, follow, start }: AuditRequest, io: CliIo): void {
  if (direction === 'both' && repair) {
    io.err(
      "Warning: no other audit may repair these topics now, the workflow's while warm neither: Kafka would get copies twice.\n",
    );
  }
  if (start.kind === 'end' && !follow) io.err('Note: from the end there is nothing to audit without --follow.\n');
}
