import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UncomparableOutputError } from '../src/consumer/canonical-output.js';
import { differingFields, packFields, unpackFields } from '../src/consumer/field-digests.js';
import { childPointer } from '../src/consumer/json-pointer.js';
import { OutputDigester } from '../src/consumer/output-digest.js';
import { decodeObservation, encodeObservation, observationKey, type Observation } from '../src/consumer/observation.js';

const digester = new OutputDigester({ migration: 'orders' });
const digest = (value: unknown): string => digester.digest(value).digest;

/** Values as JSON has them, with names that stand for something in pointers and in canonical forms. */
const jsonLike = fc.jsonValue({ maxDepth: 3, noUnicodeString: false });

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

  it('depends on migration and key', () => {
    const digests = [
      new OutputDigester({ migration: 'orders' }),
      new OutputDigester({ migration: 'others' }),
      new OutputDigester({ migration: 'orders', digestKey: 'k' }),
    ].map((one) => one.digest('x').digest);
    expect(new Set(digests).size).toBe(3);
  });

  it('tells the output itself only when it is captured, and of a long one the begin', () => {
    const capturing = new OutputDigester({ migration: 'orders', ignore: ['/at'], capture: true });
    expect(capturing.digest({ b: 1n, at: 2 }).captured).toEqual({ text: '{"at":2,"b":{"$bigint":"1"}}', length: 28 });
    const { text = '', length } = capturing.digest('x'.repeat(100_000)).captured ?? {};
    expect([text.length, length]).toEqual([8_192, 100_002]);
    expect(digester.digest({ a: 1 }).captured).toBeUndefined();
  });

  describe('fields', () => {
    it('stand for the rest where there are more than 64 leaves', () => {
      const wide = Array.from({ length: 100 }, (_, index) => index);
      const one = digester.digest(wide);
      expect(Object.keys(one.fields)).toHaveLength(64);
      expect(one.truncated).toBe(true);
      expect(differingFields(one.fields, digester.digest(wide.with(7, -1)).fields)).toEqual(['/7']);
      expect(differingFields(one.fields, digester.digest(wide.with(99, -1)).fields)).toEqual(['/*']);
      expect(digester.digest(wide.slice(0, 64)).truncated).toBe(false);
    });

    it('tell apart what is near the root first', () => {
      const output = { lines: Array.from({ length: 80 }, (_, at) => ({ at, sku: 'x' })), total: 1, zone: 'UTC' };
      const one = digester.digest(output).fields;
      expect(differingFields(one, digester.digest({ ...output, zone: 'CET' }).fields)).toEqual(['/zone']);
      const lines = output.lines.with(3, { at: 3, sku: 'y' });
      expect(differingFields(one, digester.digest({ ...output, lines }).fields)).toEqual(['/lines/3']);
    });

    it('name the part where one side tells it as a whole', () => {
      expect(differingFields({ '/a': '1', '/b/c': '2' }, { '/a': '1', '/b': '3' })).toEqual(['/b']);
      expect(differingFields({ '/a/b': '1' }, { '/ab': '1' })).toEqual(['/a/b', '/ab']);
      expect(differingFields({ '': '1' }, { '/a': '1' })).toEqual(['']);
    });

    it('are bounded in size, and differ wherever outputs differ', () => {
      fc.assert(
        fc.property(jsonLike, jsonLike, (one, other) => {
          const [left, right] = [digester.digest(one), digester.digest(other)];
          const text = JSON.stringify(left.fields);
          expect(Buffer.byteLength(text)).toBeLessThan(8_192 + 64 * 24);
          const differing = differingFields(left.fields, right.fields);
          expect(differing.length === 0).toBe(left.digest === right.digest);
        }),
      );
      const long = digester.digest({ ['x'.repeat(20_000)]: 1, b: 2 });
      expect(long).toMatchObject({ truncated: true });
      expect(Object.keys(long.fields)).toEqual(['']);
    });
  });
});

describe('observations', () => {
  const digest = digester.digest({ amount: 12, 'unit price': 3 });
  const observation: Observation = {
    version: 2,
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
    output: { ...digest, fields: packFields(digest.fields) },
  };

  it('are read as they were written, and hold no value', () => {
    const text = encodeObservation(observation);
    expect(decodeObservation(Buffer.from(text))).toEqual(observation);
    expect(text).not.toContain('"12"');
    expect(text).not.toContain(':12');
  });

  it('of the first version are read as those of today', () => {
    const text = JSON.stringify({ ...observation, version: 1, output: digest });
    expect(decodeObservation(Buffer.from(text))).toEqual({ ...observation, version: 1 });
  });

  it('have the fields of any output packed and unpacked alike', () => {
    const pointer = fc.array(fc.string({ unit: 'binary' })).map((names) => names.reduce(childPointer, ''));
    fc.assert(
      fc.property(
        fc.dictionary(
          pointer,
          fc.base64String({ minLength: 1 }).map((text) => text.slice(0, 10)),
        ),
        (fields) => {
          expect(unpackFields(packFields(fields))).toEqual({ ...fields });
        },
      ),
    );
  });

  it('are undefined where the bytes are something else', () => {
    for (const text of ['', 'null', '{"version":3}', '[1'])
      expect(decodeObservation(Buffer.from(text))).toBeUndefined();
    expect(decodeObservation(null)).toBeUndefined();
  });

  it('of both sides of a message share a key', () => {
    const live: Observation = { ...observation, side: 'live' };
    expect(observationKey(live)).toBe(observationKey(observation));
  });
});
