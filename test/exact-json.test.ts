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
        expect(parseExactly(text)).toEqual(JSON.parse(text));
        expect(digestOf(text)).toBe(digester.digest(JSON.parse(text)).whole);
      }),
      { seed, numRuns: 500 },
    );
    const double = fc.double({ noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(double, fc.integer({ min: 17, max: 100 }), (one, digits) => {
        for (const text of [JSON.stringify(one), one.toExponential(), one.toPrecision(digits)]) {
          // -0 is 0 in both.
          expect(parseExactly(text) === one).toBe(true);
        }
      }),
      { seed, numRuns: 2_000 },
    );
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
    for (const text of ['0.10000000000000000001', '1e400', '-1e-400', '1.2345678901234567891e30', '1'.repeat(1_001)]) {
      expect(() => digestOf(`{"n":[${text}]}`)).toThrow(UncomparableOutputError);
    }
  });

  it('refuses what is no JSON, and what says two things', () => {
    for (const text of ['', '01', '1.', '[1,]', '{"a":1,"a":2}', 'NaN', '"\u0001"', '['.repeat(100_000)]) {
      expect(() => parseExactly(text)).toThrow(SyntaxError);
    }
    const odd = parseExactly('{"__proto__":{"a":1},"toJSON":2}') as Record<string, unknown>;
    expect(Object.keys(odd)).toEqual(['__proto__', 'toJSON']);
    expect((odd as { a?: number }).a).toBeUndefined();
  });
});
