import { isIP } from 'node:net';
import type { KafkaConfig, SASLOptions } from 'kafkajs';
import { AuthenticationError, type BaseOptions } from '@platformatic/kafka';

/**
 * How to reach a Kafka cluster. Field names are kafkajs's, so that a service passes what it already has; everything
 * kafkajs accepts in `new Kafka(...)` is taken.
 *
 * Two clients are used below it. kafkajs produces and consumes in groups. `@platformatic/kafka` does what kafkajs
 * cannot: read a partition without a consumer group, and set group offsets in one request that live groups refuse.
 */
export type KafkaConnection = Omit<KafkaConfig, 'brokers'> & { brokers: string[] };

/** The subset of a connection that `@platformatic/kafka` clients are built from. */
export type DirectClientOptions = Pick<BaseOptions, 'clientId' | 'bootstrapBrokers' | 'tls' | 'tlsServerName' | 'sasl'>;

/**
 * Translates a kafkajs connection to `@platformatic/kafka` options.
 *
 * @throws {TypeError} when the SASL mechanism is one that only kafkajs speaks (`aws`, custom providers).
 */
export function directClientOptions(connection: KafkaConnection, clientId: string): DirectClientOptions {
  const options: DirectClientOptions = {
    clientId: connection.clientId ?? clientId,
    bootstrapBrokers: connection.brokers,
  };
  if (connection.ssl !== undefined && connection.ssl !== false) {
    options.tls = connection.ssl === true ? {} : connection.ssl;
    // As kafkajs does by itself: brokers behind a proxy are told apart by the name that TLS asks for. Addresses are none.
    const given = typeof connection.ssl === 'object' && connection.ssl.servername !== undefined;
    const named =
      !given && connection.brokers.every((broker) => isIP(broker.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')) === 0);
    if (named) options.tlsServerName = true;
  }
  if (connection.sasl !== undefined) options.sasl = directSasl(connection.sasl as SASLOptions);
  return options;
}

const directMechanisms = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
} as const;

function directSasl(sasl: SASLOptions): NonNullable<DirectClientOptions['sasl']> {
  if (sasl.mechanism === 'oauthbearer') {
    return {
      mechanism: 'OAUTHBEARER',
      token: async () => (await sasl.oauthBearerProvider()).value,
      authBytesValidator: refusedToken,
    };
  }
  if (sasl.mechanism === 'aws') {
    throw new TypeError('SASL mechanism "aws" is not supported: use oauthbearer, plain or scram.');
  }
  return { mechanism: directMechanisms[sasl.mechanism], username: sasl.username, password: sasl.password };
}

/** A broker that takes no token answers with the reason and no error; one that takes it answers with nothing. */
function refusedToken(answer: Buffer, callback: (error: Error | null, answer?: Buffer) => void): void {
  if (answer.length === 0) callback(null, answer);
  else callback(new AuthenticationError(`Kafka does not take the token of OAUTHBEARER: ${answer.toString()}`));
}
