import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ObservationJoiner,
  comparisonCheckpointSchema,
  type ComparisonCheckpoint,
  type ComparisonCounts,
  type JoinerOptions,
  type WatermarkLookup,
} from '../src/comparator/comparator.js';
import type { Observation, ObservingSide } from '../src/consumer/observation.js';

const GROUP = 'g';
const WINDOW = 7;
const options: JoinerOptions = { groups: [GROUP], latenessMs: 5, reorderWindow: WINDOW };
const everything: WatermarkLookup = () => Number.MAX_SAFE_INTEGER;

/** What happens to a message. */
type Fate =
  | 'same'
  | 'different'
  | 'ignored'
  | 'live only'
  | 'shadow only'
  | 'live fails'
  | 'shadow fails'
  | 'both fail'
  | 'both fail otherwise'
  | 'neither comparable';

const verdictOf: Record<Fate, keyof ComparisonCounts> = {
  same: 'matched',
  different: 'different',
  ignored: 'ignored',
  'live only': 'missing',
  'shadow only': 'unexpected',
  'live fails': 'failedLive',
  'shadow fails': 'failedShadow',
  'both fail': 'matched',
  'both fail otherwise': 'different',
  'neither comparable': 'different',
};

function observe(side: ObservingSide, fate: Fate, message: { kafka: number; owlmq: number; key: string }): Observation {
  const text = fate === 'different' && side === 'shadow' ? 'other' : 'same';
  const uncomparable = fate === 'neither comparable';
  const fails = fate.startsWith('both fail') || fate === `${side} fails` || uncomparable;
  const errorName = fate === 'both fail otherwise' && side === 'shadow' ? 'TypeError' : 'Error';
  return {
    version: 1,
    migration: 'm',
    group: GROUP,
    side,
    topic: 't',
    partition: 0,
    id: `id-${message.kafka}`,
    kafka: message.kafka,
    ...(side === 'shadow' ? { owlmq: message.owlmq } : {}),
    time: message.kafka,
    key: message.key,
    epoch: 1,
    ...(fails
      ? { error: { name: errorName, digest: 'd', ...(uncomparable ? { uncomparable: true as const } : {}) } }
      : {
          output: {
            digest: text,
            whole: fate === 'ignored' ? side : text,
            fields: { '/a': 'a', '/b': text },
            truncated: false,
          },
        }),
  };
}

const fates = Object.keys(verdictOf) as Fate[];

/** Both sides' observations, redeliveries among them, interleaved in any way that keeps each side's order. */
const logs = fc
  .record({
    messages: fc.array(fc.record({ fate: fc.constantFrom(...fates), key: fc.constantFrom('a', 'b', 'c') }), {
      maxLength: 30,
    }),
    shuffle: fc.array(fc.nat({ max: 29 }), { maxLength: 6 }),
    rewinds: fc.array(fc.record({ side: fc.constantFrom('live', 'shadow'), at: fc.nat(), back: fc.nat({ max: 5 }) }), {
      maxLength: 4,
    }),
    turns: fc.infiniteStream(fc.boolean()),
  })
  .map(({ messages, shuffle, rewinds, turns }) => {
    const all = messages.map(({ fate, key }, kafka) => ({ fate, key, kafka }));
    // OwlMQ's order: Kafka's, with a few messages moved to the end, as late repairs are.
    const inOwlmq = [...all];
    for (const from of shuffle) inOwlmq.push(...inOwlmq.splice(from % Math.max(1, inOwlmq.length), 1));
    const stream = (side: ObservingSide): Observation[] => {
      const own = (side === 'live' ? all : inOwlmq).flatMap((message, at) =>
        message.fate === (side === 'live' ? 'shadow only' : 'live only')
          ? []
          : [observe(side, message.fate, { ...message, owlmq: at })],
      );
      return rewinds
        .filter((rewind) => rewind.side === side && own.length > 0)
        .reduce((list, { at, back }) => {
          const place = at % (list.length + 1);
          return [...list.slice(0, place), ...list.slice(Math.max(0, place - back), place), ...list.slice(place)];
        }, own);
    };
    const [live, shadow] = [stream('live'), stream('shadow')];
    const log: Observation[] = [];
    for (const turn of turns) {
      if (live.length === 0 && shadow.length === 0) break;
      const next = (turn ? live.shift() : shadow.shift()) ?? live.shift() ?? shadow.shift();
      if (next !== undefined) log.push(next);
    }
    return { all, log };
  });

