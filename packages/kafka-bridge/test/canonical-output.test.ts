import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalText, toCanonicalTree, UncomparableOutputError } from '../src/consumer/canonical-output.js';
import { OutputDigester } from '../src/consumer/output-digest.js';

const text = (value: unknown): string => canonicalText(toCanonicalTree(value));

/** A value said in words that cannot be confused: what the canonical form is measured by. */
type Said =
  | ['null' | 'undefined']
  | ['boolean', boolean]
  | ['number' | 'string' | 'bigint' | 'date' | 'bytes' | 'floats' | 'regexp', string]
  | ['array' | 'set', Said[]]
  | ['object', [string, Said][]]
  | ['map', [Said, Said][]];

const STRINGS = [
  '',
  'a',
  '1',
  '$date',
  '1970-01-01T00:00:00.001Z',
  'AQ==',
  'é',
  'e\u0301',
  '\ud800',
  '\udfff',
  '\u2028',
];
const NAMES = [
  'a',
  'b',
  '$bigint',
  '$$bigint',
  '$date',
  '$bytes',
  '$undefined',
  '$%',
  '$%ANg=',
  '*',
  '__proto__',
  '\ud800',
];

const said = fc.letrec<{ any: Said }>((tie) => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<Said>(['null'], ['undefined'], ['boolean', true], ['boolean', false]),
    fc.constantFrom('1', '2.5', '1e+21', 'NaN', 'Infinity', '-Infinity').map((one): Said => ['number', one]),
    fc.constantFrom(...STRINGS).map((one): Said => ['string', one]),
    fc.constantFrom('1', '-1', '9007199254740993').map((one): Said => ['bigint', one]),
    fc.constantFrom('1', '2').map((one): Said => ['date', one]),
    fc.constantFrom('', '01', '0000803f').map((one): Said => ['bytes', one]),
    fc.constantFrom('1', '2').map((one): Said => ['floats', one]),
    fc.constantFrom('a', 'b').map((one): Said => ['regexp', one]),
    fc.array(tie('any'), { maxLength: 3 }).map((items): Said => ['array', items]),
    fc.uniqueArray(fc.constantFrom('1', '2', 'x'), { maxLength: 3 }).map(
      // Primitives, which a Set tells apart as this does.
      (items): Said => ['set', items.map((one): Said => ['string', one])],
    ),
    fc
      .uniqueArray(fc.tuple(fc.constantFrom(...NAMES), tie('any')), { maxLength: 3, selector: ([name]) => name })
      .map((entries): Said => ['object', entries]),
    fc
      .uniqueArray(fc.tuple(fc.constantFrom(...STRINGS), tie('any')), { maxLength: 2, selector: ([name]) => name })
      .map((entries): Said => ['map', entries.map(([name, part]): [Said, Said] => [['string', name], part])]),
  ),
})).any;

function valueOf(one: Said): unknown {
  switch (one[0]) {
    case 'null':
      return null;
    case 'undefined':
      return undefined;
    case 'boolean':
    case 'string':
      return one[1];
    case 'number':
      return Number(one[1]);
    case 'bigint':
      return BigInt(one[1]);
    case 'date':
      return new Date(Number(one[1]));
    case 'bytes':
      return Buffer.from(one[1], 'hex');
    case 'floats':
      return Float32Array.of(Number(one[1]));
    case 'regexp':
      return new RegExp(one[1], 'u');
    case 'array':
      return one[1].map(valueOf);
    case 'set':
      return new Set(one[1].map(valueOf));
    case 'map':
      return new Map(one[1].map(([name, part]) => [valueOf(name), valueOf(part)]));
    case 'object': {
      const made: Record<string, unknown> = {};
      for (const [name, part] of one[1]) Object.defineProperty(made, name, { value: valueOf(part), enumerable: true });
      return made;
    }
  }
}

/** The same words for the same value: no order where there is none, and no property that is `undefined`. */
function plainly(one: Said): string {
  switch (one[0]) {
    case 'array':
      return JSON.stringify(['array', one[1].map(plainly)]);
    case 'set':
      return JSON.stringify(['set', one[1].map(plainly).sort()]);
    case 'map':
      return JSON.stringify(['map', one[1].map(([name, part]) => [plainly(name), plainly(part)].join()).sort()]);
    case 'object':
      return JSON.stringify([
        'object',
        one[1]
          .filter(([, [kind]]) => kind !== 'undefined')
          .map(([name, part]) => JSON.stringify([name, plainly(part)]))
          .sort(),
      ]);
    default:
      return JSON.stringify(one);
  }
}

/** What a tree is when a handler returns it as it stands. */
function saidOfTree(tree: ReturnType<typeof toCanonicalTree>): Said {
  if (tree === null) return ['null'];
  if (typeof tree === 'boolean') return ['boolean', tree];
  if (typeof tree === 'number') return ['number', String(tree)];
  if (typeof tree === 'string') return ['string', tree];
  if (Array.isArray(tree)) return ['array', tree.map(saidOfTree)];
  return ['object', Object.entries(tree).map(([name, part]): [string, Said] => [name, saidOfTree(part)])];
}

