import type { Kafka, Message } from 'kafkajs';
import { onCluster } from './kafkajs-cluster.js';
import { RecordBatch } from './record-batch.js';

/**
 * Lets kafkajs's producers of this client write their record batches with {@link RecordBatch}, which takes a
 * fraction of the time that kafkajs's own encoder does. All else stays kafkajs's: connections, retries, sequence
 * numbers, answers. Compressed batches are left to it too.
 *
 * kafkajs has no door for this: what is changed are methods of this one client's own objects, see {@link onCluster}.
 * Where one is not as expected nothing is changed, and kafkajs encodes. Other clients in the process are not touched.
 */
export function encodeFast(kafka: Kafka): void {
  onCluster(kafka, (cluster) => {
    if (isCluster(cluster)) changeBrokers(cluster);
  });
}

interface Cluster {
  findBroker: (place: { nodeId: string }) => Promise<unknown>;
}

interface Broker {
  produce: (request: ProduceRequest) => Promise<unknown>;
  lookupRequest: (apiKey: number, definition: unknown) => (request: ProduceRequest) => Protocol;
}

interface Protocol {
  request: { apiVersion: number; encode: () => Promise<Encoded> };
  response: unknown;
}

/** What kafkajs puts into its own buffer. */
interface Encoded {
  buf: Buffer;
  buffer: Buffer;
  size: () => number;
}

interface ProduceRequest {
  acks?: number;
  timeout?: number;
  compression?: number;
  transactionalId?: string | null;
  /** kafkajs's Long: text of it is a decimal number. */
  producerId?: { toString: () => string };
  producerEpoch?: number;
  topicData: {
    topic: string;
    partitions: { partition: number; messages: Message[]; firstSequence?: number }[];
  }[];
}

const PRODUCE = 0;
/** The version from which on a request carries batches of format 2, and the last whose layout is still that one. */
const FIRST_VERSION = 3;
const LAST_VERSION = 7;
const DEFAULT_TIMEOUT_MS = 30_000;

function isCluster(cluster: unknown): cluster is Cluster {
  return typeof (cluster as Partial<Cluster> | undefined)?.findBroker === 'function';
}

function isBroker(broker: unknown): broker is Broker {
  const { produce, lookupRequest } = (broker ?? {}) as Partial<Broker>;
  return typeof produce === 'function' && typeof lookupRequest === 'function';
}

function changeBrokers(cluster: Cluster): void {
  const findBroker = cluster.findBroker.bind(cluster);
  const changed = new WeakSet();
  cluster.findBroker = async (place) => {
    const broker = await findBroker(place);
    if (isBroker(broker) && !changed.has(broker)) {
      changed.add(broker);
      changeProduce(broker);
    }
    return broker;
  };
}

function changeProduce(broker: Broker): void {
  const { produce } = broker;
  // A view of the broker that hands out another request for `Produce`; everything else is the broker's own.
  const view = Object.create(broker, {
    lookupRequest: {
      value: (apiKey: number, definition: unknown) => {
        const make = broker.lookupRequest(apiKey, definition);
        return apiKey === PRODUCE ? (request: ProduceRequest) => encodedFast(make(request), request) : make;
      },
    },
  }) as Broker;
  broker.produce = (request) => produce.call(view, request);
}

function encodedFast(protocol: Protocol, request: ProduceRequest): Protocol {
  const { apiVersion } = protocol.request;
  if (apiVersion < FIRST_VERSION || apiVersion > LAST_VERSION || (request.compression ?? 0) !== 0) return protocol;
  if ((request.transactionalId ?? null) !== null) return protocol;
  const encode = (): Promise<Encoded> => {
    const buf = encodeProduce(request);
    return Promise.resolve({ buf, buffer: buf, size: () => buf.length });
  };
  return { ...protocol, request: { ...protocol.request, encode } };
}

/** The body of a `Produce` request of versions 3 to 7, see https://kafka.apache.org/protocol#The_Messages_Produce. */
function encodeProduce(request: ProduceRequest): Buffer {
  const { acks = -1, timeout = DEFAULT_TIMEOUT_MS, topicData, producerId, producerEpoch = 0 } = request;
  const id = BigInt(producerId?.toString() ?? '-1');
  const topics = topicData.map(({ topic, partitions }) => ({
    topic,
    partitions: partitions.map((partition) => ({ ...partition, batch: new RecordBatch(partition.messages) })),
  }));
  let bytes = 2 + 2 + 4 + 4;
  for (const { topic, partitions } of topics) {
    bytes += 2 + Buffer.byteLength(topic) + 4;
    for (const { batch } of partitions) bytes += 4 + 4 + batch.bytes;
  }
  const buffer = Buffer.allocUnsafe(bytes);
  let at = buffer.writeInt16BE(-1, 0);
  at = buffer.writeInt16BE(acks, at);
  at = buffer.writeInt32BE(timeout, at);
  at = buffer.writeInt32BE(topicData.length, at);
  for (const { topic, partitions } of topics) {
    at = buffer.writeInt16BE(Buffer.byteLength(topic), at);
    at += buffer.write(topic, at);
    at = buffer.writeInt32BE(partitions.length, at);
    for (const { partition, batch, firstSequence = 0 } of partitions) {
      at = buffer.writeInt32BE(partition, at);
      at = buffer.writeInt32BE(batch.bytes, at);
      at = batch.write(buffer, at, { id, epoch: producerEpoch, sequence: firstSequence });
    }
  }
  return buffer;
}
