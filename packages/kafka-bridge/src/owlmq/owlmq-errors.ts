import type { Contract } from '../contract/index.js';

/**
 * What can go wrong with a call to OwlMQ.
 *
 * `outcomeUnknown` says whether the call may have taken effect all the same. Every call may be repeated then:
 * publishing is idempotent by record id, the others by nature.
 */
export abstract class OwlmqError extends Error {
  abstract override readonly name: string;
  readonly outcomeUnknown: boolean;

  constructor(message: string, outcomeUnknown: boolean, options?: ErrorOptions) {
    super(message, options);
    this.outcomeUnknown = outcomeUnknown;
  }
}

/** The client cannot be made. The message says what to set. */
export class OwlmqConfigError extends OwlmqError {
  override readonly name = 'OwlmqConfigError';

  constructor(message: string, options?: ErrorOptions) {
    super(message, false, options);
  }
}

/** No answer: the connection failed or broke, or the time was over. */
export class OwlmqUnreachableError extends OwlmqError {
  override readonly name = 'OwlmqUnreachableError';

  constructor(
    message: string,
    readonly reason: 'connection' | 'timeout',
    options?: ErrorOptions,
  ) {
    super(message, true, options);
  }
}

/** An answer that the contract does not allow: not OwlMQ, or another version of it. */
export class OwlmqProtocolError extends OwlmqError {
  override readonly name = 'OwlmqProtocolError';

  constructor(message: string, options?: ErrorOptions) {
    super(message, true, options);
  }
}

/** An error that OwlMQ answered with; subclasses for those that callers tell apart. */
export class OwlmqProblemError extends OwlmqError {
  override readonly name: string = 'OwlmqProblemError';
  readonly type: string;
  readonly status: number;

  constructor(
    readonly problem: Contract['Problem'],
    operation: string,
    options?: ErrorOptions,
  ) {
    super(`${operation}: ${problem.type}: ${problem.detail}`, problem.status >= 500, options);
    this.type = problem.type;
    this.status = problem.status;
  }
}

/** 401 or 403: the API key is not known, or may not do this. */
export class OwlmqUnauthorizedError extends OwlmqProblemError {
  override readonly name = 'OwlmqUnauthorizedError';
}

/** No such topic, partition or group. */
export class OwlmqNotFoundError extends OwlmqProblemError {
  override readonly name = 'OwlmqNotFoundError';
}

/** 429 or 503, still after all attempts. */
export class OwlmqThrottledError extends OwlmqProblemError {
  override readonly name = 'OwlmqThrottledError';

  constructor(
    problem: Contract['Problem'],
    operation: string,
    /** How long OwlMQ asked to wait; undefined when it did not say. */
    readonly retryAfterMs: number | undefined,
  ) {
    super(problem, operation);
  }
}

/** Offsets of a group with members cannot be set. */
export class OwlmqGroupNotEmptyError extends OwlmqProblemError {
  override readonly name = 'OwlmqGroupNotEmptyError';

  get members(): readonly string[] {
    return this.problem.members ?? [];
  }
}

/** The generation is over or the member was removed: drop the partitions and join again. */
export class OwlmqStaleGenerationError extends OwlmqProblemError {
  override readonly name = 'OwlmqStaleGenerationError';
}

/** The offset is before the begin or past the end of its partition. */
export class OwlmqOffsetOutOfRangeError extends OwlmqProblemError {
  override readonly name = 'OwlmqOffsetOutOfRangeError';

  get beginOffset(): number | undefined {
    return this.problem.beginOffset;
  }

  get endOffset(): number | undefined {
    return this.problem.endOffset;
  }
}

/** The error for a problem that OwlMQ answered with. */
export function problemError(
  problem: Contract['Problem'],
  operation: string,
  retryAfterMs: number | undefined,
): OwlmqProblemError {
  if (problem.status === 401 || problem.status === 403) return new OwlmqUnauthorizedError(problem, operation);
  if (problem.status === 429 || problem.status === 503) {
    return new OwlmqThrottledError(problem, operation, retryAfterMs);
  }
  switch (problem.type) {
    case 'unknown-topic':
    case 'unknown-partition':
    case 'unknown-group':
      return new OwlmqNotFoundError(problem, operation);
    case 'group-not-empty':
      return new OwlmqGroupNotEmptyError(problem, operation);
    case 'stale-generation':
      return new OwlmqStaleGenerationError(problem, operation);
    case 'offset-out-of-range':
      return new OwlmqOffsetOutOfRangeError(problem, operation);
    default:
      return new OwlmqProblemError(problem, operation);
  }
}
