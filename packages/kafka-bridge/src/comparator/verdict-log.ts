import { backoffMs, bounded } from '../async/bounded.js';
import { rootMessages } from '../async/causes.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { sendKeyed } from '../kafka/keyed-records.js';
import type { LogCallOptions, LogReader } from '../kafka/log-reader.js';
import { ReplaceableProducer } from '../kafka/replaceable-producer.js';
import { ensureBridgeTopics } from '../routing/bridge-topics.js';
import type { ComparisonReport } from './observation-log.js';
import { decodeVerdictRecord, VERDICTS_TOPIC, verdictKey, type VerdictRecord } from './verdict-record.js';

export interface VerdictWriterOptions {
  connection: KafkaConnection;
  clientId: string;
  migration: string;
  /** See `comparisonId`. */
  comparison: string;
  /** Name of the part of the observations topic that is compared, and the number of parts. */
  part: string;
  parts: number;
  /** Told of each write that failed. */
  onError: (error: Error) => void;
}

/** What the comparison has found could not be written. It goes on all the same, and is written later. */
class VerdictsNotWrittenError extends Error {
  override readonly name = 'VerdictsNotWrittenError';
}

const WRITE_EVERY_MS = 2_000;
/** Times go on without any other change, and an earlier comparison's writer that is not gone yet must not be the last. */
const WRITE_AGAIN_MS = 30_000;
const WRITE_TIMEOUT_MS = 5_000;
const TOPIC_TIMEOUT_MS = 10_000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Writes what a comparison has found where a person can read it with nothing but Kafka. What is written is a function
 * of the checkpoint, so that one that goes on from an earlier one writes the same again.
 *
 * A write that fails does not end the comparison: it is tried again with later figures, at growing intervals, and
 * `problem` says so until one succeeds.
 */
export class VerdictWriter {
  readonly #options: VerdictWriterOptions;
  readonly #producer: ReplaceableProducer;
  /** Of what was written last. */
  #written: { text: string; at: number } | undefined;
  #failures = 0;
  #notBefore = 0;
  #problem: string | undefined;

  constructor(options: VerdictWriterOptions) {
    this.#options = options;
    this.#producer = new ReplaceableProducer(options);
  }

  /** Why what was found last is not written, in words; undefined when it is. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /**
   * Takes what a step of the comparison found, and writes it when that is due. Never rejects, and is bounded in time.
   *
   * @param last nothing comes after it: it is written now, in a second attempt too, unless that was just done.
   */
  async take(report: ComparisonReport, { last = false } = {}): Promise<void> {
    const now = performance.now();
    const sinceMs = now - (this.#written?.at ?? -Infinity);
    // Most steps are not due, whatever they found.
    if (!last && (sinceMs < WRITE_EVERY_MS || now < this.#notBefore)) return;
    const text = JSON.stringify(Object.entries(report.groups).map(([name, of]) => [name, of.counts, of.samples]));
    const changed = text !== this.#written?.text;
    if (!changed && sinceMs < (last ? WRITE_EVERY_MS : WRITE_AGAIN_MS)) return;
    const written = (await this.#write(report)) || (last && (await this.#write(report)));
    if (written) this.#written = { text, at: performance.now() };
  }

  async close(): Promise<void> {
    await this.#producer.close();
  }

  async #write(report: ComparisonReport): Promise<boolean> {
    const { migration, connection, clientId, onError } = this.#options;
    try {
      if (this.#failures > 0) {
        // Made by the worker at its start; somebody may have deleted it since.
        await bounded(
          ensureBridgeTopics(connection, clientId),
          TOPIC_TIMEOUT_MS,
          () =>
            new Error(`Kafka did not say within ${TOPIC_TIMEOUT_MS} ms whether there is a topic ${VERDICTS_TOPIC}.`),
        );
      }
      const records = verdictRecords(this.#options, report);
      const keyed = records.map((record) => ({ key: verdictKey(record), value: JSON.stringify(record) }));
      await sendKeyed(this.#producer, VERDICTS_TOPIC, keyed, WRITE_TIMEOUT_MS);
      this.#failures = 0;
      this.#problem = undefined;
      return true;
    } catch (error) {
      this.#producer.abandon();
      this.#notBefore = performance.now() + backoffMs(this.#failures, WRITE_EVERY_MS, LONGEST_PAUSE_MS);
      this.#failures += 1;
      this.#problem = `What the comparison of ${migration} finds cannot be written to ${VERDICTS_TOPIC}, so that "kafka-bridge discrepancies" does not show it: ${rootMessages(error).join('; ')} Check the topic and the worker's right to write to it.`;
      onError(new VerdictsNotWrittenError(this.#problem, { cause: error }));
      return false;
    }
  }
}

function verdictRecords(
  { migration, comparison, part, parts }: VerdictWriterOptions,
  report: ComparisonReport,
): VerdictRecord[] {
  const at = new Date().toISOString();
  const lost = [
    ...(report.overflow ? ['More was compared out of order than is remembered: the comparison begins anew.'] : []),
    ...(report.expired > 0 ? [`Retention took ${report.expired} observations before they were compared.`] : []),
  ];
  return Object.entries(report.groups).map(([group, { counts, samples, unmatched, comparedUpTo, stalled }]) => ({
    version: 1,
    migration,
    group,
    part,
    parts,
    comparison,
    counts,
    samples,
    unmatched,
    ...(comparedUpTo === undefined ? {} : { comparedUpTo }),
    holds: report.watched.compared[group] !== undefined,
    stalled: [...stalled, ...lost],
    at,
  }));
}

/** What was written of a migration. */
export interface VerdictLog {
  /** In the order of the log. */
  records: VerdictRecord[];
  /** Records of the topic that this version cannot read. */
  unreadable: number;
}

/**
 * Reads what comparisons of a migration have found.
 *
 * @throws {UnknownTopicError} when no worker that stores it has run on this cluster.
 * @throws {LogUnavailableError}
 */
export async function readVerdicts(
  reader: LogReader,
  migration: string,
  call: LogCallOptions = {},
): Promise<VerdictLog> {
  const found: VerdictLog = { records: [], unreadable: 0 };
  for await (const { value } of reader.readToEnd(VERDICTS_TOPIC, 0, 'begin', call)) {
    const record = decodeVerdictRecord(value);
    if (record === undefined) found.unreadable += value === null ? 0 : 1;
    else if (record.migration === migration) found.records.push(record);
  }
  return found;
}
