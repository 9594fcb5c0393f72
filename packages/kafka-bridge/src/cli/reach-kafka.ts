import { unlessAborted } from '../async/bounded.js';
import { rootMessages } from '../async/causes.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, LogUnavailableError } from '../kafka/log-reader.js';
import { ROUTING_TOPIC } from '../routing/routing-state.js';
import { CliError } from './cli-error.js';
import type { CliIo } from './cli-io.js';
import { EXIT } from './exit-codes.js';

/** Longer than a broker takes to start again. A person with a wrong address is told at once, and need not wait. */
const REACH_WITHIN_MS = 30_000;

/**
 * Waits until Kafka answers, and says that it waits: what comes later waits in silence.
 *
 * @returns whether it answers: not, when the signal was aborted.
 * @throws {CliError} when it does not in time.
 */
export async function reachKafka(connection: KafkaConnection, io: CliIo, signal?: AbortSignal): Promise<boolean> {
  const reader = new LogReader(connection, { clientId: 'kafka-bridge' });
  const ask = async (retryForMs: number): Promise<true> => {
    try {
      await reader.partitionCount(ROUTING_TOPIC, { retryForMs });
    } catch (error) {
      // Whatever else it is, Kafka has answered: that the topic is not there, say, or that this user may not see it.
      if (error instanceof LogUnavailableError) throw error;
    }
    return true;
  };
  const patiently = async (): Promise<true> => {
    try {
      return await ask(0);
    } catch (error) {
      if (!(error instanceof LogUnavailableError)) throw error;
      const { reachWithinMs = REACH_WITHIN_MS } = io;
      io.err(`${silence(connection, error)}. Trying for ${reachWithinMs / 1_000} s.\n`);
      try {
        return await ask(reachWithinMs);
      } catch (last) {
        if (!(last instanceof LogUnavailableError)) throw last;
        throw new CliError(
          EXIT.unreachable,
          `${silence(connection, last)}, asked ${last.attempts} times in ${(last.triedMs / 1_000).toFixed(1)} s. Check --kafka-brokers (KAFKA_BROKERS), the way there, and whether the brokers want TLS or SASL.`,
          { cause: last },
        );
      }
    }
  };
  try {
    return (await (signal === undefined ? patiently() : unlessAborted(patiently(), signal))) ?? false;
  } finally {
    await reader.close();
  }
}

function silence({ brokers }: KafkaConnection, error: LogUnavailableError): string {
  return `Kafka does not answer at ${brokers.join(', ')}: ${rootMessages(error).join('; ')}`;
}
