import { promisify } from 'node:util';
import {
  fetchV13,
  fetchV14,
  fetchV15,
  fetchV16,
  fetchV17,
  UserError,
  type Connection,
  type Consumer,
  type Reader,
} from '@platformatic/kafka';
import { brokerError, LeaderUnknownError } from './passing-errors.js';
import type { FetchedBatches } from './read-batches.js';

export interface FetchBatchesOptions {
  topic: string;
  topicId: string;
  positions: readonly { partition: number; offset: number }[];
  /** How long the broker may wait for a first record, ms (default 0). */
  maxWaitMs?: number;
  /** Bound on one partition's share of the answer (default 1 MiB). */
  maxBytesPerPartition?: number;
}

/** One partition's share of an answer. The offset is the last stable one. */
export interface FetchAnswer extends FetchedBatches {
  errorCode: number;
  endOffset: number;
}

const FETCH = 1;
const READ_COMMITTED = 1;
const MAX_BYTES = 32 * 1024 * 1024;
const DEFAULT_MAX_PARTITION_BYTES = 1024 * 1024;
/** All that name topics by id, which their answers rely on. */
const VERSIONS = new Map([
  [17, fetchV17],
  [16, fetchV16],
  [15, fetchV15],
  [14, fetchV14],
  [13, fetchV13],
]);

/**
 * Fetches from partitions that one broker leads, and hands out the batches as bytes: the client's own fetch takes every
 * record and header apart, which costs more than all else in reading a log.
 */
export async function fetchBatches(
  client: Consumer,
  leader: number,
  options: FetchBatchesOptions,
): Promise<FetchAnswer[]> {
  const { topic, topicId, positions } = options;
  const [version, connection] = await Promise.all([fetchVersion(client), connectionTo(client, leader)]);
  const { createRequest } = version.api;
  const from = new Map(positions.map(({ partition, offset }) => [partition, offset]));
  const request = () =>
    createRequest(
      options.maxWaitMs ?? 0,
      1,
      MAX_BYTES,
      READ_COMMITTED,
      0,
      0,
      [
        {
          topicId,
          partitions: positions.map(({ partition, offset }) => ({
            partition,
            fetchOffset: BigInt(offset),
            currentLeaderEpoch: -1,
            lastFetchedEpoch: -1,
            partitionMaxBytes: options.maxBytesPerPartition ?? DEFAULT_MAX_PARTITION_BYTES,
          })),
        },
      ],
      [],
      '',
    );
  const send = promisify<FetchAnswer[]>((done) => {
    connection.send(
      FETCH,
      version.number,
      request,
      (_id, _key, _version, reader) => parse(reader, topic, from),
      true,
      true,
      (error, answer) => {
        done(error, answer ?? []);
      },
    );
  });
  return await send();
}

async function connectionTo(client: Consumer, leader: number): Promise<Connection> {
  const connection = (await client.connectToBrokers([leader])).get(leader);
  if (connection === undefined) throw new LeaderUnknownError(`Kafka's metadata has no address of broker ${leader}.`);
  return connection;
}

const versions = new WeakMap<Consumer, Promise<{ number: number; api: typeof fetchV17 }>>();

function fetchVersion(client: Consumer): Promise<{ number: number; api: typeof fetchV17 }> {
  let version = versions.get(client);
  if (version === undefined) {
    version = chooseVersion(client);
    versions.set(client, version);
    version.catch(() => versions.delete(client));
  }
  return version;
}

async function chooseVersion(client: Consumer): Promise<{ number: number; api: typeof fetchV17 }> {
  const known = (await client.listApis()).find(({ apiKey }) => apiKey === FETCH);
  for (const [number, api] of VERSIONS) {
    if (known !== undefined && number >= known.minVersion && number <= known.maxVersion) return { number, api };
  }
  throw new UserError(
    `The broker speaks none of the versions ${[...VERSIONS.keys()].join(', ')} of the fetch request.`,
  );
}

/** The answer's layout is the same in all of VERSIONS. */
function parse(reader: Reader, topic: string, from: ReadonlyMap<number, number>): FetchAnswer[] {
  reader.readInt32();
  const errorCode = reader.readInt16();
  reader.readInt32();
  const answers = reader.readArray((topics) => {
    topics.readUUID();
    return topics.readArray((data): FetchAnswer => {
      const partition = data.readInt32();
      const code = data.readInt16();
      data.readInt64();
      const endOffset = Number(data.readInt64());
      data.readInt64();
      const aborted = data.readArray((each) => ({ producerId: each.readInt64(), firstOffset: each.readInt64() }));
      data.readInt32();
      // A compact length is one more than it says; 0 is null.
      const size = Math.max(0, data.readUnsignedVarInt() - 1);
      const bytes = data.buffer.slice(data.position, data.position + size);
      data.skip(size);
      return { topic, partition, from: from.get(partition) ?? 0, bytes, aborted, errorCode: code, endOffset };
    });
  });
  if (errorCode !== 0) throw brokerError(errorCode);
  return answers.flat();
}
