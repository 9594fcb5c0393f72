import {
  RoutingBoardUnavailableError,
  type MemberRelay,
  type MemberRoster,
  type ObservationProducer,
  type RoutingBoard,
  type RoutingState,
} from '@owlmq/kafka-bridge/operations';
import type { KnownPartitions } from './known-partitions.js';
import { ProblemError } from './problem.js';

/** What the routes of the endpoint share. */
export interface EndpointContext {
  board: RoutingBoard;
  roster: MemberRoster;
  relay: MemberRelay;
  observations: ObservationProducer;
  partitions: KnownPartitions;
  /** Key of the digests, as the library's `digestKey`. */
  digestKey: string | undefined;
  /** Aborts when the endpoint closes: nobody waits any longer. */
  closing: AbortSignal;
}

const READ_WITHIN_MS = 5_000;

/**
 * The routing state of a migration, read from Kafka after this was called.
 *
 * @throws {ProblemError} `unknown-migration`, and `unavailable` when Kafka does not answer or has lost the state.
 */
export async function freshState(context: EndpointContext, migration: string): Promise<RoutingState> {
  try {
    await context.board.readToEnd({ timeoutMs: READ_WITHIN_MS });
  } catch (error) {
    if (!(error instanceof RoutingBoardUnavailableError)) throw error;
    throw new ProblemError('unavailable', `${error.message} Send the request again.`, [], { cause: error });
  }
  const entry = context.board.find(migration);
  if (entry === undefined) {
    throw new ProblemError(
      'unknown-migration',
      `No routing state was ever written for the migration ${JSON.stringify(migration)}: its name is the workflow id. It is there once the workflow has begun its dual-write.`,
    );
  }
  if (!entry.standing) {
    throw new ProblemError(
      'unavailable',
      `The routing topic was made anew and lacks epoch ${entry.state.epoch} of ${migration}: write the state again (kafka-bridge routing set).`,
    );
  }
  return entry.state;
}

/** The state as far as it is known, which is enough where nothing newer is asked for; else as `freshState`. */
export async function stateFrom(context: EndpointContext, migration: string, epoch: number): Promise<RoutingState> {
  const entry = context.board.find(migration);
  const state = entry?.standing === true ? entry.state : undefined;
  const known = state !== undefined && state.epoch >= epoch ? state : await freshState(context, migration);
  if (known.epoch >= epoch) return known;
  throw new ProblemError(
    'unknown-epoch',
    `Epoch ${epoch} of ${migration} is not in Kafka, the newest is ${known.epoch}: name the epoch of the routing that the consumer follows.`,
  );
}
