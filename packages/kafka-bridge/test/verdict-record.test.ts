import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { comparisonId, standingVerdicts, verdictKey, type VerdictRecord } from '../src/comparator/verdict-record.js';
import { noCounts } from '../src/comparator/verdicts.js';

/** A comparison in so many parts, each of which writes its figures a few times. */
const runs = fc.array(
  fc.record({ parts: fc.integer({ min: 1, max: 3 }), writes: fc.integer({ min: 1, max: 4 }), begunAnew: fc.boolean() }),
  { minLength: 1, maxLength: 4 },
);

function record(change: Partial<VerdictRecord>): VerdictRecord {
  return {
    ...{ version: 1, migration: 'm', group: 'g', part: 'all', parts: 1, comparison: 'c', counts: noCounts() },
    ...{ samples: [], unmatched: 0, holds: true, stalled: [], at: '2026-01-01T00:00:00.000Z' },
    ...change,
  };
}

describe('stored verdicts', () => {
  it('are those of the last comparison, each part once, however they were divided and compacted before', () => {
    fc.assert(
      fc.property(runs, fc.infiniteStream(fc.boolean()), fc.infiniteStream(fc.nat({ max: 9 })), (made, keep, adds) => {
        const next = <T>(stream: Iterator<T>): T => (stream.next() as IteratorYieldResult<T>).value;
        const log: VerdictRecord[] = [];
        let comparison = 0;
        let total = 0;
        let sampled: string[] = [];
        for (const { parts, writes, begunAnew } of made) {
          if (begunAnew) comparison += 1;
          total = 0;
          sampled = [];
          const matched = new Array<number>(parts).fill(0);
          for (let write = 0; write < writes; write += 1) {
            for (let part = 0; part < parts; part += 1) {
              matched[part] = (matched[part] ?? 0) + next(adds);
              const one = record({ part: `${part}/${parts}`, parts, comparison: `c${comparison}` });
              // Written again after a restart: the same.
              const again = next(keep) ? 2 : 1;
              for (let time = 0; time < again; time += 1) {
                log.push({
                  ...one,
                  counts: { ...noCounts(), matched: matched[part] ?? 0, different: 1 },
                  samples: [{ verdict: 'different', topic: 't', partition: part, id: `${part}`, kafka: write }],
                });
              }
            }
          }
          total = matched.reduce((sum, count) => sum + count, 0);
          sampled = matched.map((_, part) => `${part} ${writes - 1}`);
        }
        // Compaction takes any earlier record of a key, and never the last.
        const lasts = new Map(log.map((one, index) => [verdictKey(one), index]));
        const left = log.filter((one, index) => lasts.get(verdictKey(one)) === index || next(keep));
        const found = standingVerdicts(left)?.groups[0];
        expect(found).toMatchObject({ missingParts: 0, counts: { matched: total, different: sampled.length } });
        expect(found?.samples.map(({ id, kafka }) => `${id} ${kafka}`).sort()).toEqual(sampled.sort());
      }),
    );
  });

  it('say which parts are missing, and compare up to the part that is furthest behind', () => {
    const half = record({ part: '0/2', parts: 2, comparedUpTo: 7 });
    expect(standingVerdicts([])).toBeUndefined();
    expect(standingVerdicts([half])?.groups).toMatchObject([{ missingParts: 1 }]);
    expect(standingVerdicts([half])?.groups[0]?.comparedUpTo).toBeUndefined();
    // Of an earlier comparison: its counts are not to be added.
    const stale = { ...half, part: '1/2', comparison: 'before' };
    expect(standingVerdicts([stale, half])?.groups).toMatchObject([{ missingParts: 1 }]);
    const other = { ...half, part: '1/2', comparedUpTo: 5 };
    expect(standingVerdicts([half, other])?.groups).toMatchObject([{ missingParts: 0, comparedUpTo: 5 }]);
    const { comparedUpTo: _behind, ...silent } = other;
    expect(standingVerdicts([half, silent])?.groups[0]?.comparedUpTo).toBeUndefined();
    // Nothing that the group reads is in it.
    expect(standingVerdicts([half, { ...silent, holds: false }])?.groups).toMatchObject([{ comparedUpTo: 7 }]);
  });

  it('know a comparison by where it began, whatever the order of its topics', () => {
    const id = comparisonId([4], { a: [1], b: [2, 3] });
    expect(comparisonId([4], { b: [2, 3], a: [1] })).toBe(id);
    expect(comparisonId([5], { a: [1], b: [2, 3] })).not.toBe(id);
    expect(comparisonId([4], { a: [1], b: [2, 4] })).not.toBe(id);
    // No name may run into the next.
    expect(verdictKey({ migration: 'a', group: 'b/c', part: 'd' })).not.toBe(
      verdictKey({ migration: 'a/b', group: 'c', part: 'd' }),
    );
  });
});
