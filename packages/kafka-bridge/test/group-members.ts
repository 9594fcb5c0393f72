import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Admin } from '@platformatic/kafka';
import {
  createAPI,
  FindCoordinatorKeyTypes,
  joinGroupV9,
  ResponseError,
  Writer,
  type Connection,
} from '@platformatic/kafka';
import { Progress } from '../../../engines/fetch/progress.js';
import { findKafka } from '../../../engines/find/kafka.js';
import { GuardedProcess } from '../../../engines/process/guarded-process.js';

/** Longer than a test takes; the members that nobody ends are gone soon after it. */
const SESSION_TIMEOUT_MS = 30_000;

/** Consumers of Kafka's own Java tools, in processes that do not outlive this one. */
export class JavaConsumers {
  readonly #running: { process: GuardedProcess; folder: string }[] = [];

  constructor(private readonly brokers: readonly string[]) {}

  /** A member of a group of KIP-848's protocol. It is in its group some two seconds later. */
  async consumer(group: string, topic: string): Promise<void> {
    await this.#start('ConsoleConsumer', group, topic, ['--command-property', 'group.protocol=consumer']);
  }

  /** A member of a share group (KIP-932). */
  async shareConsumer(group: string, topic: string): Promise<void> {
    await this.#start('ConsoleShareConsumer', group, topic, []);
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#running.map(async ({ process, folder }) => {
        await process.stop();
        await rm(folder, { recursive: true, force: true });
      }),
    );
  }

  async #start(tool: string, group: string, topic: string, args: string[]): Promise<void> {
    const kafka = await findKafka(new Progress(undefined));
    if (kafka.kind !== 'java')
      throw new Error('The Java tools are run from jars: set KAFKA_HOME, or let them be fetched.');
    const folder = await mkdtemp(join(tmpdir(), 'java-consumer-'));
    const process = await GuardedProcess.start(
      {
        file: kafka.java,
        args: [
          ...[
            '-XX:TieredStopAtLevel=1',
            '-XX:+UseSerialGC',
            '-Xmx128m',
            '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
          ],
          ...['-cp', join(kafka.libs, '*'), `org.apache.kafka.tools.consumer.${tool}`],
          ...['--bootstrap-server', this.brokers.join(','), '--group', group, '--topic', topic, ...args],
        ],
      },
      { name: tool, logFile: join(folder, 'log'), graceMs: 3_000, removeIfOrphaned: folder },
    );
    this.#running.push({ process, folder });
  }
}

/** A member of a classic group that speaks another protocol than consumers, as Connect's workers do. It never syncs. */
export async function joinClassic(admin: Admin, group: string, protocolType: string): Promise<void> {
  const connection = await coordinatorOf(admin, group);
  const join = (memberId: string) =>
    joinGroupV9.api.async(connection, group, SESSION_TIMEOUT_MS, SESSION_TIMEOUT_MS, memberId, null, protocolType, [
      { name: 'sessioned', metadata: Buffer.from('not what consumers write') },
    ]);
  try {
    await join('');
  } catch (error) {
    // The first answer gives the member its id.
    const memberId = error instanceof ResponseError ? (error.errors[0] as { memberId?: string }).memberId : undefined;
    if (memberId === undefined) throw error;
    await join(memberId);
  }
}

/** A member of a group of Kafka Streams (KIP-1071) with a task that reads the topic. */
export async function joinStreams(admin: Admin, group: string, topic: string): Promise<void> {
  await streamsHeartbeat.async(await coordinatorOf(admin, group), group, topic);
}

const STREAMS_GROUP_HEARTBEAT = 88;

const streamsHeartbeat = createAPI<[group: string, topic: string], undefined>(
  STREAMS_GROUP_HEARTBEAT,
  0,
  (group: string, topic: string) => {
    const writer = Writer.create()
      .appendString(group)
      .appendString(randomUUID())
      .appendInt32(0)
      .appendInt32(0)
      .appendString(null)
      .appendString(null)
      .appendInt32(SESSION_TIMEOUT_MS)
      // A topology of one part that reads the topic and has no state.
      .appendInt8(1)
      .appendInt32(0)
      .appendArray(['0'], (part, id) => {
        part.appendString(id).appendArray([topic], (source, name) => source.appendString(name), true, false);
        for (let list = 0; list < 5; list += 1) part.appendArray([], () => undefined);
      })
      .appendTaggedFields();
    for (let tasks = 0; tasks < 3; tasks += 1) writer.appendArray([], () => undefined);
    return writer
      .appendString(randomUUID())
      .appendInt8(-1)
      .appendArray([], () => undefined)
      .appendArray(null, () => undefined)
      .appendArray(null, () => undefined)
      .appendBoolean(false)
      .appendTaggedFields();
  },
  (_id, _key, _version, reader) => {
    reader.readInt32();
    const errorCode = reader.readInt16();
    if (errorCode !== 0) throw new Error(`Error ${errorCode}: ${reader.readNullableString() ?? ''}`);
    return undefined;
  },
);

async function coordinatorOf(admin: Admin, group: string): Promise<Connection> {
  const [found] = await admin.findCoordinator({ keyType: FindCoordinatorKeyTypes.GROUP, keys: [group] });
  const connection = found && (await admin.connectToBrokers([found.nodeId])).get(found.nodeId);
  if (connection === undefined) throw new Error(`There is no coordinator of ${group}.`);
  return connection;
}
