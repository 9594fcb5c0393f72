import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCopied } from '../src/publisher/copy-decision.js';
import { partitionOfKey } from '../src/publisher/partitioner.js';

const seed = Number(process.env['FC_SEED'] ?? Date.now() % 2 ** 31);

/** Distinct keys as services have them: numbers, uuids, text of any kind. */
const keysOf = fc.tuple(fc.nat({ max: 2 ** 31 }), fc.constantFrom('order-', '', 'kunde/', 'é', '0000000')).map(
  ([start, prefix]) =>
    (count: number) =>
      Array.from({ length: count }, (_, n) => Buffer.from(`${prefix}${start + n}`)),
);

/** Six standard deviations: about one in a billion of fair draws lies outside. */
const bound = (share: number, count: number): number => 6 * Math.sqrt((share * (1 - share)) / count) + 1e-9;

describe('the share of messages that are copied', () => {
  it('only gains keys when the ratio is raised', () => {
    console.info(`FC_SEED=${seed}`);
    const ratio = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), ratio, ratio, (key, a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        expect(isCopied(key, low) && !isCopied(key, high)).toBe(false);
        expect(isCopied(key, 0)).toBe(false);
        expect(isCopied(key, 1)).toBe(true);
      }),
      { seed, numRuns: 3_000 },
    );
  });

  it('is the ratio, of all keys and of those in each partition', () => {
    console.info(`FC_SEED=${seed}`);
    const partitions = fc.constantFrom(2, 3, 6, 12);
    fc.assert(
      fc.property(keysOf, fc.double({ min: 0.01, max: 0.99, noNaN: true }), partitions, (keys, ratio, count) => {
        const drawn = keys(6_000);
        const share = Math.round(ratio * 10_000) / 10_000;
        const all = drawn.filter((key) => isCopied(key, ratio)).length / drawn.length;
        expect(Math.abs(all - share)).toBeLessThan(bound(share, drawn.length));
        for (let partition = 0; partition < count; partition++) {
          const own = drawn.filter((key) => partitionOfKey(key, count) === partition);
          const copied = own.filter((key) => isCopied(key, ratio)).length / own.length;
          expect(Math.abs(copied - share)).toBeLessThan(bound(share, own.length));
        }
      }),
      { seed, numRuns: 60 },
    );
  });
});
