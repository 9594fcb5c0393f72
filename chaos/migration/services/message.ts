/** Which message it is, told by what its producer made of it and not by an id of the library under test. */
export interface MessageName {
  readonly producer: number;
  /** Which start of the producer's process made it, from 1. */
  readonly start: number;
  /** From 0 within its start. */
  readonly serial: number;
}

export interface MessageContent {
  readonly topic: string;
  readonly key: string | null;
  readonly value: string;
}

/** What messages of a run are made from. */
export interface MessageRules {
  readonly seed: number;
  readonly topics: readonly string[];
  /** Keys of each producer; no other producer has them. */
  readonly keys: number;
  /** Number of the producer that is not ours; the others' are below it. */
  readonly foreign: number;
}

/** One message in so many has no key. */
const KEYLESS_EVERY = 8;
const MOST_PADDING = 120;

/** Number of its key among its producer's; undefined without a key. */
export function keyOf({ seed, keys, foreign }: MessageRules, name: MessageName): number | undefined {
  if (name.producer === foreign) return name.serial % keys;
  const mixed = mix(seed, name);
  return mixed % KEYLESS_EVERY === 0 ? undefined : (mixed >>> 3) % keys;
}

/** A message with everything in it. */
export function contentOf(rules: MessageRules, name: MessageName): MessageContent {
  const { topics, foreign } = rules;
  const { producer, start, serial } = name;
  const key = keyOf(rules, name);
  const last = topics.at(-1) ?? '';
  // What Kafka's VerifiableProducer makes.
  if (producer === foreign) return { topic: last, key: String(key), value: `${start}.${serial}` };
  const mixed = mix(rules.seed, name);
  // Of a key all messages are in one topic: what is in order is the key's messages of a topic.
  const topic = topics[(key ?? serial) % topics.length] ?? last;
  const value = JSON.stringify({ m: `${producer}.${start}.${serial}`, padding: 'x'.repeat(mixed % MOST_PADDING) });
  return { topic, key: key === undefined ? null : `p${producer}-k${key}`, value };
}

/** Reads the name from a value; undefined when no producer makes such a value. */
export function nameIn({ foreign }: MessageRules, value: string): MessageName | undefined {
  const ours = /^\{"m":"(\d+)\.(\d+)\.(\d+)"/.exec(value);
  if (ours !== null) return { producer: Number(ours[1]), start: Number(ours[2]), serial: Number(ours[3]) };
  const theirs = /^(\d+)\.(\d+)$/.exec(value);
  if (theirs !== null) return { producer: foreign, start: Number(theirs[1]), serial: Number(theirs[2]) };
  return undefined;
}

/** A number of 31 bits that looks random, the same for the same message. */
function mix(seed: number, { producer, start, serial }: MessageName): number {
  let hash = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b);
  for (const part of [producer, start, serial]) {
    hash = Math.imul(hash ^ part, 0xcc9e2d51);
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x1b873593);
    hash ^= hash >>> 13;
  }
  return hash >>> 1;
}