/** A JSON text of a value in another spelling: order, spaces, numbers, escapes. */
function spelled(value: unknown, random: () => number): string {
  const space = (): string => ['', ' ', '\n\t'][Math.floor(random() * 3)] ?? '';
  if (typeof value === 'string') {
    const letters = value.split('').map((letter) => {
      const code = letter.charCodeAt(0).toString(16).padStart(4, '0');
      return random() < 0.5 ? `\\u${random() < 0.5 ? code : code.toUpperCase()}` : JSON.stringify(letter).slice(1, -1);
    });
    return `"${letters.join('')}"`;
  }
  if (typeof value === 'number') {
    const forms = [String(value), value.toExponential(), value.toExponential().replace('e', 'E'), `${String(value)}e0`];
    return forms[Math.floor(random() * forms.length)]?.replace(/e([+-]\d+)e0$/, 'e$1') ?? '';
  }
  if (Array.isArray(value)) return `[${space()}${value.map((item) => spelled(item, random)).join(`${space()},`)}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const entries = Object.entries(value)
    .map((entry) => ({ entry, at: random() }))
    .sort((a, b) => a.at - b.at);
  const parts = entries.map(({ entry: [name, part] }) => `${spelled(name, random)}${space()}:${spelled(part, random)}`);
  return `{${space()}${parts.join(`,${space()}`)}}`;
}

describe('canonical outputs', () => {
  it('are equal exactly where the values are', () => {
    const textOf = new Map<string, string>();
    const wordsOf = new Map<string, string>();
    const holds = (words: string, form: string): void => {
      expect(textOf.get(words) ?? form).toBe(form);
      expect(wordsOf.get(form) ?? words).toBe(words);
      textOf.set(words, form);
      wordsOf.set(form, words);
    };
    fc.assert(
      fc.property(said, (one) => {
        const tree = toCanonicalTree(valueOf(one));
        holds(plainly(one), canonicalText(tree));
        // The hardest neighbour: an output that looks like the form of the other.
        holds(plainly(saidOfTree(tree)), text(tree));
      }),
      { numRuns: 5_000 },
    );
    expect(wordsOf.size).toBeGreaterThan(1_000);
  });

  it('do not depend on how JSON was spelled', () => {
    const digester = new OutputDigester({ migration: 'orders' });
    fc.assert(
      fc.property(
        fc.jsonValue({ maxDepth: 4, stringUnit: 'binary' }),
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        (value, stream) => {
          const random = (): number => {
            const next = stream.next();
            return next.done === true ? 0 : next.value;
          };
          const other: unknown = JSON.parse(spelled(value, random));
          expect(digester.digest(other)).toEqual(digester.digest(value));
        },
      ),
    );
  });

  it('keep apart what RFC 8785 has examples of', () => {
    // The RFC's own sample (section 3.2.2), as its section 3.2.4 spells it.
    const sample: unknown = JSON.parse(
      '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}',
    );
    expect(text(sample)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  it('have a form for what holds more than properties', () => {
    // A hole must not move what is behind it.
    expect(text([1, , 2])).toBe(text([1, undefined, 2]));
    expect(text(Object(1))).toBe('1');
    expect(text(new Date(NaN))).toBe('{"$date":"invalid"}');
    expect(text(new DataView(new ArrayBuffer(1)))).toBe(text(Buffer.alloc(1)));
    expect(text(new URL('http://a/'))).toBe('"http://a/"');
    expect(text(new TypeError('a'))).not.toBe(text(new TypeError('b')));
    expect(text(new TypeError('a'))).not.toBe(text(new Error('a')));
    expect(text(new Error('a', { cause: 1 }))).not.toBe(text(new Error('a')));
    expect(text(Object.assign(new Error('a'), { code: 1 }))).not.toBe(text(new Error('a')));
    const shared = { a: 1 };
    expect(text([shared, shared])).toBe('[{"a":1},{"a":1}]');
  });

  it('are refused where two of them could not be told apart', () => {
    class Money {
      readonly #cents: number;
      constructor(cents: number) {
        this.#cents = cents;
      }
      get cents(): number {
        return this.#cents;
      }
    }
    expect(new Money(1).cents).toBe(1);
    const cycle: unknown[] = [];
    cycle.push({ cycle });
    let deep: unknown = 1;
    for (let level = 0; level < 70; level += 1) deep = [deep];
    let wide: unknown = 1;
    for (let level = 0; level < 40; level += 1) wide = [wide, wide];
    for (const bad of [
      ...[() => 1, Symbol('a'), Promise.resolve(1), new WeakMap(), new Money(1), new URLSearchParams('a=1')],
      ...[cycle, deep, wide, [1, 2].values()],
    ]) {
      expect(() => text({ bad })).toThrow(UncomparableOutputError);
    }
    expect(() => text(new Money(1))).toThrow(/Money.*toJSON/);
  });
});
