import type { KafkaConnectError } from '../kafka/replaceable-producer.js';
import type { Leg } from '../message/headers.js';
import type { RoutingUnavailableError } from '../routing/routing-errors.js';

/**
 * Whether to publish again.
 * - `safe`: the message is on no leg. Published again, under any id, it is no duplicate.
 * - `same-id`: it may be on a leg. Publish it again with the `id` of the error alone.
 * - `no`: the same call would end the same.
 */
export type Retriable = 'safe' | 'same-id' | 'no';

/** What `publish()` fails with. `code` tells them apart where `instanceof` cannot. */
export type PublishError =
  | PublishInputError
  | PublishFailedError
  | PublishOutcomeUnknownError
  | PublishHeldTimeoutError
  | PublishBufferFullError
  | PublishAbortedError
  | PublisherClosedError
  | RoutingUnavailableError
  | KafkaConnectError;

/** What a `DualPublisher` throws, from whichever method. */
export type PublisherError =
  PublishError | PublishBatchError<unknown> | PublisherConfigError | PublisherFlushTimeoutError;

/** The options of a publisher, or a call to change it, cannot be. All problems at once. */
export class PublisherConfigError extends Error {
  override readonly name = 'PublisherConfigError';
  readonly code = 'publisher-config';
  readonly retriable = 'no';
  constructor(
    readonly problems: readonly string[],
    options?: ErrorOptions,
  ) {
    super(
      problems.length === 1 ? `DualPublisher: ${problems[0] ?? ''}` : `DualPublisher:\n- ${problems.join('\n- ')}`,
      options,
    );
  }
}

/** What was given to `publish()` cannot be a message. Nothing was sent. */
export class PublishInputError extends TypeError {
  override readonly name = 'PublishInputError';
  readonly code = 'publish-input';
  readonly retriable = 'no';
}

/** The message was refused or could not be sent. It is on no leg: publishing it again makes no duplicate. */
export class PublishFailedError extends Error {
  override readonly name = 'PublishFailedError';
  readonly code = 'publish-failed';
  /** `no` when it was refused for what it is, or by the rights of the publisher. */
  readonly retriable: 'safe' | 'no';
  constructor(
    readonly id: string,
    readonly topic: string,
    reason: string,
    options: ErrorOptions & { retriable: 'safe' | 'no' },
  ) {
    super(`Message ${id} to ${topic} was not published: ${reason}`, options);
    this.retriable = options.retriable;
  }
}

/**
 * The leg that must acknowledge did not answer within the bound, or the call was ended before it did: the message may
 * be there or not. Publish it again with the same `id` and OwlMQ will not store it twice.
 */
export class PublishOutcomeUnknownError extends Error {
  override readonly name = 'PublishOutcomeUnknownError';
  readonly code = 'publish-outcome-unknown';
  readonly retriable = 'same-id';
  constructor(
    readonly id: string,
    readonly topic: string,
    readonly leg: Leg,
    options?: ErrorOptions,
  ) {
    super(
      `Message ${id} to ${topic} may or may not be on ${leg === 'kafka' ? 'Kafka' : 'OwlMQ'}: it has not answered.`,
      options,
    );
  }
}

/** The message waited for longer than `holdTimeoutMs` and was not sent. */
export class PublishHeldTimeoutError extends Error {
  override readonly name = 'PublishHeldTimeoutError';
  readonly code = 'publish-held-timeout';
  readonly retriable = 'safe';
  constructor(
    readonly id: string,
    readonly topic: string,
    /** `backlog`: nothing held it, but those before it took too long. */
    readonly reason: 'fence' | 'lease-lost' | 'backlog',
    readonly holdTimeoutMs: number,
  ) {
    super(`Message ${id} to ${topic} was not sent within ${holdTimeoutMs} ms: ${holdReasons[reason]}.`);
  }
}

const holdReasons = {
  fence: 'the migration holds publishers (fence)',
  'lease-lost': 'the routing state could not be renewed from Kafka',
  backlog: 'those before it took too long',
} as const;

/** The buffer stayed full for `bufferTimeoutMs`. The message was not sent. */
export class PublishBufferFullError extends Error {
  override readonly name = 'PublishBufferFullError';
  readonly code = 'publish-buffer-full';
  constructor(
    reason: string,
    /** `no` when the message is larger than the whole buffer. */
    readonly retriable: 'safe' | 'no',
  ) {
    super(`The publisher's buffer is full: ${reason}`);
  }
}

/**
 * The call's signal was aborted before the message was handed to a leg; it is on none. `cause` is the signal's reason.
 * A call whose message is on its way fails with {@link PublishOutcomeUnknownError} instead, with this as its cause.
 */
export class PublishAbortedError extends Error {
  override readonly name = 'PublishAbortedError';
  readonly code = 'publish-aborted';
  readonly retriable = 'safe';
  constructor(
    readonly id: string,
    readonly topic: string,
    options: ErrorOptions,
  ) {
    super(`Publishing message ${id} to ${topic} was aborted.`, options);
  }
}

/**
 * The publisher was closed before the message was sent. A call that OwlMQ may already have fails with
 * {@link PublishOutcomeUnknownError} instead.
 */
export class PublisherClosedError extends Error {
  override readonly name = 'PublisherClosedError';
  readonly code = 'publisher-closed';
  /** With another publisher. */
  readonly retriable = 'safe';
  constructor() {
    super('The publisher is closed.');
  }
}

/** `flush()` did not end within its bound. */
export class PublisherFlushTimeoutError extends Error {
  override readonly name = 'PublisherFlushTimeoutError';
  readonly code = 'publisher-flush-timeout';
  readonly retriable = 'safe';
  constructor(
    readonly timeoutMs: number,
    readonly messages: number,
    readonly copies: number,
  ) {
    super(`After ${timeoutMs} ms, ${messages} messages and ${copies} copies are still on their way.`);
  }
}

/** Some messages of a batch were not published; `outcomes` has one entry a message, in their order. */
export class PublishBatchError<T> extends AggregateError {
  override readonly name = 'PublishBatchError';
  readonly code = 'publish-batch';
  /**
   * Of the batch as a whole: `no` when a message of it cannot be published, `safe` when none is or may be. Publishing
   * only those again that failed needs no such care, see `outcomes`.
   */
  readonly retriable: Retriable;
  constructor(readonly outcomes: readonly PromiseSettledResult<T>[]) {
    const errors = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
    super(errors, `${errors.length} of ${outcomes.length} messages were not published; see outcomes.`);
    const hints = new Set(errors.map((error) => (error as Partial<PublishError>).retriable));
    if (hints.has('no')) this.retriable = 'no';
    else this.retriable = errors.length < outcomes.length || hints.has('same-id') ? 'same-id' : 'safe';
  }
}
