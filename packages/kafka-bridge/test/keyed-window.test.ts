import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Slots } from '../src/async/slots.js';
import { handleByKey } from '../src/consumer/keyed-window.js';

interface Item {
  offset: number;
  key: string | undefined;
  /** How its handling ends. */
  end: 'done' | 'held' | 'throws';
}

interface Held {
  item: Item;
  finish: () => void;
}

/** A partition whose handlers end when the test says so. */
class Partition {
  readonly begun: Item[] = [];
  readonly finished = new Set<number>();
  readonly passed: number[] = [];
  readonly inHand: Held[] = [];
  admitBelow = Infinity;
  readonly result: Promise<PromiseSettledResult<Item | undefined>>;

  constructor(
    readonly items: readonly Item[],
    readonly concurrency: number,
    slots: Slots,
  ) {
    this.result = handleByKey<Item, number>(items, {
      concurrency,
      slots,
      keyOf: ({ key }) => key,
      admit: ({ offset }) => offset < this.admitBelow,
      run: (item) => this.#run(item),
      pass: async ({ offset }, result) => {
        expect(result).toBe(offset);
        await turn();
        this.passed.push(offset);
      },
    }).then(
      (value) => ({ status: 'fulfilled', value }),
      (reason: unknown) => ({ status: 'rejected', reason }),
    );
  }

  /** First offset that a commit may not pass. */
  get firstOpen(): number {
    return this.items.find(({ offset }) => !this.finished.has(offset))?.offset ?? Infinity;
  }

  #run(item: Item): Promise<number | undefined> {
    this.begun.push(item);
    return new Promise((resolve, reject) => {
      const held: Held = {
        item,
        finish: () => {
          this.inHand.splice(this.inHand.indexOf(held), 1);
          if (item.end === 'throws') reject(new Error('planted'));
          if (item.end === 'done') this.finished.add(item.offset);
          resolve(item.end === 'done' ? item.offset : undefined);
        },
      };
      this.inHand.push(held);
    });
  }
}

const keys = fc.option(fc.constantFrom('a', 'b', 'c', 'd'), { nil: undefined, freq: 6 });
const ends = fc.oneof(
  { weight: 40, arbitrary: fc.constant('done' as const) },
  { weight: 1, arbitrary: fc.constantFrom('held' as const, 'throws' as const) },
);

function checkNow({ begun, inHand, passed, items, concurrency, finished, firstOpen }: Partition): void {
  expect(inHand.length).toBeLessThanOrEqual(concurrency);
  // One of a key at a time, and in its order.
  const held = inHand.flatMap(({ item: { key } }) => (key === undefined ? [] : [key]));
  expect(new Set(held).size).toBe(held.length);
  for (const key of new Set(items.map((item) => item.key))) {
    if (key === undefined && concurrency > 1) continue;
    const of = (list: readonly Item[]): number[] => list.filter((item) => item.key === key).map(({ offset }) => offset);
    expect(of(begun)).toEqual(of(items).slice(0, of(begun).length));
  }
  if (concurrency === 1) expect(begun).toEqual(items.slice(0, begun.length));
  // In order, without a gap, and never past what is not done.
  expect(passed).toEqual(items.slice(0, passed.length).map(({ offset }) => offset));
  expect(passed.every((offset) => finished.has(offset) && offset < firstOpen)).toBe(true);
}

describe('handleByKey', () => {
  it('keeps the order of keys, and passes nothing that is not done, whatever ends when', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(keys, ends), { maxLength: 60 }),
        fc.integer({ min: 1, max: 8 }),
        fc.infiniteStream(fc.nat()),
        fc.option(fc.nat({ max: 60 }), { nil: undefined, freq: 3 }),
        async (made, concurrency, picks, limit) => {
          // Offsets with gaps, as a log has them.
          const items = made.map(([key, end], index) => ({ offset: index * 3, key, end }));
          const partition = new Partition(items, concurrency, new Slots(concurrency));
          if (limit !== undefined) partition.admitBelow = limit;
          for (;;) {
            await turn();
            checkNow(partition);
            if (partition.inHand.length === 0) break;
            const pick = picks.next();
            const index = pick.done === true ? 0 : pick.value % partition.inHand.length;
            partition.inHand[index]?.finish();
          }
          const result = await partition.result;
          checkNow(partition);
          const threw = partition.begun.some(({ end }) => end === 'throws');
          expect(result.status).toBe(threw ? 'rejected' : 'fulfilled');
          if (result.status === 'rejected') return;
          expect(result.value?.offset ?? Infinity).toBe(partition.firstOpen);
          // All that is done before the first that is not, was passed.
          expect(partition.passed).toEqual(
            items.filter(({ offset }) => offset < partition.firstOpen).map(({ offset }) => offset),
          );
          if (items.every(({ end, offset }) => end === 'done' && offset < partition.admitBelow)) {
            expect(partition.passed).toHaveLength(items.length);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('has as many in hand as it may while keys are free', async () => {
    const items = Array.from({ length: 12 }, (_, offset): Item => ({ offset, key: `k${offset % 6}`, end: 'done' }));
    const partition = new Partition(items, 4, new Slots(4));
    await turn();
    expect(partition.inHand.map(({ item }) => item.offset)).toEqual([0, 1, 2, 3]);
    // The first stays: the others go on around it.
    for (const offset of [1, 2, 3, 4, 5]) {
      partition.inHand.find(({ item }) => item.offset === offset)?.finish();
      await turn();
    }
    expect(partition.inHand.map(({ item }) => item.offset)).not.toContain(6);
    expect(partition.inHand).toHaveLength(4);
    expect(partition.passed).toEqual([]);
    while (partition.inHand.length > 0) {
      partition.inHand[0]?.finish();
      await turn();
    }
    expect((await partition.result).status).toBe('fulfilled');
    expect(partition.passed).toHaveLength(12);
  });

  it('goes at most 500 messages ahead of the first that is not done', async () => {
    const items = Array.from({ length: 2_000 }, (_, offset): Item => ({ offset, key: `k${offset}`, end: 'done' }));
    const partition = new Partition(items, 2, new Slots(2));
    await turn();
    const [first] = partition.inHand;
    for (;;) {
      const other = partition.inHand.find((held) => held !== first);
      if (other === undefined) break;
      other.finish();
      await turn();
    }
    expect(partition.begun).toHaveLength(500);
    // Passing goes on between: nothing need be in hand at a moment.
    while (partition.passed.length < items.length) {
      partition.inHand[0]?.finish();
      await turn();
    }
    expect((await partition.result).status).toBe('fulfilled');
    expect(partition.passed).toHaveLength(2_000);
  });

  it('shares the places of a side between partitions', async () => {
    const slots = new Slots(3);
    const partitions = ['a', 'b', 'c'].map(
      (name) =>
        new Partition(
          Array.from({ length: 20 }, (_, offset) => ({ offset, key: `${name}${offset}`, end: 'done' as const })),
          2,
          slots,
        ),
    );
    let most = 0;
    for (;;) {
      await turn();
      const held = partitions.flatMap(({ inHand }) => inHand);
      most = Math.max(most, held.length);
      if (held.length === 0) break;
      held[0]?.finish();
    }
    expect(most).toBe(3);
    for (const partition of partitions) {
      await partition.result;
      expect(partition.passed).toHaveLength(20);
    }
  });
});
