import { bounded } from '@owlmq/kafka-bridge/operations';
import { ProblemError } from './problem.js';

/** Kafka is given up sooner, unless it takes connections and does not answer. */
const ANSWER_WITHIN_MS = 15_000;

/**
 * What comes of the work for a request, in bounded time. Past it the work goes on, and `late` aborts.
 *
 * @throws {ProblemError} `unavailable` when the time is over first.
 */
export async function inTime<T>(work: (late: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController();
  return await bounded(work(late.signal), ANSWER_WITHIN_MS, () => {
    late.abort();
    return tooLate();
  });
}

export function tooLate(): ProblemError {
  return new ProblemError(
    'unavailable',
    'Kafka did not answer in time: some of it may be done. Send all of the request again.',
  );
}
