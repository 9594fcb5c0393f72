import {
  MultipleErrors,
  NetworkError,
  ProtocolError,
  protocolErrorsCodesById,
  TimeoutError,
} from '@platformatic/kafka';

/** Metadata names no leader of a partition, or one that it has no address of: it is being elected, or restarts. */
export class LeaderUnknownError extends Error {
  override readonly name = 'LeaderUnknownError';
}

/** A broker's answer for a partition, as the client's error; an unknown code reads as the broker's "unknown error". */
export function brokerError(errorCode: number): ProtocolError {
  return new ProtocolError(protocolErrorsCodesById[errorCode] === undefined ? 'UNKNOWN_SERVER_ERROR' : errorCode);
}

/** What a broker may answer while it goes or comes, although the client does not count it as worth another try. */
const ALSO_PASSING: ReadonlySet<unknown> = new Set(['UNKNOWN_SERVER_ERROR', 'BROKER_NOT_AVAILABLE']);

/** Whether another attempt may mend an error of the client: a broken connection, a broker that is away, a leader that moves. */
export function isPassing(error: unknown): boolean {
  if (error instanceof MultipleErrors) {
    // What ran side by side and succeeded has left a hole.
    const failed = (error.errors as unknown[]).filter((one) => one !== undefined && one !== null);
    return failed.length > 0 && failed.every(isPassing);
  }
  if (error instanceof ProtocolError) {
    const { canRetry, apiId } = error as { canRetry?: unknown; apiId?: unknown };
    return canRetry === true || ALSO_PASSING.has(apiId);
  }
  return error instanceof NetworkError || error instanceof TimeoutError || error instanceof LeaderUnknownError;
}
