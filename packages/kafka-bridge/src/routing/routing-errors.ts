import type { RoutingState } from './routing-state.js';

/** The routing of a migration cannot be followed: its topics do not exist, or could not be read to their end in time. */
export class RoutingUnavailableError extends Error {
  override readonly name = 'RoutingUnavailableError';
  constructor(
    readonly migration: string,
    problem: string,
    cause: Error | undefined,
  ) {
    super(
      `Migration ${migration}: ${problem} The worker creates the bridge's topics at its start ` +
        '(RoutingWriter.ensureTopics): start the worker first, or check the brokers and the rights on these topics.',
      { cause },
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
