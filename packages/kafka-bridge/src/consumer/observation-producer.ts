import { setTimeout as delay } from 'node:timers/promises';
import type { Kafka, Producer } from 'kafkajs';
import { encodeObservation, observationKey, OBSERVATIONS_TOPIC, type Observation } from './observation.js';

/** Observations could not be written in time and were given up, so that the service goes on. */
export class ObservationsLostError extends Error {
  override readonly name = 'ObservationsLostError';
  constructor(
    readonly count: number,
    options: ErrorOptions,
  ) {
    super(
      `${count} observations could not be written to ${OBSERVATIONS_TOPIC} and were given up: the comparison will show a difference that is none.`,
      options,
    );
  }
}

const MAX_BATCH = 500;
/** Half of what a broker takes by default: an observation may have some 30,000 characters, not all of one byte. */
const MAX_BATCH_CHARS = 250_000;
const MAX_BUFFERED = 5_000;
const MAX_BUFFERED_CHARS = 8_000_000;
const GIVE_UP_AFTER_MS = 15_000;
const RETRY_DELAY_MS = 500;

interface EncodedObservation {
  key: string;
  value: string;
  /** Told when it was given up. */
  lost: ((error: ObservationsLostError) => void) | undefined;
}

/**
 * Writes observations to Kafka: in order, one request at a time, batched by how long a request takes. Observing must
 * not stop a service: what Kafka does not take in time is given up and told.
 */
export class ObservationProducer {
  readonly #producer: Producer;
  readonly #onError: (error: Error) => void;
  readonly #giveUpAfterMs: number;
  #buffer: EncodedObservation[] = [];
  #bufferedChars = 0;
  #added = 0;
  #settled = 0;
  #waiting: { upTo: number; resolve: () => void }[] = [];
  #sending: Promise<void> | undefined;
  #closing = false;
  #failing = false;

  /** @param giveUpAfterMs how long Kafka may take before observations are given up (default 15 s). */
  constructor(kafka: Kafka, onError: (error: Error) => void, giveUpAfterMs = GIVE_UP_AFTER_MS) {
    this.#producer = kafka.producer({ allowAutoTopicCreation: false, retry: { retries: 3, initialRetryTime: 200 } });
    this.#onError = onError;
    this.#giveUpAfterMs = giveUpAfterMs;
  }

  async start(): Promise<void> {
    await this.#producer.connect();
  }

  /** Takes an observation; resolves at once unless the buffer is full. */
  async add(observation: Observation): Promise<void> {
    this.#push(observation, undefined);
    if (this.#buffer.length >= MAX_BUFFERED || this.#bufferedChars >= MAX_BUFFERED_CHARS) {
      await this.#settledUpTo(this.#added - Math.floor(this.#buffer.length / 2));
    }
  }

  /**
   * Takes observations, in this turn, and resolves once Kafka acknowledged all of them. The caller bounds how many it
   * has under way, and writes all that were given up again, in order.
   *
   * @throws {ObservationsLostError} when some were given up, and with them all behind them; those before may be stored.
   */
  async write(observations: readonly Observation[]): Promise<void> {
    const losses: ObservationsLostError[] = [];
    for (const observation of observations) this.#push(observation, (error) => losses.push(error));
    await this.flush();
    if (losses[0] !== undefined) throw losses[0];
  }

  /** Resolves once every observation added so far was acknowledged by Kafka, or given up. */
  async flush(): Promise<void> {
    await this.#settledUpTo(this.#added);
  }

  /** Writes what is buffered and disconnects. */
  async stop(): Promise<void> {
    this.#closing = true;
    await this.flush();
    await this.#producer.disconnect();
  }

  #push(observation: Observation, lost: EncodedObservation['lost']): void {
    const encoded = { key: observationKey(observation), value: encodeObservation(observation), lost };
    this.#buffer.push(encoded);
    this.#bufferedChars += encoded.value.length;
    this.#added += 1;
    this.#sending ??= this.#send();
  }

  async #settledUpTo(upTo: number): Promise<void> {
    if (this.#settled >= upTo) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push({ upTo, resolve });
    });
  }

  async #send(): Promise<void> {
    // Lets what is added in the same turn share a request.
    await delay(1);
    while (this.#buffer.length > 0) {
      let batch = firstBatch(this.#buffer);
      try {
        await this.#write(batch);
      } catch (error) {
        // What is written again must not find later ones before it: the comparison would take it for a redelivery.
        if (batch.some((one) => one.lost !== undefined)) batch = [...this.#buffer];
        const lost = new ObservationsLostError(batch.length, { cause: error });
        this.#onError(lost);
        for (const one of batch) one.lost?.(lost);
      }
      this.#buffer = this.#buffer.slice(batch.length);
      for (const { value } of batch) this.#bufferedChars -= value.length;
      this.#settled += batch.length;
      const due = this.#waiting.filter(({ upTo }) => upTo <= this.#settled);
      this.#waiting = this.#waiting.filter(({ upTo }) => upTo > this.#settled);
      for (const { resolve } of due) resolve();
    }
    this.#sending = undefined;
  }

  async #write(batch: readonly EncodedObservation[]): Promise<void> {
    const messages = batch.map(({ key, value }) => ({ key, value }));
    // Once given up, the service is not held again until a write succeeds.
    const deadline = performance.now() + (this.#failing ? 0 : this.#giveUpAfterMs);
    for (;;) {
      try {
        await this.#producer.send({ topic: OBSERVATIONS_TOPIC, acks: -1, messages });
        this.#failing = false;
        return;
      } catch (error) {
        if (this.#closing || performance.now() > deadline) {
          this.#failing = true;
          throw error;
        }
        await delay(RETRY_DELAY_MS);
      }
    }
  }
}

/** As many as one request takes, and one in any case. */
function firstBatch(buffer: readonly EncodedObservation[]): EncodedObservation[] {
  const batch = buffer.slice(0, MAX_BATCH);
  let chars = 0;
  const tooMany = batch.findIndex(({ value }) => (chars += value.length) > MAX_BATCH_CHARS);
  return tooMany === -1 ? batch : batch.slice(0, Math.max(1, tooMany));
}
