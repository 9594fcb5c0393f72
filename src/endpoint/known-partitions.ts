import type { LogReader } from '@owlmq/kafka-bridge/operations';
import { ProblemError, type RequestProblem } from './problem.js';

/** A partition that is not known is looked for again after this time. */
const LOOK_AGAIN_MS = 5_000;

/**
 * Knows how many partitions topics have in Kafka. One that does not exist must not be spoken of: the comparison would
 * wait for it for ever.
 */
export class KnownPartitions {
  readonly #reader: LogReader;
  readonly #counts = new Map<string, { count: number; at: number }>();

  constructor(reader: LogReader) {
    this.#reader = reader;
  }

  /**
   * What is wrong with partitions of topics that are covered.
   *
   * @throws {ProblemError} `unavailable` when Kafka does not answer.
   */
  async problems(named: readonly { at: string; topic: string; partition: number }[]): Promise<RequestProblem[]> {
    const highest = new Map<string, number>();
    for (const { topic, partition } of named) highest.set(topic, Math.max(highest.get(topic) ?? 0, partition));
    for (const [topic, partition] of highest) await this.#learn(topic, partition);
    return named.flatMap(({ at, topic, partition }) => {
      const count = this.#counts.get(topic)?.count ?? 0;
      return partition < count ? [] : [{ at, problem: `${topic} has ${count} partitions in Kafka, numbered from 0` }];
    });
  }

  async #learn(topic: string, partition: number): Promise<void> {
    const known = this.#counts.get(topic);
    const now = performance.now();
    if (known !== undefined && (partition < known.count || now - known.at < LOOK_AGAIN_MS)) return;
    try {
      this.#counts.set(topic, { count: await this.#reader.partitionCount(topic), at: now });
    } catch (error) {
      throw new ProblemError('unavailable', `Kafka does not tell the partitions of ${topic}: send it again.`, [], {
        cause: error,
      });
    }
  }
}
