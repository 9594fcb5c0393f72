import { join } from 'node:path';
import { execa } from 'execa';
import type { KafkaTools } from '../find/kafka-tools.js';

/** How Kafka's own scripts run a tool, so that a time measured here is the tool's. */
const JVM = ['-Xmx256M', '-server', '-XX:+UseG1GC', '-XX:MaxGCPauseMillis=20', '-Djava.awt.headless=true'];
const LOG = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn';

/** What a console tool printed, and how long its process lived. */
export interface ToolRun {
  readonly out: string;
  readonly ms: number;
}

/** A console tool exited non-zero, was ended at its limit, or said in its output that it failed. */
export class KafkaToolError extends Error {
  override readonly name = 'KafkaToolError';
}

/**
 * Runs `kafka-consumer-groups` to its end. It is ended when it takes longer than `timeoutMs`, when the signal is
 * aborted, and when this process ends.
 * @throws KafkaToolError with its output.
 */
export async function runConsumerGroups(
  tools: KafkaTools,
  args: readonly string[],
  options: { timeoutMs?: number; signal?: AbortSignal | undefined } = {},
): Promise<ToolRun> {
  const { timeoutMs = 60_000, signal } = options;
  const main = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand';
  const begun = performance.now();
  const { exitCode, stdout, stderr, timedOut, isCanceled, failed } = await execa(
    tools.java,
    [...JVM, LOG, '-cp', join(tools.libs, '*'), main, ...args],
    {
      reject: false,
      stdin: 'ignore',
      timeout: timeoutMs,
      forceKillAfterDelay: 2_000,
      ...(signal === undefined ? {} : { cancelSignal: signal }),
    },
  );
  const ms = performance.now() - begun;
  if (isCanceled) signal?.throwIfAborted();
  // It exits with 0 after most errors, and prints them among its results.
  if (!failed && !/^Error: /m.test(stdout)) return { out: stdout, ms };
  const how = timedOut ? `took longer than ${timeoutMs / 1_000} s` : `failed (exit code ${exitCode ?? 'none'})`;
  throw new KafkaToolError(`kafka-consumer-groups ${args.join(' ')} ${how}:\n${stdout}\n${stderr}`);
}

/** A group's place in a partition, as `kafka-consumer-groups --describe` tells it. */
export interface DescribedOffset {
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  /** Undefined where the group has no commit. */
  readonly offset: number | undefined;
  readonly logEnd: number;
  /** Undefined where the group has no commit. */
  readonly lag: number | undefined;
}

const COLUMNS = ['GROUP', 'TOPIC', 'PARTITION', 'CURRENT-OFFSET', 'LOG-END-OFFSET', 'LAG'] as const;

/** Takes the output of `kafka-consumer-groups --describe` apart, of one group or several. */
export function parseDescribedOffsets(out: string): DescribedOffset[] {
  const found: DescribedOffset[] = [];
  let places: number[] | undefined;
  for (const line of out.split('\n')) {
    const words = line.trim().split(/\s+/);
    if (words[0] === 'GROUP') {
      // Versions differ in the columns between these.
      places = COLUMNS.map((column) => words.indexOf(column));
      if (places.includes(-1)) throw new KafkaToolError(`A column is missing: ${line}`);
      continue;
    }
    if (places === undefined || words.length < COLUMNS.length) continue;
    const [group = '', topic = '', partition = '', offset = '', end = '', lag = ''] = places.map(
      (place) => words[place] ?? '',
    );
    const number = (word: string): number | undefined => (word === '-' ? undefined : Number(word));
    found.push({
      ...{ group, topic, partition: Number(partition), offset: number(offset) },
      ...{ logEnd: Number(end), lag: number(lag) },
    });
  }
  return found;
}
