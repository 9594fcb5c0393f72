import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OutputDigester, UncomparableOutputError } from '@owlmq/kafka-bridge/operations';
import { parseExactly } from '../src/endpoint/exact-json.js';

const seed = randomInt(2 ** 31);
process.stderr.write(`seed ${seed}\n`);
const digester = new OutputDigester({ migration: 'm', digestKey: 'key' });

function digestOf(text: string): string {
  return digester.digest(parseExactly(text)).whole;
}

describe('exact JSON', () => {
  it('reads what JSON.parse reads, and the same double however it is spelt', () => {
    const value = fc.jsonValue();
    fc.assert(
      fc.property(value, (one) => {
        const text = JSON.stringify(one);
        // JavaScript writes an integer beyond 2^53 with other digits than it has.
        fc.pre(!/\d{16,21}(?![\d.e])/.test(text));
        expect(parseExactly(text)).toEqual(JSON.parse(text));
        expect(digestOf(text)).toBe(digester.digest(JSON.parse(text)).whole);
      }),
      { seed, numRuns: 500 },
    );
    const double = fc.double({ noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(double, fc.integer({ min: 17, max: 100 }), (one, digits) => {
        const shortest = Number.isInteger(one) ? BigInt(one).toString() : JSON.stringify(one);
        for (const text of [shortest, one.toExponential(), one.toPrecision(digits)]) {
          // -0 is 0 in both.
          expect(parseExactly(text) === one).toBe(true);
        }
      }),
      { seed, numRuns: 2_000 },
    );
  });

  it('knows a half in the last place rounded to even, as C and Python write it', () => {
    for (const [text, value] of [
      ['33464914909847.312', 33464914909847.3125],
      ['33464914909847.313', 33464914909847.3125],
      ['0.12', 0.125],
    ] as const) {
      expect(Number(text) === value).toBe(text !== '0.12');
      expect(parseExactly(text)).toBe(Number(text));
    }
    expect(() => digestOf('33464914909847.311')).toThrow(UncomparableOutputError);
  });

  it('tells numbers apart that a double does not', () => {
    const large = fc.bigInt({ min: 2n ** 53n, max: 2n ** 80n });
    fc.assert(
      fc.property(large, fc.bigInt({ min: 1n, max: 300n }), (one, more) => {
        const other = one + more;
        expect(digestOf(`{"n":${one}}`)).not.toBe(digestOf(`{"n":${other}}`));
        expect(digestOf(`-${one}`)).not.toBe(digestOf(`-${other}`));
      }),
      { seed, numRuns: 1_000 },
    );
    // As the library has them: a number where it is a double, else a bigint.
    expect(parseExactly('[9007199254740992,9007199254740993,100000000000000000000]')).toEqual([
      2 ** 53,
      2n ** 53n + 1n,
      1e20,
    ]);
    // An id that went through a double, and is written as JavaScript does.
    expect(digestOf('1152921504606846976')).not.toBe(digestOf('1152921504606847000'));
    for (const text of ['0.10000000000000000001', '1e400', '-1e-400', '1.2345678901234567891e30', '1'.repeat(1_001)]) {
      expect(() => digestOf(`{"n":[${text}]}`)).toThrow(UncomparableOutputError);
    }
  });

  it('refuses what is no JSON, and takes names as they are', () => {
    for (const text of ['', '01', '1.', '[1,]', 'NaN', '"\u0001"', '['.repeat(100_000)]) {
      expect(() => parseExactly(text)).toThrow(SyntaxError);
      // With a number that takes the other parser.
      expect(() => parseExactly(`[12345678901234567890,${text}]`)).toThrow(SyntaxError);
    }
    for (const large of [1, 12345678901234567890n]) {
      expect(parseExactly(`{"a":${large},"a":2,"a":${large}}`)).toEqual({ a: large });
    }
    for (const large of ['1', '12345678901234567890']) {
      const odd = parseExactly(`{"__proto__":{"a":${large}},"toJSON":2}`) as Record<string, unknown>;
      expect(Object.keys(odd)).toEqual(['__proto__', 'toJSON']);
      expect((odd as { a?: number }).a).toBeUndefined();
    }
  });
});
