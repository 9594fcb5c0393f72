import type { ForwardFigures, MirrorFigures } from './checkpoints.js';

/** Messages and bytes of keys and values a second. */
export interface LegRate {
  messagesPerSecond: number;
  bytesPerSecond: number;
}

/** What an audit passed on each leg, and what it had to do about it, between two looks. */
export interface Parity {
  /** Records of Kafka that the audit passed. */
  kafka: LegRate;
  /** Records of OwlMQ that it proved. Equal to Kafka's where everything is copied. */
  owlmq: LegRate;
  missing: number;
  repaired: number;
  foreign: number;
  forwarded: number;
  /** Of a mirror audit 0: it does not count them. */
  inversions: number;
}

/** Figures by topic, as both kinds of checkpoint have them. */
export type FiguresByTopic = Readonly<Record<string, ForwardFigures | MirrorFigures>>;

/**
 * How fast an audit went between two checkpoints, and what it found: by topic and in total. An audit that keeps up goes
 * as fast as messages are published.
 *
 * @param before Figures at the first look; undefined when the audit began then.
 * @param elapsedMs Time between the looks; without any, rates are 0.
 */
export function parityRates(
  before: FiguresByTopic | undefined,
  after: FiguresByTopic,
  elapsedMs: number,
): { total: Parity; topics: Record<string, Parity> } {
  const topics = Object.entries(after).map(([topic, figures]) => [topic, since(before?.[topic], figures)] as const);
  const total = topics.reduce((sum, [, counts]) => combined(sum, counts, 1), NONE);
  return {
    total: parityOf(total, elapsedMs),
    topics: Object.fromEntries(topics.map(([topic, counts]) => [topic, parityOf(counts, elapsedMs)])),
  };
}

const NONE = {
  ...{ kafkaMessages: 0, kafkaBytes: 0, owlmqMessages: 0, owlmqBytes: 0 },
  ...{ missing: 0, repaired: 0, foreign: 0, forwarded: 0, inversions: 0 },
};
type Counts = typeof NONE;

function since(before: ForwardFigures | MirrorFigures | undefined, after: ForwardFigures | MirrorFigures): Counts {
  return before === undefined ? countsOf(after) : combined(countsOf(after), countsOf(before), -1);
}

function countsOf(figures: ForwardFigures | MirrorFigures): Counts {
  const { kafka, owlmq, missing, repaired, foreign, forwarded } = figures;
  return {
    kafkaMessages: kafka.messages,
    kafkaBytes: kafka.bytes,
    owlmqMessages: owlmq.messages,
    owlmqBytes: owlmq.bytes,
    missing,
    repaired,
    foreign,
    forwarded,
    inversions: 'inversions' in figures ? figures.inversions : 0,
  };
}

function combined(one: Counts, other: Counts, sign: 1 | -1): Counts {
  const result = { ...one };
  for (const name of Object.keys(NONE) as (keyof Counts)[]) result[name] += sign * other[name];
  return result;
}

function parityOf(counts: Counts, elapsedMs: number): Parity {
  const { kafkaMessages, kafkaBytes, owlmqMessages, owlmqBytes, ...found } = counts;
  const aSecond = (count: number): number => (elapsedMs > 0 ? (count * 1_000) / elapsedMs : 0);
  return {
    kafka: { messagesPerSecond: aSecond(kafkaMessages), bytesPerSecond: aSecond(kafkaBytes) },
    owlmq: { messagesPerSecond: aSecond(owlmqMessages), bytesPerSecond: aSecond(owlmqBytes) },
    ...found,
  };
}
