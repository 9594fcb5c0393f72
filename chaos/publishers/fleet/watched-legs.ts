import { connect } from 'node:net';
import { clockMs } from '../../../demo/event-log.js';
import { OwlmqClient, type KafkaConnection, type OwlmqApi } from '@owlmq/kafka-bridge';

/**
 * Told of each request that is handed to the system, with the messages in it, right before, and when the publisher let
 * go of it: what the process is frozen for behind that is not the publisher's.
 */
type OnSent = (leg: 'kafka' | 'owlmq', ids: string[], at: number) => void;

/** Every request of Kafka begins with its length in four bytes and its kind in two; a write of records has this kind. */
const PRODUCE_REQUEST = 0;

/** A connection to Kafka whose writes of records are told. */
export function watchedKafka(brokers: string[], onSent: OnSent): KafkaConnection {
  return {
    brokers,
    socketFactory: ({ host, port, onConnect }) => {
      const socket = connect({ host, port }, onConnect);
      const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
      socket.write = (chunk: Uint8Array | string, ...rest: unknown[]): boolean => {
        const at = clockMs();
        const isWrite = Buffer.isBuffer(chunk) && chunk.length >= 6 && chunk.readInt16BE(4) === PRODUCE_REQUEST;
        if (isWrite) onSent('kafka', idsIn(chunk), at);
        return write(chunk, ...rest);
      };
      return socket;
    },
  };
}

/** A client of OwlMQ whose publish requests are told; each call of the publisher is one request. */
export function watchedOwlmq(onSent: OnSent): OwlmqApi {
  const client: OwlmqApi = new OwlmqClient({});
  const publish = client.publish.bind(client);
  client.publish = async (topic, records, options) => {
    const at = clockMs();
    onSent(
      'owlmq',
      records.map(({ id }) => id),
      at,
    );
    return await publish(topic, records, options);
  };
  return client;
}

/** Values are not compressed, and have their id in clear. */
function idsIn(request: Buffer): string[] {
  return Array.from(request.toString('latin1').matchAll(/\{"id":"(p\d+\.\d+\.\d+)"/g), ([, id]) => id ?? '');
}
