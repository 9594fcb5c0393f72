import { connect } from 'node:net';
import { EngineConfigError, EngineStartError } from '../errors.js';

/** How to reach each engine. */
export interface EngineAddresses {
  temporal: {
    /** host:port of the gRPC front end. */
    readonly address: string;
    /** Unknown for a Temporal given by environment. */
    readonly uiUrl: string | undefined;
  };
  kafka: { readonly brokers: readonly string[] };
  owlmq: { readonly url: string; readonly apiKey: string };
}

export type EngineName = keyof EngineAddresses;

/**
 * The engines whose addresses the environment gives. They are used as they are; each must take a connection.
 * @throws EngineConfigError when OWLMQ_URL comes without OWLMQ_API_KEY or is no URL
 * @throws EngineStartError when nothing listens at a given address
 */
export async function givenAddresses(want: ReadonlySet<EngineName>): Promise<Partial<EngineAddresses>> {
  const { TEMPORAL_ADDRESS, KAFKA_BROKERS, OWLMQ_URL, OWLMQ_API_KEY } = process.env;
  const given: Partial<EngineAddresses> = {};
  if (want.has('temporal') && TEMPORAL_ADDRESS) {
    await mustListen('Temporal', 'TEMPORAL_ADDRESS', [TEMPORAL_ADDRESS]);
    given.temporal = { address: TEMPORAL_ADDRESS, uiUrl: undefined };
  }
  if (want.has('kafka') && KAFKA_BROKERS) {
    const brokers = KAFKA_BROKERS.split(',').map((broker) => broker.trim());
    await mustListen('Kafka', 'KAFKA_BROKERS', brokers);
    given.kafka = { brokers };
  }
  if (want.has('owlmq') && OWLMQ_URL) {
    if (!OWLMQ_API_KEY)
      throw new EngineConfigError('OWLMQ_URL is set, OWLMQ_API_KEY is not: set the key of that OwlMQ.');
    if (!URL.canParse(OWLMQ_URL)) throw new EngineConfigError(`OWLMQ_URL is not a URL: ${OWLMQ_URL}`);
    const { hostname, port, protocol } = new URL(OWLMQ_URL);
    await mustListen('OwlMQ', 'OWLMQ_URL', [`${hostname}:${port || (protocol === 'https:' ? '443' : '80')}`]);
    given.owlmq = { url: OWLMQ_URL, apiKey: OWLMQ_API_KEY };
  }
  return given;
}

/** Only that one of them takes a connection: how to speak to it (TLS, keys) is the caller's configuration. */
async function mustListen(title: string, variable: string, addresses: readonly string[]): Promise<void> {
  try {
    await Promise.any(addresses.map(takesConnection));
  } catch (cause) {
    throw new EngineStartError(
      title,
      `was given by ${variable}=${addresses.join(',')}, but nothing answers there. Start it, correct the variable, ` +
        'or unset it to have one started here.',
      undefined,
      { cause },
    );
  }
}

async function takesConnection(address: string): Promise<void> {
  const { hostname, port } = new URL(`tcp://${address}`);
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), timeout: 5_000 });
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('timeout', () => {
      socket.destroy(new Error(`${address} did not take a connection within 5 s`));
    });
    socket.once('error', reject);
  });
}