/** The counts by definition, with all of the log in view. */
function expected(all: { fate: Fate; kafka: number }[], log: Observation[]): ComparisonCounts {
  const counts = new ObservationJoiner(options).result(GROUP).counts;
  for (const { fate } of all) counts[verdictOf[fate]] += 1;
  const seen = { live: new Set<string>(), shadow: new Set<string>() };
  log.forEach((one, index) => {
    if (seen[one.side].has(one.id)) {
      counts.duplicates += 1;
      return;
    }
    seen[one.side].add(one.id);
    if (one.side === 'live') return;
    const before = log
      .slice(Math.max(0, index - WINDOW), index)
      .findLast(({ side, key }) => side === 'shadow' && key === one.key);
    if (before !== undefined && (before.owlmq ?? 0) < (one.owlmq ?? 0) && before.kafka > one.kafka)
      counts.reordered += 1;
  });
  return counts;
}

describe('ObservationJoiner', () => {
  it('counts every message once, whatever the interleaving, the redeliveries and the crashes', () => {
    fc.assert(
      fc.property(
        logs,
        fc.infiniteStream(fc.nat({ max: 5 })),
        fc.infiniteStream(fc.boolean()),
        ({ all, log }, steps, crashes) => {
          let joiner = new ObservationJoiner(options);
          let at = 0;
          let checkpoint: ComparisonCheckpoint | undefined;
          const crash = crashes[Symbol.iterator]();
          for (const step of steps) {
            for (const end = Math.min(log.length, at + step + 1); at < end; at += 1) {
              joiner.add(0, at, log[at] ?? observe('live', 'same', { kafka: 0, owlmq: 0, key: '' }));
            }
            joiner.reached(0, at);
            // What each side has observed so far, and no more: the truth.
            joiner.judge((_group, side) => {
              const rest = log.slice(at).filter((one) => one.side === side);
              const next = Math.min(...rest.map(({ time }) => time));
              return at === log.length ? undefined : next - 1;
            });
            checkpoint = comparisonCheckpointSchema.parse(JSON.parse(JSON.stringify(joiner.checkpoint())));
            if (crash.next().value === true) {
              // What is done after the checkpoint is lost with the process.
              joiner.add(0, at, log[at] ?? observe('live', 'same', { kafka: 99, owlmq: 0, key: '' }));
              joiner = new ObservationJoiner(options, checkpoint);
              for (let again = joiner.startOf(0); again < at; again += 1) {
                const one = log[again];
                if (one !== undefined) joiner.add(0, again, one);
              }
            }
            if (at === log.length) break;
          }
          joiner.judge(everything);
          expect(joiner.result(GROUP).counts).toEqual(expected(all, log));
          expect(joiner.unmatched).toBe(0);
          expect(joiner.expired).toBe(0);
        },
      ),
      { numRuns: 500 },
    );
  });

  const live = observe('live', 'same', { kafka: 10, owlmq: 10, key: 'a' });
  const shadow = observe('shadow', 'different', { kafka: 10, owlmq: 10, key: 'a' });

  it('names the fields that differ', () => {
    const joiner = new ObservationJoiner(options);
    joiner.add(0, 0, live);
    joiner.add(0, 1, shadow);
    expect(joiner.result(GROUP).samples).toMatchObject([{ verdict: 'different', id: 'id-10', fields: ['/b'] }]);
  });

  it('never says missing while the other side stands still', () => {
    const joiner = new ObservationJoiner(options);
    joiner.add(0, 0, live);
    joiner.judge(() => undefined);
    joiner.judge((_group, side) => (side === 'shadow' ? 14 : Number.MAX_SAFE_INTEGER));
    expect(joiner.result(GROUP)).toMatchObject({ counts: { missing: 0 }, unmatched: 1 });
    joiner.judge((_group, side) => (side === 'shadow' ? 15 : undefined));
    expect(joiner.result(GROUP)).toMatchObject({ counts: { missing: 1 }, unmatched: 0 });
  });

  it('does not count what is before the start, or of other groups', () => {
    const joiner = new ObservationJoiner({ ...options, from: { t: [11] } });
    joiner.add(0, 0, live);
    joiner.add(0, 1, { ...live, kafka: 12, group: 'other' });
    joiner.add(0, 2, { ...live, kafka: 11 });
    expect(joiner.unmatched).toBe(1);
  });

  it('judges no more once more is unmatched than fits', () => {
    const joiner = new ObservationJoiner({ ...options, maxUnmatched: 3 });
    for (let kafka = 0; kafka < 5; kafka += 1)
      joiner.add(0, kafka, observe('live', 'same', { kafka, owlmq: 0, key: 'a' }));
    joiner.judge(everything);
    expect(joiner.overflow).toBe(true);
    expect(joiner.result(GROUP).counts.missing).toBe(0);
    expect(new ObservationJoiner(options, joiner.checkpoint()).overflow).toBe(true);
  });

  it('says what retention took from the log', () => {
    const joiner = new ObservationJoiner(options);
    joiner.add(0, 0, live);
    const resumed = new ObservationJoiner(options, joiner.checkpoint());
    resumed.truncated(0, 5);
    resumed.judge(everything);
    expect(resumed.expired).toBe(5);
    expect(resumed.result(GROUP).counts.missing).toBe(0);
  });

  it('has a small checkpoint while little is unmatched', () => {
    const joiner = new ObservationJoiner(options);
    for (let kafka = 0; kafka < 5_000; kafka += 1) {
      joiner.add(0, 2 * kafka, observe('live', 'same', { kafka, owlmq: kafka, key: String(kafka) }));
      joiner.add(0, 2 * kafka + 1, observe('shadow', 'same', { kafka, owlmq: kafka, key: String(kafka) }));
    }
    for (let kafka = 5_000; kafka < 6_000; kafka += 1) {
      joiner.add(0, 5_000 + kafka, observe('live', 'same', { kafka, owlmq: kafka, key: 'k' }));
    }
    expect(joiner.result(GROUP)).toMatchObject({ counts: { matched: 5_000 }, unmatched: 1_000 });
    expect(JSON.stringify(joiner.checkpoint()).length).toBeLessThan(1_000);
  });

  it('begins at the start that it is given, and tells what retention took behind it', () => {
    const joiner = new ObservationJoiner({ ...options, start: [100] });
    expect(joiner.startOf(0)).toBe(100);
    expect(comparisonCheckpointSchema.parse(joiner.checkpoint()).logs).toEqual({ 0: { next: 100, unmatched: [] } });
    joiner.truncated(0, 103);
    expect(joiner.expired).toBe(3);
    // A checkpoint goes before it.
    const resumed = new ObservationJoiner({ ...options, start: [1_000] }, joiner.checkpoint());
    expect(resumed.startOf(0)).toBe(103 - WINDOW);
  });

  it('loses nothing of a checkpoint that it did not read again in full', () => {
    const first = new ObservationJoiner(options);
    const of = (side: ObservingSide, kafka: number) => observe(side, 'same', { kafka, owlmq: kafka, key: 'a' });
    for (let kafka = 0; kafka < 30; kafka++) first.add(0, kafka, of('live', kafka));
    const second = new ObservationJoiner(options, first.checkpoint());
    for (let kafka = 0; kafka < 10; kafka++) second.add(0, kafka, of('live', kafka));
    expect(second.checkpoint()).toEqual(first.checkpoint());
    const third = new ObservationJoiner(options, second.checkpoint());
    for (let kafka = 0; kafka < 30; kafka++) third.add(0, kafka, of('live', kafka));
    for (let kafka = 0; kafka < 30; kafka++) third.add(0, 30 + kafka, of('shadow', kafka));
    third.judge(everything);
    expect(third.result(GROUP)).toMatchObject({ unmatched: 0, counts: { matched: 30, missing: 0, unexpected: 0 } });
    expect(third.expired).toBe(0);
  });

  it('keeps its checkpoint far below what a workflow takes, however scattered the unmatched are', () => {
    const joiner = new ObservationJoiner({ groups: [GROUP], latenessMs: 5 });
    const base = 100_000_000_000;
    let most = joiner.checkpoint();
    for (let n = 0; !joiner.overflow; n++) {
      most = n % 1_000 === 0 ? joiner.checkpoint() : most;
      // Every other record of the log is another migration's.
      joiner.add(0, base + 2 * n, observe('live', 'same', { kafka: n, owlmq: n, key: 'a' }));
    }
    const bytes = Buffer.byteLength(JSON.stringify(most));
    expect(most.logs[0]?.unmatched.length).toBeGreaterThanOrEqual(19_000);
    expect(bytes).toBeLessThan(1_000_000);
  });
});
