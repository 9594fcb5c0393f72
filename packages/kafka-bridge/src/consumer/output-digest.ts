import { createHmac } from 'node:crypto';
import canonicalizeModule from 'canonicalize';

/** What is told of an output: enough to say that two differ and where, nothing of what they hold. */
export interface OutputDigest {
  /** HMAC-SHA256 of the canonical output without the ignored parts, base64url. */
  digest: string;
  /** The same with the ignored parts; equal to `digest` when nothing is ignored. */
  whole: string;
  /** Short digest of each leaf by JSON pointer, at most `MAX_FIELDS`, in order of their names. */
  fields: Record<string, string>;
  /** True when the output has more leaves than `fields` names. */
  truncated: boolean;
}

/** The output holds something that has no canonical form: a function, a symbol, a cycle, or nests too deep. */
export class UncomparableOutputError extends TypeError {
  override readonly name = 'UncomparableOutputError';
}

/** Its types describe an ES module; what Node imports is the function itself. */
const canonicalize = canonicalizeModule as unknown as (value: unknown) => string | undefined;

const MAX_FIELDS = 64;
const MAX_DEPTH = 64;
const SHORT_DIGEST_CHARS = 10;

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/**
 * Digests handler outputs. The canonical form is RFC 8785 (JSON Canonicalization Scheme) over the output, with values
 * that JSON lacks replaced first:
 *
 * - `undefined`: a property is left out; elsewhere `{"$undefined": true}`
 * - `Buffer`, `Uint8Array`, `ArrayBuffer`: `{"$bytes": BASE64}`
 * - `Date`: `{"$date": ISO 8601}`
 * - `bigint`: `{"$bigint": DECIMAL}`; `NaN` and the infinities: `{"$number": NAME}`
 * - `Map`: `{"$map": [[key, value], …]}`, `Set`: `{"$set": […]}`, both in canonical order
 * - other objects: their `toJSON()` where they have one, else their own enumerable properties
 *
 * The key of the HMAC keeps short and guessable outputs from being read back out of their digests.
 */
export class OutputDigester {
  readonly #key: Buffer;
  readonly #ignore: string[][];

  /**
   * @param ignore JSON pointers (RFC 6901) of parts that may differ; `-` or `*` in place of an array index means each.
   * @throws {TypeError} when one is not a JSON pointer.
   */
  constructor(options: { migration: string; digestKey?: string; ignore?: readonly string[] }) {
    this.#key = createHmac('sha256', options.digestKey ?? '')
      .update(`owlmq-bridge observations of ${options.migration}`)
      .digest();
    this.#ignore = (options.ignore ?? []).map(parsePointer);
  }

  /** @throws {UncomparableOutputError} */
  digest(output: unknown): OutputDigest {
    const plain = toJson(output, 0);
    const whole = this.#hmac(canonicalText(plain));
    const kept = this.#ignore.reduce<Json | undefined>((value, path) => without(value, path), plain);
    const leaves = new Map<string, string>();
    if (kept !== undefined) collectLeaves(kept, '', leaves);
    const named = [...leaves].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).slice(0, MAX_FIELDS);
    return {
      digest: this.#ignore.length === 0 ? whole : this.#hmac(kept === undefined ? '' : canonicalText(kept)),
      whole,
      fields: Object.fromEntries(named.map(([pointer, text]) => [pointer, this.short(text)])),
      truncated: leaves.size > MAX_FIELDS,
    };
  }

  /** Short digest of a text, for telling keys and messages of errors apart. */
  short(text: string | Buffer): string {
    return this.#hmac(text).slice(0, SHORT_DIGEST_CHARS);
  }

  #hmac(text: string | Buffer): string {
    return createHmac('sha256', this.#key).update(text).digest('base64url');
  }
}

function canonicalText(value: Json): string {
  return canonicalize(value) ?? '';
}

function toJson(value: unknown, depth: number): Json {
  if (depth > MAX_DEPTH) {
    throw new UncomparableOutputError(`The output nests deeper than ${MAX_DEPTH} levels, or contains itself.`);
  }
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) ? value : { $number: String(value) };
    case 'bigint':
      return { $bigint: value.toString() };
    case 'undefined':
      return { $undefined: true };
    case 'object':
      return value === null ? null : objectToJson(value, depth + 1);
    case 'function':
    case 'symbol':
      throw new UncomparableOutputError(`The output holds a ${typeof value}, which has no canonical form.`);
  }
}

function objectToJson(value: object, depth: number): Json {
  if (ArrayBuffer.isView(value)) {
    return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') };
  }
  if (value instanceof ArrayBuffer) return { $bytes: Buffer.from(value).toString('base64') };
  if (value instanceof Date) return { $date: Number.isNaN(value.getTime()) ? 'invalid' : value.toISOString() };
  if (Array.isArray(value)) return value.map((item) => toJson(item, depth));
  if (value instanceof Map) {
    return { $map: inCanonicalOrder([...value].map(([name, item]) => [toJson(name, depth), toJson(item, depth)])) };
  }
  if (value instanceof Set) return { $set: inCanonicalOrder([...value].map((item) => toJson(item, depth))) };
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return toJson((value.toJSON as () => unknown).call(value), depth);
  }
  const result: { [name: string]: Json } = {};
  for (const [name, item] of Object.entries(value)) {
    // defineProperty: a property named __proto__ is one like any other.
    if (item !== undefined) {
      Object.defineProperty(result, name, { value: toJson(item, depth), enumerable: true, writable: true });
    }
  }
  return result;
}

function inCanonicalOrder(items: Json[]): Json[] {
  return items
    .map((item) => ({ item, text: canonicalText(item) }))
    .sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0))
    .map(({ item }) => item);
}

function parsePointer(pointer: string): string[] {
  if (pointer !== '' && !pointer.startsWith('/')) {
    throw new TypeError(`"${pointer}" is not a JSON pointer: it must be empty or begin with "/".`);
  }
  return pointer
    .split('/')
    .slice(1)
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** A copy without what the path names; undefined when it names the whole. */
function without(value: Json | undefined, path: readonly string[]): Json | undefined {
  const [token, ...rest] = path;
  if (token === undefined || value === undefined) return undefined;
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) {
    const each = token === '-' || token === '*';
    // An ignored item leaves its place behind, so that the indexes of the others stay.
    return value.map((item, index) => (each || String(index) === token ? (without(item, rest) ?? null) : item));
  }
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, item]): [string, Json][] => {
      const kept = name === token || (token === '*' && !(token in value)) ? without(item, rest) : item;
      return kept === undefined ? [] : [[name, kept]];
    }),
  );
}

function collectLeaves(value: Json, pointer: string, leaves: Map<string, string>): void {
  const entries = value !== null && typeof value === 'object' ? Object.entries(value) : [];
  if (entries.length === 0) {
    leaves.set(pointer, canonicalText(value));
    return;
  }
  for (const [name, item] of entries) {
    collectLeaves(item, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, leaves);
  }
}
