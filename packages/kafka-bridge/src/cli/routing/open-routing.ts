import { asError } from '../../async/bounded.js';
import type { KafkaConnection } from '../../kafka/kafka-connection.js';
import { UnknownTopicError } from '../../kafka/log-reader.js';
import { MemberRoster } from '../../members/member-roster.js';
import { ROUTING_TOPIC, type RoutingState } from '../../routing/routing-state.js';
import { RoutingWriter } from '../../routing/routing-writer.js';
import { CliError } from '../cli-error.js';
import type { CliIo } from '../cli-io.js';
import { EXIT } from '../exit-codes.js';

const CLIENT_ID = 'kafka-bridge';
const MEMBERS_WITHIN_MS = 10_000;

/** Runs with access to the routing states, and closes it. */
export async function withRouting<T>(
  connection: KafkaConnection,
  work: (writer: RoutingWriter) => Promise<T>,
): Promise<T> {
  const writer = new RoutingWriter({ connection, clientId: CLIENT_ID });
  try {
    return await work(writer);
  } finally {
    await writer.close();
  }
}

/**
 * The states that stand, of all migrations, by their names.
 *
 * @throws {CliError} when there is no routing topic: nothing is created, it would hide that this is another cluster.
 */
export async function standingStates(
  connection: KafkaConnection,
  writer: Pick<RoutingWriter, 'readAll'>,
): Promise<RoutingState[]> {
  try {
    const states = await writer.readAll();
    return states.sort((a, b) => (a.migration < b.migration ? -1 : 1));
  } catch (error) {
    if (!(error instanceof UnknownTopicError)) throw error;
    throw new CliError(
      EXIT.refused,
      `Topic ${ROUTING_TOPIC} does not exist on ${connection.brokers.join(', ')}, or this user may not see it. ` +
        'The worker creates it at its start: no worker has run on this cluster, so check the brokers and the rights. Nothing was written.',
      { cause: error },
    );
  }
}

/** @throws {CliError} when there is none; it names those that there are. */
export function stateOf(migration: string, states: readonly RoutingState[]): RoutingState {
  const found = states.find((state) => state.migration === migration);
  if (found !== undefined) return found;
  const names = states.map((state) => state.migration);
  throw new CliError(
    EXIT.refused,
    `No routing state was ever written for the migration "${migration}". ` +
      (names.length === 0 ? 'There is none at all.' : `There are: ${names.join(', ')}.`),
  );
}

/** Runs with the roster of members; with none when the members topic cannot be read, which it says. */
export async function withRoster<T>(
  connection: KafkaConnection,
  io: CliIo,
  work: (roster: MemberRoster | undefined) => Promise<T>,
): Promise<T> {
  const roster = new MemberRoster({ connection, clientId: CLIENT_ID });
  try {
    await roster.start({ timeoutMs: MEMBERS_WITHIN_MS });
  } catch (error) {
    io.err(`Warning: the members are not known. ${asError(error).message}\n`);
    return await work(undefined);
  }
  try {
    return await work(roster);
  } finally {
    await roster.stop();
  }
}
