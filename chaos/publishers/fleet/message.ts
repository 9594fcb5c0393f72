import { Random } from '../../random.js';

/** A message of a publisher process. Its id, key and number are the harness's, not the library's under test. */
export interface ChaosMessage {
  /** `PUBLISHER.INCARNATION.SERIAL`. */
  id: string;
  topic: string;
  key: string | null;
  /** Number among the messages of its key and topic from this incarnation, from 1; of all without key for those. */
  n: number;
}

export interface MessageSource {
  publisher: number;
  /** How often this publisher was started, from 1. */
  incarnation: number;
  topics: readonly string[];
  /** Keys of this publisher in each topic; no other publisher has them. */
  keys: number;
  seed: number;
}

const KEYLESS_SHARE = 0.25;
const MOST_PADDING = 600;

/** Endless messages: the same ones for the same source. */
export function* messages({ publisher, incarnation, topics, keys, seed }: MessageSource): Generator<ChaosMessage> {
  const random = new Random(seed, 'messages', publisher, incarnation);
  const numbers = new Map<string, number>();
  for (let serial = 1; ; serial++) {
    const topic = random.pick(topics);
    const key = random.share() < KEYLESS_SHARE ? null : `p${publisher}-k${random.below(keys)}`;
    const name = `${topic}/${key ?? ''}`;
    const n = (numbers.get(name) ?? 0) + 1;
    numbers.set(name, n);
    yield { id: `p${publisher}.${incarnation}.${serial}`, topic, key, n };
  }
}

/** The process start that published a message: `PUBLISHER.INCARNATION`. */
export function incarnationOf(id: string): string {
  return id.slice(0, id.lastIndexOf('.'));
}

/** The value that the message must have wherever it is stored. */
export function valueOf({ id, topic, key, n }: ChaosMessage): string {
  return JSON.stringify({ id, topic, key, n, padding: 'x'.repeat((n * 37) % MOST_PADDING) });
}
