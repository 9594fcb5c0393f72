import { createHash } from 'node:crypto';
import type { Kafka, Producer } from 'kafkajs';
import { asError } from '../async/bounded.js';
import type { Leg } from '../message/headers.js';
import { murmur2 } from '../message/murmur2.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
import type { ConsumedMessage } from './consumed-message.js';

/** A message that its handler gave up, and why. */
export interface DeadLetter {
  message: ConsumedMessage;
  error: Error;
  attempts: number;
}

/** A message could not be written to the dead-letter topic; its partition stops before it. */
export class DeadLetterFailedError extends Error {
  override readonly name = 'DeadLetterFailedError';
  readonly code = 'dead-letter-failed';
  constructor(
    readonly topic: string,
    readonly partition: number,
    readonly messageId: string,
    reason: string,
    options?: ErrorOptions,
  ) {
    super(`${topic}/${partition}: message ${messageId} is not in the dead-letter topic: ${reason}`, options);
  }
}

export interface DeadLettersOptions {
  /** Undefined: none was named. */
  topic: string | undefined;
  group: string;
  handlerVersion: string | undefined;
  kafka: Kafka;
  owlmq: OwlmqApi | undefined;
}

const PREFIX = 'dead-letter-';
const MAX_REASON_CHARS = 1_000;

/**
 * Writes messages that were given up to the dead-letter topic, on the leg that they were read from, with key, value and
 * headers as they were and headers that say why. At least once; OwlMQ stores one that comes again once.
 */
export class DeadLetters {
  readonly #options: DeadLettersOptions;
  #producer: Promise<Producer> | undefined;
  /** Partitions of the topic on OwlMQ. */
  #partitions: number | undefined;

  constructor(options: DeadLettersOptions) {
    this.#options = options;
  }

  /** @throws {DeadLetterFailedError} */
  async send(leg: Leg, letter: DeadLetter): Promise<void> {
    const { topic: from, partition, id } = letter.message;
    const { topic } = this.#options;
    if (topic === undefined) {
      throw new DeadLetterFailedError(from, partition, id, 'set `deadLetterTopic` to use this decision.');
    }
    try {
      if (leg === 'kafka') await this.#toKafka(topic, letter);
      else await this.#toOwlmq(topic, letter);
    } catch (error) {
      throw new DeadLetterFailedError(from, partition, id, `${topic} on ${leg}: ${asError(error).message}`, {
        cause: error,
      });
    }
  }

  async close(): Promise<void> {
    const producer = await this.#producer?.catch(() => undefined);
    await producer?.disconnect();
  }

  async #toKafka(topic: string, letter: DeadLetter): Promise<void> {
    const { key, value, headers, timestamp } = letter.message;
    const producer = await this.#connected();
    await producer.send({
      topic,
      acks: -1,
      messages: [
        { key, value, timestamp: String(timestamp), headers: { ...headers, ...Object.fromEntries(this.#why(letter)) } },
      ],
    });
  }

  async #toOwlmq(topic: string, letter: DeadLetter): Promise<void> {
    const { owlmq, group } = this.#options;
    const { message } = letter;
    if (owlmq === undefined) throw new Error('Without a migration there is no OwlMQ.');
    this.#partitions ??= (await owlmq.describeTopic(topic))?.partitions.length;
    if (this.#partitions === undefined) throw new Error('The topic does not exist. Create it.');
    const own = Object.entries(message.headers).flatMap(([name, values]) =>
      (Array.isArray(values) ? values : [values]).map((one): [string, Buffer] => [name, one]),
    );
    const [result] = await owlmq.publish(topic, [
      {
        partition: (murmur2(message.key ?? Buffer.from(message.id)) & 0x7fffffff) % this.#partitions,
        // Not the message's own: other groups may give up the same message.
        id: createHash('sha256')
          .update(JSON.stringify([group, message.topic, message.id]))
          .digest('base64url'),
        key: message.key,
        value: message.value,
        timestamp: message.timestamp,
        headers: [...own, ...this.#why(letter)],
      },
    ]);
    if (result?.ok !== true) throw new Error(result?.detail ?? 'OwlMQ has not answered.');
  }

  #why({ message, error, attempts }: DeadLetter): [string, Buffer][] {
    const { group, handlerVersion } = this.#options;
    const { topic, partition, id, position } = message;
    const texts: [string, string | undefined][] = [
      ['group', group],
      ['topic', topic],
      ['partition', String(partition)],
      ['leg', position.leg],
      ['offset', String(position[position.leg] ?? '')],
      ['id', id],
      ['error', error.name],
      ['reason', error.message.slice(0, MAX_REASON_CHARS)],
      ['attempts', String(attempts)],
      ['handler-version', handlerVersion],
      ['at', new Date().toISOString()],
    ];
    return texts.flatMap(([name, text]) => (text === undefined ? [] : [[`${PREFIX}${name}`, Buffer.from(text)]]));
  }

  /** Connected once it is needed, and again after a failure to. */
  async #connected(): Promise<Producer> {
    this.#producer ??= (async () => {
      const producer = this.#options.kafka.producer({ allowAutoTopicCreation: false, retry: { retries: 3 } });
      await producer.connect();
      return producer;
    })();
    try {
      return await this.#producer;
    } catch (error) {
      this.#producer = undefined;
      throw error;
    }
  }
}
