import type { ForwardFigures, MirrorFigures } from '../../audit/checkpoints.js';
import { textTable } from '../text-table.js';
import { bytes, count, plural } from '../words.js';

/** What was counted of a topic on one leg. `undefined`: the audit does not count it. */
export interface LegParity {
  messages: number;
  bytes: number;
  /** Messages that the other leg has and this one lacked after the grace. */
  missing: number | undefined;
  /** Those among them that the audit wrote here. */
  repaired: number | undefined;
  /** Copies behind a copy of a later message of their key. */
  inversions: number | undefined;
  /** Records without the library's headers. */
  foreign: number | undefined;
  /** Records of a message that this leg has already. */
  duplicates: number | undefined;
  /** Copies in another partition than their record. */
  misplaced: number | undefined;
}

export interface TopicParity {
  kafka: LegParity;
  owlmq: LegParity;
  /** Kafka records whose copy was not intended, since the ratio was below 1. */
  notIntended: number;
  /** Foreign records that OwlMQ has, copied by the bridge. */
  forwarded: number;
  /** Messages that a leg lacks still. */
  lacking: number;
}

const none = {
  missing: undefined,
  repaired: undefined,
  inversions: undefined,
  foreign: undefined,
  duplicates: undefined,
  misplaced: undefined,
};

export function forwardParity(figures: ForwardFigures, repair: boolean): TopicParity {
  const { kafka, owlmq, missing, repaired, inversions, foreign, duplicates, misplaced } = figures;
  return {
    kafka: { ...kafka, ...none, foreign, duplicates },
    owlmq: { ...owlmq, ...none, missing, repaired, inversions, misplaced },
    notIntended: figures.notCopied,
    forwarded: figures.forwarded,
    lacking: repair ? 0 : missing,
  };
}

export function mirrorParity(figures: MirrorFigures, repair: boolean): TopicParity {
  const { kafka, owlmq, missing, repaired, late, foreign, forwarded, duplicates } = figures;
  const unforwarded = foreign - forwarded;
  return {
    kafka: { ...kafka, ...none, missing: missing - late, repaired: Math.max(0, repaired - late), foreign, duplicates },
    owlmq: { ...owlmq, ...none, missing: late + unforwarded, repaired: repair ? late : 0 },
    notIntended: 0,
    forwarded,
    lacking: repair ? 0 : missing + unforwarded,
  };
}

/** Whether each leg has what it is to have, where it is to be. */
export function isAtParity({ lacking, owlmq }: TopicParity): boolean {
  return lacking === 0 && (owlmq.misplaced ?? 0) === 0;
}

/** Messages and bytes a second, by topic and leg. */
export type Rates = Record<string, Record<'kafka' | 'owlmq', { messages: number; bytes: number }>>;

const LEGS = ['kafka', 'owlmq'] as const;

/** Rates between two readings of the figures. */
export function ratesBetween(
  before: Readonly<Record<string, TopicParity>>,
  after: Readonly<Record<string, TopicParity>>,
  seconds: number,
): Rates {
  const rate = (now: number, was = 0): number => (seconds > 0 ? (now - was) / seconds : 0);
  return Object.fromEntries(
    Object.entries(after).map(([topic, now]) => {
      const was = before[topic];
      const [kafka, owlmq] = LEGS.map((leg) => ({
        messages: rate(now[leg].messages, was?.[leg].messages),
        bytes: rate(now[leg].bytes, was?.[leg].bytes),
      }));
      const zero = { messages: 0, bytes: 0 };
      return [topic, { kafka: kafka ?? zero, owlmq: owlmq ?? zero }];
    }),
  );
}

/** A row for each topic and leg. */
export function parityTable(topics: Readonly<Record<string, TopicParity>>, rates: Rates): string[] {
  const header = ['TOPIC', 'LEG', 'MESSAGES', 'BYTES', 'MESSAGES/S', 'BYTES/S', 'MISSING', 'REPAIRED'];
  const more = ['INVERSIONS', 'FOREIGN', 'DUPLICATES', 'MISPLACED'];
  const cell = (value: number | undefined): string => (value === undefined ? '-' : count(value));
  const rows = Object.entries(topics).flatMap(([topic, parity]) =>
    LEGS.map((leg) => {
      const of = parity[leg];
      const rate = rates[topic]?.[leg] ?? { messages: 0, bytes: 0 };
      return [
        ...[topic, leg, count(of.messages), bytes(of.bytes), count(rate.messages), bytes(rate.bytes)],
        ...[of.missing, of.repaired, of.inversions, of.foreign, of.duplicates, of.misplaced].map(cell),
      ];
    }),
  );
  return textTable([...header, ...more], rows);
}

/** What the figures mean, a line each. */
export function parityLines(topics: Readonly<Record<string, TopicParity>>, repair: boolean): string[] {
  return Object.entries(topics).flatMap(([topic, parity]) => {
    const { kafka, owlmq, notIntended, forwarded, lacking } = parity;
    const lines: string[] = [];
    const foreign = (kafka.foreign ?? 0) - forwarded;
    if (!repair && (owlmq.missing ?? 0) > 0) {
      lines.push(`OwlMQ lacks ${plural(owlmq.missing ?? 0, 'message')}; --repair writes them`);
    }
    if (!repair && (kafka.missing ?? 0) > 0) {
      lines.push(`Kafka lacks ${plural(kafka.missing ?? 0, 'message')}; --repair writes them`);
    }
    if ((owlmq.misplaced ?? 0) > 0) {
      lines.push(
        `${plural(owlmq.misplaced ?? 0, 'copy', 'copies')} in another partition than on Kafka: two partitioners`,
      );
    }
    if (lacking === 0 && (owlmq.misplaced ?? 0) === 0) lines.push('every copy that is to be there is there');
    if (owlmq.inversions === undefined && !repair && (owlmq.missing ?? 0) > 0) {
      lines.push(
        'both ways, a Kafka record whose copy was not intended counts as missing too: begin after the cutover',
      );
    }
    if (notIntended > 0) {
      lines.push(`${plural(notIntended, 'record')} of a ratio below 100%, whose copy was not intended`);
    }
    if (owlmq.inversions !== undefined && foreign > 0) {
      lines.push(`${plural(foreign, 'foreign record')} of producers without the library, which nobody copied`);
    }
    return lines.map((line) => `${topic}: ${line}.`);
  });
}
