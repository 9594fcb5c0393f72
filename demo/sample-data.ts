import { createHash } from 'node:crypto';

/** Topics of the sample traffic, by what is in them. */
export interface SampleTopics {
  readonly orders: string;
  readonly payments: string;
}

/** One message of the sample traffic. Messages of a key in a topic are numbered from 1, without gaps. */
export interface SampleMessage {
  readonly topic: string;
  readonly key: string;
  readonly number: number;
  readonly value: Readonly<Record<string, unknown>>;
}

/** Which part of the traffic a producer makes: no key belongs to two producers, so that each key has an order. */
export interface SampleShare {
  readonly topics: SampleTopics;
  readonly seed: number;
  readonly keys: number;
  /** From 0. */
  readonly producer: number;
  readonly producers: number;
}

const skus = ['espresso-beans', 'moka-pot', 'paper-filter', 'oat-drink', 'burr-grinder', 'scale', 'kettle', 'cup'];
const methods = ['card', 'transfer', 'invoice', 'wallet'];

/** Endless messages: the same ones for the same seed. */
export function* sampleMessages({ topics, seed, keys, producer, producers }: SampleShare): Generator<SampleMessage> {
  const random = seededRandom(seed * 1_000 + producer);
  const below = (bound: number): number => Math.floor(random() * bound);
  const own = Array.from({ length: keys }, (_, index) => index).filter((index) => index % producers === producer);
  const numbers = new Map<string, number>();
  for (let made = 1; ; made++) {
    const key = `customer-${String(own[below(own.length)]).padStart(4, '0')}`;
    const topic = random() < 0.6 ? topics.orders : topics.payments;
    const number = (numbers.get(`${topic}/${key}`) ?? 0) + 1;
    numbers.set(`${topic}/${key}`, number);
    const common = { customer: key, number, reference: `${producer}-${made}` };
    if (topic === topics.orders) {
      const lines = Array.from({ length: 1 + below(4) }, () => ({
        sku: skus[below(skus.length)],
        quantity: 1 + below(5),
        cents: 100 + below(20_000),
      }));
      const cents = lines.reduce((sum, line) => sum + line.quantity * line.cents, 0);
      yield { topic, key, number, value: { ...common, currency: 'EUR', lines, cents } };
    } else {
      yield {
        topic,
        key,
        number,
        value: { ...common, method: methods[below(methods.length)], cents: 100 + below(90_000) },
      };
    }
  }
}

/** Short digest of a message's bytes, to tell whether it arrived as it was sent. */
export function digestOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('base64url').slice(0, 10);
}

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
