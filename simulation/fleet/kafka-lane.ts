import {
  HEADER,
  parsePosition,
  PublishFailedError,
  PublishOutcomeUnknownError,
  type KafkaEntry,
  type KafkaLane,
} from '@owlmq/kafka-bridge/protocol';
import type { Process } from '../clock/world.js';
import type { Stored } from '../systems/message.js';
import type { Systems } from '../systems/systems.js';

const REQUEST_TIMEOUT_MS = 700;

export interface SimulatedLaneOptions {
  systems: Systems;
  process: Process;
  deliveryTimeoutMs: number;
  /** Told of each message whose bytes leave for Kafka. */
  leaves: (message: Stored) => void;
}

interface Batch {
  abandoned: boolean;
  written: boolean;
  connection: AbortController;
}

/**
 * A producer in place of `KafkaLane`: a batch at a time, repeated until Kafka has answered, which stores it once; each
 * time the bytes are about to leave, `mayWrite` is asked.
 */
export class SimulatedKafkaLane {
  readonly #options: SimulatedLaneOptions;
  #batch: Batch | undefined;
  #batches = 0;

  constructor(options: SimulatedLaneOptions) {
    this.#options = options;
  }

  /** As what the dispatcher takes. */
  get asLane(): KafkaLane {
    return this as unknown as KafkaLane;
  }

  async send(entries: readonly KafkaEntry[], mayWrite: () => boolean): Promise<void> {
    const { systems, process, deliveryTimeoutMs } = this.#options;
    const { world, network } = systems;
    const endsAt = world.now + deliveryTimeoutMs;
    const name = `${process.name}/${++this.#batches}`;
    const batch: Batch = { abandoned: false, written: false, connection: new AbortController() };
    this.#batch = batch;
    for (;;) {
      if (batch.abandoned || world.now >= endsAt) break;
      if (mayWrite()) {
        if (batch.connection.signal.aborted) batch.connection = new AbortController();
        batch.written = true;
        const messages = entries.map(({ partition, message, id }) => ({
          partition,
          message: storedOf(id, message.headers ?? {}, String(message.key), process.name, world.now),
        }));
        for (const { message } of messages) this.#options.leaves(message);
        try {
          const timeoutMs = Math.min(REQUEST_TIMEOUT_MS, endsAt - world.now);
          const { signal } = batch.connection;
          const offsets = await network.ask(process, systems.kafka, () => systems.produce(name, messages), {
            timeoutMs,
            signal,
          });
          for (const [index, entry] of entries.entries()) {
            entry.outcome = { partition: entry.partition, offset: offsets[index] ?? -1 };
          }
          return;
        } catch {
          // Repeated by the same producer with the same numbers.
        }
      }
      if (!this.#isAbandoned(batch)) await world.sleep(process, world.random.between(20, 200));
    }
    const cause = new Error('Kafka did not answer in time.');
    for (const entry of entries) {
      if (batch.written) entry.outcome = new PublishOutcomeUnknownError(entry.id, entry.topic, 'kafka', { cause });
      else if (batch.abandoned) entry.outcome = 'not-sent';
      else entry.outcome = new PublishFailedError(entry.id, entry.topic, cause.message, { cause, retriable: 'safe' });
    }
  }

  /** The connection is cut; what is on its way may arrive all the same. */
  cut(): void {
    this.#batch?.connection.abort();
  }

  abandon(): void {
    if (this.#batch === undefined) return;
    this.#batch.abandoned = true;
    this.#batch.connection.abort();
  }

  #isAbandoned(batch: Batch): boolean {
    return batch.abandoned;
  }
}

/** A message from the bridge's headers. */
export function storedOf(
  id: string,
  headers: Readonly<Record<string, unknown>>,
  key: string,
  writer: string,
  leftAt: number,
): Stored {
  const source = parsePosition(textOf(headers[HEADER.source]));
  return {
    id,
    key,
    number: Number(id.slice(id.lastIndexOf(':') + 1)),
    epoch: Number(textOf(headers[HEADER.epoch])),
    writer,
    copied: textOf(headers[HEADER.copied]) === '1',
    source: source === undefined ? undefined : { leg: source.leg, offset: source.offset },
    leftAt,
  };
}

/** Values of headers are bytes or text. */
function textOf(value: unknown): string | undefined {
  return typeof value === 'string' || Buffer.isBuffer(value) ? value.toString() : undefined;
}
