import type { Leg } from '../message/headers.js';

/** The options of a publisher, or a call to change it, cannot be. All problems at once. */
export class PublisherConfigError extends Error {
  override readonly name = 'PublisherConfigError';
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
}

/** The message was refused or could not be sent. It is on no leg: publishing it again makes no duplicate. */
export class PublishFailedError extends Error {
  override readonly name = 'PublishFailedError';
  constructor(
    readonly id: string,
    readonly topic: string,
    reason: string,
    options?: ErrorOptions,
  ) {
    super(`Message ${id} to ${topic} was not published: ${reason}`, options);
  }
}

/**
 * The leg that must acknowledge did not answer within the bound: the message may be there or not. Publish it again
 * with the same `id` and OwlMQ will not store it twice.
 */
export class PublishOutcomeUnknownError extends Error {
  override readonly name = 'PublishOutcomeUnknownError';
  constructor(
    readonly id: string,
    readonly topic: string,
    readonly leg: Leg,
    options?: ErrorOptions,
  ) {
    super(
      `Message ${id} to ${topic} may or may not be on ${leg === 'kafka' ? 'Kafka' : 'OwlMQ'}: no answer in time.`,
      options,
    );
  }
}

/** The message waited for longer than `holdTimeoutMs` and was not sent. */
export class PublishHeldTimeoutError extends Error {
  override readonly name = 'PublishHeldTimeoutError';
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
  constructor(reason: string) {
    super(`The publisher's buffer is full: ${reason}`);
  }
}

/**
 * The publisher was closed before the message was sent. A call that OwlMQ may already have fails with
 * {@link PublishOutcomeUnknownError} instead.
 */
export class PublisherClosedError extends Error {
  override readonly name = 'PublisherClosedError';
  constructor() {
    super('The publisher is closed.');
  }
}

/** `flush()` did not end within its bound. */
export class PublisherFlushTimeoutError extends Error {
  override readonly name = 'PublisherFlushTimeoutError';
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
  constructor(readonly outcomes: readonly PromiseSettledResult<T>[]) {
    const errors = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
    super(errors, `${errors.length} of ${outcomes.length} messages were not published; see outcomes.`);
  }
}
