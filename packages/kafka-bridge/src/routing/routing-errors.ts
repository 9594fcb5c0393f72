import { ROUTING_TOPIC, type RoutingState } from './routing-state.js';

/** The routing topic could not be read to its end in time. */
export class RoutingUnavailableError extends Error {
  override readonly name = 'RoutingUnavailableError';
  constructor(
    readonly migration: string,
    timeoutMs: number,
    cause: Error | undefined,
  ) {
    const reason = cause === undefined ? 'Kafka did not answer' : cause.message;
    super(
      `Migration ${migration}: topic ${ROUTING_TOPIC} could not be read to its end within ${timeoutMs} ms: ${reason} ` +
        'The worker creates the topic at its start (RoutingWriter.ensureTopics): start it first, or check the brokers and the right to read the topic.',
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
