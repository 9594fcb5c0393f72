import type { Command } from 'commander';
import { asError } from '../../async/bounded.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { LogReader } from '../../kafka/log-reader.js';
import { OffsetSyncWriter } from '../../offsets/sync-log.js';
import { OwlmqClient } from '../../owlmq/owlmq-client.js';
import { ensureBridgeTopics } from '../../routing/bridge-topics.js';
import type { CliIo } from '../cli-io.js';
import { readKafka, readOutput, readOwlmq } from '../connections.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
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

/** What `audit` does. */
export async function audit(command: Command, io: CliIo): Promise<ExitCode> {
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
