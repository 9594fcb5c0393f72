import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OutputDigester, UncomparableOutputError } from '../src/consumer/output-digest.js';
import { decodeObservation, encodeObservation, observationKey, type Observation } from '../src/consumer/observation.js';

const digester = new OutputDigester({ migration: 'orders' });
const digest = (value: unknown): string => digester.digest(value).digest;

/** The same value with its properties in the opposite order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (value === null || typeof value !== 'object') return value;
  const copy: Record<string, unknown> = {};
  for (const [name, item] of Object.entries(value).reverse()) {
    Object.defineProperty(copy, name, { value: reversed(item), enumerable: true });
  }
  return copy;
}

describe('OutputDigester', () => {
  it('does not depend on the order of properties', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        expect(digester.digest(reversed(value))).toEqual(digester.digest(value));
      }),
    );
  });

  it('tells values apart, and names the leaf that differs', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ minLength: 1, maxLength: 5 }), fc.integer(), { minKeys: 1, maxKeys: 20 }),
        fc.nat(),
        (value, pick) => {
          const names = Object.keys(value);
          const name = names[pick % names.length] ?? '';
          const changed = { ...value, [name]: (value[name] ?? 0) + 1 };
          const [one, other] = [digester.digest(value), digester.digest(changed)];
          expect(one.digest).not.toBe(other.digest);
          const pointer = `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
          const differing = Object.keys(one.fields).filter((field) => one.fields[field] !== other.fields[field]);
          expect(differing).toEqual([pointer]);
        },
      ),
    );
  });

  it('has a form for what JSON lacks', () => {
    const forms: unknown[] = [
      undefined,
      null,
      10n,
      '10',
      10,
      NaN,
      Infinity,
      new Date(10),
      Buffer.from('a'),
      new Map([['a', 1]]),
      new Set(['a']),
      { a: 1 },
      [undefined],
      [null],
    ];
    expect(new Set(forms.map(digest)).size).toBe(forms.length);
    expect(digest({ a: 1, b: undefined })).toBe(digest({ a: 1 }));
    expect(digest(Buffer.from('a'))).toBe(digest(new Uint8Array([97])));
    expect(digest(new Map(Object.entries({ a: 1, b: 2 })))).toBe(digest(new Map(Object.entries({ b: 2, a: 1 }))));
    expect(digest(-0)).toBe(digest(0));
  });

  it('refuses what has no canonical form', () => {
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    for (const bad of [cycle, () => 1, { a: Symbol('a') }]) expect(() => digest(bad)).toThrow(UncomparableOutputError);
  });

  it('leaves out what is ignored, and says that something was', () => {
    const ignoring = new OutputDigester({ migration: 'orders', ignore: ['/at', '/items/*/at', '/a~1b'] });
    const one = ignoring.digest({ at: 1, items: [{ at: 1, n: 1 }], 'a/b': 1 });
    const other = ignoring.digest({ at: 2, items: [{ at: 3, n: 1 }], 'a/b': 2 });
    expect(one.digest).toBe(other.digest);
    expect(one.whole).not.toBe(other.whole);
    expect(Object.keys(one.fields)).toEqual(['/items/0/n']);
    expect(ignoring.digest({ items: [{ n: 2 }] }).digest).not.toBe(one.digest);
    expect(() => new OutputDigester({ migration: 'orders', ignore: ['at'] })).toThrow(TypeError);
  });

  it('depends on migration and key, and names at most 64 leaves', () => {
    const digests = [
      new OutputDigester({ migration: 'orders' }),
      new OutputDigester({ migration: 'others' }),
      new OutputDigester({ migration: 'orders', digestKey: 'k' }),
    ].map((one) => one.digest('x').digest);
    expect(new Set(digests).size).toBe(3);
    const wide = digester.digest(Array.from({ length: 100 }, (_, index) => index));
    expect(Object.keys(wide.fields)).toHaveLength(64);
    expect(wide.truncated).toBe(true);
  });
});

describe('observations', () => {
  const observation: Observation = {
    version: 1,
    migration: 'm',
    group: 'g',
    side: 'shadow',
    topic: 't',
    partition: 2,
    id: 'id',
    kafka: 7,
    owlmq: 9,
    time: 1,
    key: null,
    epoch: 3,
    output: digester.digest({ amount: 12 }),
  };

  it('are read as they were written, and hold no value', () => {
    const text = encodeObservation(observation);
    expect(decodeObservation(Buffer.from(text))).toEqual(observation);
    expect(text).not.toContain('"12"');
    expect(text).not.toContain(':12');
  });

  it('are undefined where the bytes are something else', () => {
    for (const text of ['', 'null', '{"version":2}', '[1'])
      expect(decodeObservation(Buffer.from(text))).toBeUndefined();
    expect(decodeObservation(null)).toBeUndefined();
  });

  it('of both sides of a message share a key', () => {
    expect(observationKey({ ...observation, side: 'live' })).toBe(observationKey(observation));
  });
});
