import type { RoutingState } from './routing-state.js';

const WORKER_FIRST =
  "The worker creates the bridge's topics at its start (RoutingWriter.ensureTopics): start the worker first, or check " +
  'the brokers and the rights on these topics. Once Kafka is switched off after a decommission, members start by the ' +
  'final routing state that OwlMQ keeps: none was found there.';

/** The routing of a migration cannot be followed: its topics do not exist, or could not be read to their end in time. */
export class RoutingUnavailableError extends Error {
  override readonly name = 'RoutingUnavailableError';
  readonly code = 'routing-unavailable';
  readonly retriable = 'safe';
  constructor(
    readonly migration: string,
    problem: string,
    cause: Error | undefined,
    todo = WORKER_FIRST,
  ) {
    super(`Migration ${migration}: ${problem} ${todo}`, { cause });
  }
}

/**
 * The routing topic was made anew, or lost records, and does not hold the state that this member obeys, or that others
 * have reported, nor a higher one. The member does not take that for "no migration": without a lease it holds, and one that has just started fails in time.
 */
export class RoutingLostError extends Error {
  override readonly name = 'RoutingLostError';
  constructor(
    readonly migration: string,
    /** The epoch that is known: obeyed by this member, or reported by others. */
    readonly epoch: number,
    /** What the topic holds. */
    readonly found: RoutingState | undefined,
    obeyed: boolean,
  ) {
    super(
      `Migration ${migration}: the routing topic was made anew or lost records. It holds ` +
        `${found === undefined ? 'no state' : `another state of epoch ${found.epoch}`}, and ` +
        `${obeyed ? `this member obeys epoch ${epoch}: it holds when its lease is over` : `members have reported epoch ${epoch}: this one, which has just started, does not begin`}. ` +
        `Write the state again with a higher epoch (kafka-bridge routing set).`,
    );
  }
}

/** The routing topic has a higher epoch already, or another state with the same epoch. */
export class EpochSupersededError extends Error {
  override readonly name = 'EpochSupersededError';
  constructor(
    readonly refused: RoutingState,
    /** The state that stands. */
    readonly found: RoutingState,
  ) {
    super(
      `Migration ${refused.migration}: epoch ${refused.epoch} was not written, epoch ${found.epoch} stands ` +
        `(${found.reason}, written ${found.writtenAt}).`,
    );
  }
}

/** A topic of the bridge exists in a shape that it cannot be used in. */
export class BridgeTopicError extends Error {
  override readonly name = 'BridgeTopicError';
}
