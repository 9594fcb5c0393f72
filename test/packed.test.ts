import { describe, expect, it } from 'vitest';
import { packed, unpacked } from '../src/activities/packed.js';

const large = { lanes: Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`live topic-1/${n}`, { log: n }])) };

describe('what a next attempt goes on from', () => {
  it('stays as it is where it is small, and nothing stays nothing', () => {
    for (const value of [{ a: 1 }, [], 'text', null, undefined]) {
      expect(packed(value)).toBe(value);
    }
  });

  it('is a fraction of itself where it is large, and comes back as it was', () => {
    const small = JSON.stringify(packed(large));
    expect(small.length).toBeLessThan(JSON.stringify(large).length / 4);
    expect(unpacked(JSON.parse(small))).toEqual(large);
  });

  it('is taken as an earlier version wrote it', () => {
    expect(unpacked(large)).toBe(large);
    expect(unpacked<object | undefined>(undefined)).toBeUndefined();
  });
});
