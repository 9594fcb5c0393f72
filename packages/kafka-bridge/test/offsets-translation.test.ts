import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { place, Redeliveries, start, type SourceRecord } from '../src/offsets/translation.js';

/**
 * A source log and a target log as faults leave them: copies in another order, late, missing, written twice; records
 * that were not to be copied; offsets with gaps; any commit.
 */
interface World {
  source: { offset: number; id: string; intended: boolean }[];
  target: { offset: number; id: string }[];
  targetEnd: number;
  committed: number;
  fence: number;
}

const world: fc.Arbitrary<World> = fc
  .record({
    messages: fc.array(
      fc.record({
        gap: fc.nat({ max: 2 }),
        // Where its copies come in the target's order; none: missing.
        copies: fc.oneof(
          { weight: 12, arbitrary: fc.array(fc.nat({ max: 6 }), { minLength: 1, maxLength: 1 }) },
          { weight: 1, arbitrary: fc.array(fc.nat({ max: 20 }), { maxLength: 3 }) },
        ),
        intended: fc.oneof({ weight: 15, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
        // Repeats the id of the message before.
        repeats: fc.oneof({ weight: 15, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
      }),
      { maxLength: 40 },
    ),
    targetGap: fc.nat({ max: 2 }),
    committed: fc.double({ min: 0, max: 1, noNaN: true }),
    fence: fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })),
  })
  .map(({ messages, targetGap, committed, fence }) => {
    const source: World['source'] = [];
    const copies: { rank: number; id: string }[] = [];
    let offset = 0;
    for (const [index, message] of messages.entries()) {
      offset += message.gap;
      const before = source.at(-1);
      const repeated = message.repeats && before !== undefined;
      const id = repeated ? before.id : `m${index}`;
      source.push({ offset, id, intended: message.intended });
      if (!repeated) copies.push(...message.copies.map((late) => ({ rank: index + late, id })));
      offset++;
    }
    const target = copies
      .toSorted((a, b) => a.rank - b.rank)
      .map(({ id }, index) => ({ id, offset: index * (1 + targetGap) }));
    return {
      source,
      target,
      targetEnd: (target.at(-1)?.offset ?? -1) + 1,
      committed: Math.round(committed * offset),
      fence: fence === 1 ? Number.POSITIVE_INFINITY : Math.round(fence * offset),
    };
  });

/** As the readers of both directions fill it in. */
function records({ source, target }: World): SourceRecord[] {
  return source.map((record) => ({ ...record, target: target.find(({ id }) => id === record.id)?.offset }));
}

/** What the target leg delivers from an offset on. */
function deliveries({ target }: World, from: number): string[] {
  return target.filter(({ offset }) => offset >= from).map(({ id }) => id);
}

function translate(given: World, cap = 1_000) {
  const placement = place({ records: records(given), committed: given.committed, fence: given.fence }, given.targetEnd);
  if (!placement.ok) return placement;
  const redeliveries = new Redeliveries(placement, cap);
  for (const id of deliveries(given, placement.target)) redeliveries.next(id);
  return { ok: true as const, target: placement.target, late: placement.late, ...redeliveries.result };
}

const unconsumed = ({ source, committed }: World) => source.filter(({ offset }) => offset >= committed);
const runs = { numRuns: 3_000, verbose: 1 };

describe('offset translation', () => {
  it('never skips what was not consumed, whatever the logs look like', () => {
    fc.assert(
      fc.property(world, (given) => {
        const result = translate(given);
        if (!result.ok) return;
        const delivered = new Set(deliveries(given, result.target));
        const copied = new Set(given.target.map(({ id }) => id));
        for (const { id, offset } of unconsumed(given)) {
          // Without a copy only behind the fence: it comes to lie behind the target's end.
          if (copied.has(id)) expect(delivered).toContain(id);
          else expect(offset).toBeGreaterThanOrEqual(given.fence);
        }
        expect(result.target).toBeLessThanOrEqual(given.targetEnd);
      }),
      runs,
    );
  });

  it('says exact only of exactly the unconsumed messages, each once', () => {
    let seen = 0;
    fc.assert(
      fc.property(world, (given) => {
        const result = translate(given);
        if (!result.ok || result.verdict !== 'exact') return;
        seen++;
        const copied = new Set(given.target.map(({ id }) => id));
        const expected = [...new Set(unconsumed(given).map(({ id }) => id))].filter((id) => copied.has(id));
        expect(deliveries(given, result.target).toSorted()).toEqual(expected.toSorted());
      }),
      runs,
    );
    expect(seen).toBeGreaterThan(100);
  });

  it('lists exactly what comes again, with the copies that are still to come', () => {
    let seen = 0;
    fc.assert(
      fc.property(world, (given) => {
        const result = translate(given);
        if (!result.ok) return;
        const open = new Set(unconsumed(given).map(({ id }) => id));
        const again = deliveries(given, result.target).filter((id) => !open.delete(id));
        const copied = new Set(given.target.map(({ id }) => id));
        const late = given.source
          .filter(({ id, offset, intended }) => offset < given.committed && intended && !copied.has(id))
          .map(({ id }) => id);
        expect(result.redeliveries).toBe(again.length + late.length);
        expect(result.redeliveredIds?.toSorted() ?? []).toEqual([...again, ...late].toSorted());
        expect(result.verdict).toBe(again.length + late.length === 0 ? 'exact' : 'bounded');
        if (result.verdict === 'bounded') seen++;
      }),
      runs,
    );
    expect(seen).toBeGreaterThan(100);
  });

  it('takes the highest offset that skips nothing', () => {
    fc.assert(
      fc.property(world, (given) => {
        const result = translate(given);
        if (!result.ok || result.target === given.targetEnd) return;
        // One further, and an unconsumed message's first copy is lost.
        const open = new Set(unconsumed(given).map(({ id }) => id));
        expect(open).toContain(given.target.find(({ offset }) => offset === result.target)?.id);
      }),
      runs,
    );
  });

  it('refuses when an unconsumed message before the fence has no copy', () => {
    fc.assert(
      fc.property(world, (given) => {
        const copied = new Set(given.target.map(({ id }) => id));
        const lacking = unconsumed(given).filter(({ id, offset }) => offset < given.fence && !copied.has(id));
        const result = translate(given);
        expect(result.ok).toBe(lacking.length === 0);
        if (!result.ok) {
          expect(result.reason).toContain(lacking.some(({ intended }) => intended) ? 'copies missing' : 'coverage');
        }
      }),
      runs,
    );
  });

  it('lists no more ids than asked for, and counts all', () => {
    const given: World = {
      source: Array.from({ length: 10 }, (_, offset) => ({ offset, id: `m${offset}`, intended: true })),
      target: Array.from({ length: 10 }, (_, offset) => ({ offset, id: `m${9 - offset}` })),
      targetEnd: 10,
      committed: 9,
      fence: Number.POSITIVE_INFINITY,
    };
    expect(translate(given, 3)).toMatchObject({
      target: 0,
      verdict: 'bounded',
      redeliveries: 9,
      redeliveredIds: ['m8', 'm7', 'm6'],
    });
  });

  it('takes no commit for what it is: unknown, not zero', () => {
    const bounds = { beginOffset: 4, endOffset: 9 };
    expect(start(7, bounds, undefined)).toEqual({ ok: true, committed: 7 });
    expect(start(undefined, bounds, undefined)).toMatchObject({ ok: false });
    expect(start(undefined, bounds, 'earliest')).toMatchObject({ ok: true, committed: 4 });
    expect(start(undefined, bounds, 'latest')).toMatchObject({ ok: true, committed: 9 });
    expect(start(undefined, { beginOffset: 9, endOffset: 9 }, undefined)).toMatchObject({ ok: true, committed: 9 });
    expect(start(3, bounds, undefined)).toMatchObject({ ok: false });
    // A commit that the log does not hold is not the same as none.
    expect(start(3, bounds, 'earliest')).toMatchObject({ ok: false });
    expect(start(10, bounds, 'latest')).toMatchObject({ ok: false });
  });
});
