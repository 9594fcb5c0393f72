import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { KafkaTools } from '../../../engines/find/kafka-tools.js';
import type { ServerPlan } from '../../../engines/run/server-plan.js';

export interface JavaProducerOptions {
  readonly tools: KafkaTools;
  readonly id: string;
  readonly folder: string;
  readonly broker: string;
  readonly topic: string;
  /** Which start it is: its values begin with it. */
  readonly start: number;
  readonly keys: number;
  readonly rate: number;
}

/**
 * Kafka's own producer, which knows nothing of the migration: its VerifiableProducer writes increasing numbers and prints
 * each acknowledgement.
 */
export function javaProducerPlan(options: JavaProducerOptions): ServerPlan<never> {
  const { tools, id, folder, broker, topic, start, keys, rate } = options;
  return {
    ...{ id, title: id, folder, preferredPorts: {}, fingerprint: '' },
    readyWithinMs: 30_000,
    graceMs: 20_000,
    command: async () => {
      // The tool itself would not retry, and then not be idempotent: as Kafka's defaults have it.
      const config = join(folder, `${id}.properties`);
      const bounds = ['delivery.timeout.ms=20000', 'request.timeout.ms=5000', 'linger.ms=5'];
      const retries = ['retries=2147483647', 'enable.idempotence=true'];
      await writeFile(config, [...retries, ...bounds].join('\n'));
      const jvm = ['-Xmx96m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
      const log = '-Dorg.slf4j.simpleLogger.defaultLogLevel=error';
      const main = 'org.apache.kafka.tools.VerifiableProducer';
      const what = ['--topic', topic, '--value-prefix', String(start), '--repeating-keys', String(keys)];
      const how = ['--throughput', String(Math.max(1, Math.round(rate))), '--command-config', config];
      const args = [...jvm, log, '-cp', join(tools.libs, '*'), main, '--bootstrap-server', broker, ...what, ...how];
      return { file: tools.java, args, cwd: folder };
    },
    // It may be started while Kafka is away.
    probe: () => Promise.resolve(),
  };
}

/** What the producer printed of a message. */
export interface JavaOutcome {
  readonly start: number;
  readonly serial: number;
  readonly acknowledged: boolean;
}

/** Reads all that a start of it printed. A message that is not told of may have been written or not. */
export async function* javaOutcomes(logFile: string): AsyncGenerator<JavaOutcome> {
  const lines = createInterface({ input: createReadStream(logFile), crlfDelay: Infinity });
  for await (const line of lines) {
    const sent = /"name":"producer_send_(success|error)"/.exec(line);
    const value = /"value":"(\d+)\.(\d+)"/.exec(line);
    if (sent === null || value === null) continue;
    yield { start: Number(value[1]), serial: Number(value[2]), acknowledged: sent[1] === 'success' };
  }
}
