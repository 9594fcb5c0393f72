import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ObservationJoiner,
  comparisonCheckpointSchema,
  type JoinerOptions,
  type WatermarkLookup,
} from '../src/comparator/comparator.js';
import type { ComparisonCounts } from '../src/comparator/verdicts.js';
import { packFields } from '../src/consumer/field-digests.js';
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
    version: 2,
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
            fields: packFields({ '/a': 'a', '/b': text }),
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

/** Reads a log up to an offset as the joiner wants it, in at most so many readings of at most three records. */
function feed(
  joiner: ObservationJoiner,
  log: readonly Observation[],
  end: number,
  watermarkOf: WatermarkLookup = () => undefined,
  readings = 100_000,
): void {
  for (let reading = 0; reading < readings; reading += 1) {
    const wanted = joiner.nextRead(0, end, watermarkOf);
    if (wanted === undefined) return;
    // A fetch knows nothing of where the reading is to end, but of the log's end.
    const until = Math.min(wanted.from + 3, end);
    for (let at = wanted.from; at < until; at += 1) {
      const one = log[at];
      if (one !== undefined) joiner.add(0, at, one);
    }
    joiner.reached(0, until);
  }
  if (readings === 100_000) throw new Error('The joiner wants to read for ever.');
}

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
  it('counts every message once, whatever the interleaving, the redeliveries, the crashes and the memory', () => {
    fc.assert(
      fc.property(
        logs,
        fc.infiniteStream(fc.nat({ max: 5 })),
        fc.infiniteStream(fc.record({ crash: fc.boolean(), reads: fc.nat({ max: 4 }) })),
        fc.constantFrom(1, 2, 3, 6, 20_000),
        ({ all, log }, steps, faults, maxUnmatched) => {
          const bounded = { ...options, maxUnmatched };
          let joiner = new ObservationJoiner(bounded);
          const fault = faults[Symbol.iterator]();
          let at = 0;
          for (const step of steps) {
            at = Math.min(log.length, at + step + 1);
            // What each side has observed so far, and no more: the truth.
            const truth: WatermarkLookup = (_group, side) => {
              const rest = log.slice(at).filter((one) => one.side === side);
              return at === log.length ? undefined : Math.min(...rest.map(({ time }) => time)) - 1;
            };
            const { crash, reads } = (fault.next() as IteratorYieldResult<{ crash: boolean; reads: number }>).value;
            if (crash) {
              // What is read in part is kept; what is done after the checkpoint is lost with the process.
              feed(joiner, log, at, truth, reads);
              const checkpoint = comparisonCheckpointSchema.parse(JSON.parse(JSON.stringify(joiner.checkpoint())));
              feed(joiner, log, at, truth, 2);
              joiner = new ObservationJoiner(bounded, checkpoint);
            }
            feed(joiner, log, at, truth);
            joiner.judge(truth);
            expect(joiner.unmatched).toBeLessThanOrEqual(Math.max(maxUnmatched, 2) + 1);
            if (at === log.length) break;
          }
          // What is judged makes room for what stands behind it.
          for (let round = 0; round === 0 || (round < 100 && joiner.result(GROUP).parked.length > 0); round += 1) {
            feed(joiner, log, at, everything);
            joiner.judge(everything);
          }
          expect(joiner.overflow).toBe(false);
          expect(joiner.result(GROUP).counts).toEqual(expected(all, log));
          expect(joiner.result(GROUP).parked).toEqual([]);
          expect(joiner.unmatched).toBe(0);
          expect(joiner.expired).toBe(0);
        },
      ),
      { numRuns: 2_000 },
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

  it('reads the side that is ahead no further than fits, and goes on from there', () => {
    const joiner = new ObservationJoiner({ ...options, maxUnmatched: 4 });
    const of = (side: ObservingSide, kafka: number) => observe(side, 'same', { kafka, owlmq: kafka, key: 'a' });
    const log = Array.from({ length: 50 }, (_, kafka) => of('live', kafka));
    feed(joiner, log, log.length);
    joiner.judge(() => undefined);
    expect(joiner.result(GROUP)).toMatchObject({ parked: ['live t/0'], counts: { matched: 0, missing: 0 } });
    expect(joiner.unmatched).toBeLessThanOrEqual(4);
    const resumed = new ObservationJoiner({ ...options, maxUnmatched: 4 }, joiner.checkpoint());
    log.push(...Array.from({ length: 50 }, (_, kafka) => of('shadow', kafka)));
    feed(resumed, log, log.length);
    resumed.judge(everything);
    expect(resumed.result(GROUP)).toMatchObject({ parked: [], counts: { matched: 50, missing: 0, unexpected: 0 } });
  });

  it('judges what a shadow skipped, though more of both sides waits than fits', () => {
    const joiner = new ObservationJoiner({ ...options, maxUnmatched: 4 });
    const of = (side: ObservingSide, kafka: number) => observe(side, 'same', { kafka, owlmq: kafka, key: 'a' });
    const log = Array.from({ length: 60 }, (_, kafka) => of('live', kafka));
    log.push(...Array.from({ length: 30 }, (_, index) => of('shadow', index + 30)));
    feed(joiner, log, log.length, everything);
    joiner.judge(everything);
    expect(joiner.result(GROUP)).toMatchObject({ parked: [], counts: { matched: 30, missing: 30, unexpected: 0 } });
  });

  it('counts what comes after its verdict apart', () => {
    const joiner = new ObservationJoiner(options);
    joiner.add(0, 0, live);
    joiner.judge(everything);
    const resumed = new ObservationJoiner(options, joiner.checkpoint());
    feed(resumed, [live, shadow], 2);
    resumed.judge(everything);
    expect(resumed.result(GROUP).counts).toMatchObject({ missing: 1, late: 1, unexpected: 0, different: 0 });
  });

  it('counts acknowledged discrepancies apart, and no others', () => {
    const pattern = { group: GROUP, verdict: 'different', fields: ['/b'] } as const;
    const joined = (acknowledged: JoinerOptions['acknowledged'] & object) => {
      const joiner = new ObservationJoiner({ ...options, acknowledged });
      feed(joiner, [live, { ...shadow, handlerVersion: '2' }], 2);
      return joiner.result(GROUP);
    };
    const known = { counts: { acknowledged: 1, different: 0 }, samples: [] };
    expect(joined([pattern])).toMatchObject(known);
    expect(joined([{ group: GROUP, verdict: 'different', topic: 't', handlerVersion: '2' }])).toMatchObject(known);
    for (const change of [
      { group: 'other' },
      { verdict: 'missing' },
      { topic: 'other' },
      { fields: ['/a', '/b/c', '/bb'] },
      { handlerVersion: '1' },
    ] as const) {
      expect(joined([{ ...pattern, ...change }]).counts).toMatchObject({ acknowledged: 0, different: 1 });
    }
  });

  it('asks whether captured outputs that differ mean the same, and of no others', () => {
    const captured = (text: string, length = text.length) => ({ text, length });
    const outputs: [live: string, shadow: string, length?: number][] = [
      ['{"n":1}', '{"n":2}'],
      ['{"n":1}', '{"n":9}'],
      ['{"n":1}', '{"n":2}', 9_000],
    ];
    const asked: unknown[][] = [];
    const joiner = new ObservationJoiner({
      ...options,
      compare: (live, shadow, { id }) => {
        asked.push([live, shadow, id]);
        return Math.abs((live as { n: number }).n - (shadow as { n: number }).n) < 2;
      },
    });
    let next = 0;
    for (const [kafka, [live, shadow, length]] of outputs.entries()) {
      for (const [side, text] of [
        ['live', live],
        ['shadow', shadow],
      ] as const) {
        const one = observe(side, 'different', { kafka, owlmq: kafka, key: 'a' });
        if (one.output !== undefined) one.output.captured = captured(text, length);
        joiner.add(0, next, one);
        next += 1;
      }
    }
    for (const side of ['live', 'shadow'] as const) {
      joiner.add(0, next, observe(side, 'different', { kafka: 3, owlmq: 3, key: 'a' }));
      next += 1;
    }
    expect(asked).toEqual([
      [{ n: 1 }, { n: 2 }, 'id-0'],
      [{ n: 1 }, { n: 9 }, 'id-1'],
    ]);
    expect(joiner.result(GROUP).counts).toMatchObject({ ignored: 1, different: 3 });
  });

  it('keeps samples of every verdict, however many there are of one', () => {
    const joiner = new ObservationJoiner(options);
    feed(joiner, [live, { ...shadow, epoch: 3, handlerVersion: '2' }], 2);
    for (let kafka = 11; kafka < 1_000; kafka += 1) {
      joiner.add(0, kafka, observe('live', 'same', { kafka, owlmq: kafka, key: 'a' }));
    }
    joiner.judge(everything);
    const { samples } = joiner.result(GROUP);
    expect(samples.map(({ verdict }) => verdict)).toEqual(['different', ...new Array<string>(5).fill('missing')]);
    expect(samples[0]).toEqual({
      verdict: 'different',
      topic: 't',
      partition: 0,
      id: 'id-10',
      kafka: 10,
      owlmq: 10,
      time: 10,
      epoch: 3,
      handlerVersion: { shadow: '2' },
      fields: ['/b'],
      log: { partition: 0, live: 0, shadow: 1 },
    });
    expect(samples[1]).toMatchObject({ id: 'id-995', log: { partition: 0, live: 995 } });
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
    expect(joiner.nextRead(0, 200, everything)).toEqual({ from: 100, to: 200 });
    expect(comparisonCheckpointSchema.parse(joiner.checkpoint()).logs).toEqual({ 0: { next: 100, unmatched: [] } });
    joiner.truncated(0, 103);
    expect(joiner.expired).toBe(3);
    // A checkpoint goes before it.
    const resumed = new ObservationJoiner({ ...options, start: [1_000] }, joiner.checkpoint());
    expect(resumed.nextRead(0, 200, everything)).toEqual({ from: 103 - WINDOW, to: 103 });
  });

  it('loses nothing of a checkpoint that it did not read again in full', () => {
    const of = (side: ObservingSide, kafka: number) => observe(side, 'same', { kafka, owlmq: kafka, key: 'a' });
    const log = Array.from({ length: 30 }, (_, kafka) => of('live', kafka));
    const first = new ObservationJoiner(options);
    feed(first, log, log.length);
    const second = new ObservationJoiner(options, first.checkpoint());
    feed(second, log, log.length, everything, 3);
    expect(second.unmatched).toBe(9);
    expect(second.checkpoint()).toEqual(first.checkpoint());
    const third = new ObservationJoiner(options, second.checkpoint());
    log.push(...Array.from({ length: 30 }, (_, kafka) => of('shadow', kafka)));
    feed(third, log, log.length);
    third.judge(everything);
    expect(third.result(GROUP)).toMatchObject({ unmatched: 0, counts: { matched: 30, missing: 0, unexpected: 0 } });
    expect(third.expired).toBe(0);
  });

  it('goes on from a checkpoint where retention has taken what it would read again, and says what is lost', () => {
    const of = (side: ObservingSide, kafka: number) => observe(side, 'same', { kafka, owlmq: kafka, key: 'a' });
    const first = new ObservationJoiner(options);
    for (let kafka = 0; kafka < 4; kafka += 1) first.add(0, 100 + kafka, of('live', kafka));
    for (const [begin, lost] of [
      [102, 2],
      [104, 4],
    ] as const) {
      const joiner = new ObservationJoiner(options, first.checkpoint());
      joiner.truncated(0, begin);
      for (let reads = 0; reads < 10; reads += 1) {
        const wanted = joiner.nextRead(0, 104, everything);
        if (wanted === undefined) break;
        expect(wanted.from).toBeGreaterThanOrEqual(begin);
        for (let at = wanted.from; at < wanted.to; at += 1) joiner.add(0, at, of('live', at - 100));
        joiner.reached(0, wanted.to);
      }
      joiner.judge(() => 0);
      expect(joiner.expired).toBe(lost);
      expect(joiner.unmatched).toBe(4 - lost);
    }
  });

  it('takes up a checkpoint of its first version', () => {
    const of = (side: ObservingSide, kafka: number) => observe(side, 'same', { kafka, owlmq: kafka, key: 'a' });
    const { late: _late, acknowledged: _acknowledged, ...counts } = new ObservationJoiner(options).result(GROUP).counts;
    const checkpoint = comparisonCheckpointSchema.parse({
      version: 1,
      logs: { 0: { next: 3, unmatched: [[1, 2]] } },
      groups: { [GROUP]: { counts: { ...counts, matched: 7 }, samples: [], seen: { 'live t/0': 2, 'shadow t/0': 0 } } },
      overflow: false,
      expired: 0,
    });
    const joiner = new ObservationJoiner(options, checkpoint);
    feed(joiner, [of('live', 0), of('live', 1), of('live', 2), of('shadow', 1), of('shadow', 2)], 5);
    joiner.judge(everything);
    expect(joiner.result(GROUP).counts).toMatchObject({ matched: 9, missing: 0, unexpected: 0, duplicates: 0 });
  });

  it('keeps its checkpoint far below what a workflow takes, however scattered the unmatched are', () => {
    const joiner = new ObservationJoiner({ groups: [GROUP], latenessMs: 5 });
    const base = 100_000_000_000;
    for (let n = 0; joiner.result(GROUP).parked.length === 0; n++) {
      // Every other record of the log is another migration's.
      joiner.add(0, base + 2 * n, observe('live', 'same', { kafka: n, owlmq: n, key: 'a' }));
    }
    const checkpoint = joiner.checkpoint();
    const bytes = Buffer.byteLength(JSON.stringify(checkpoint));
    expect(checkpoint.logs[0]?.unmatched.length).toBeGreaterThanOrEqual(9_000);
    expect(bytes).toBeLessThan(1_000_000);
  });
});
