import { types, toUSVString } from 'node:util';
import canonicalize from 'canonicalize';

/** The output holds something that has no canonical form, so that nobody can say whether two of them are equal. */
export class UncomparableOutputError extends TypeError {
  override readonly name = 'UncomparableOutputError';
}

/**
 * An output in the values that JSON has. What JSON lacks is a tag: an object with one property whose name begins with
 * one `$`. Names of the output's own that begin with `$` have one more, so that nothing else looks like a tag.
 */
export type CanonicalTree = null | boolean | number | string | CanonicalTree[] | { [name: string]: CanonicalTree };

const MAX_DEPTH = 64;
const MAX_VALUES = 200_000;

const TAGS = new Set([
  ...(['$undefined', '$number', '$bigint', '$utf16', '$date', '$bytes'] as const),
  ...(['$typed', '$map', '$set', '$regexp', '$error'] as const),
]);
type Tag = typeof TAGS extends Set<infer Name> ? Name : never;
/** Begins the form of a property name that is not valid Unicode. */
const ILL_FORMED = '$%';

/**
 * Turns a handler's output into its canonical tree. Two outputs have the same tree exactly when a reader of them would
 * call them equal:
 *
 * - a property that is `undefined` is as good as none; elsewhere `undefined` is `{"$undefined": true}`
 * - numbers are IEEE doubles, `-0` is `0`; `NaN` and the infinities are `{"$number": NAME}`
 * - `bigint`: `{"$bigint": DECIMAL}`; `Date`: `{"$date": ISO 8601}`; `RegExp`: `{"$regexp": SOURCE}`
 * - `Buffer`, `Uint8Array`, `Uint8ClampedArray`, `ArrayBuffer`, `DataView`: `{"$bytes": BASE64}`; other typed arrays:
 *   `{"$typed": [NAME, BASE64]}`
 * - `Map`: `{"$map": [[key, value], …]}`, `Set`: `{"$set": […]}`, both in canonical order
 * - `Error`: `{"$error": [NAME, MESSAGE, PROPERTIES, CAUSE]}`
 * - text that is not valid Unicode: `{"$utf16": BASE64}`
 * - other objects: their `toJSON()` where they have one, else their own enumerable properties
 *
 * Refused are functions, symbols, promises, cycles, objects of a class that show no property of their own, more than 64
 * levels and more than 200,000 values.
 *
 * @throws {UncomparableOutputError}
 */
export function toCanonicalTree(output: unknown): CanonicalTree {
  return new TreeBuilder().build(output);
}

/** The text that RFC 8785 (JSON Canonicalization Scheme) gives a tree. */
export function canonicalText(tree: CanonicalTree): string {
  return canonicalize(tree) ?? '';
}

/** The parts of a tree by the names that the output gave them; undefined for what has none. */
export function partsOf(tree: CanonicalTree): [string, CanonicalTree][] | undefined {
  if (tree === null || typeof tree !== 'object') return undefined;
  const entries = Object.entries(tree);
  if (entries.length === 0) return undefined;
  if (Array.isArray(tree)) return entries;
  if (entries.length === 1 && isTag(entries[0]?.[0])) return undefined;
  return entries.map(([name, part]) => [ownName(name), part]);
}

/**
 * A copy without what a path names; undefined when it names the whole. `*` names each item or property, unless there is
 * a property of that very name. An ignored item leaves its place behind, so that the indexes of the others stay.
 */
export function withoutPath(tree: CanonicalTree | undefined, path: readonly string[]): CanonicalTree | undefined {
  const [token, ...rest] = path;
  if (token === undefined || tree === undefined) return undefined;
  if (tree === null || typeof tree !== 'object' || partsOf(tree) === undefined) return tree;
  if (Array.isArray(tree)) {
    return tree.map((item, index) =>
      token === '*' || String(index) === token ? (withoutPath(item, rest) ?? null) : item,
    );
  }
  const name = treeName(token);
  const each = token === '*' && !Object.hasOwn(tree, name);
  const kept: Record<string, CanonicalTree> = {};
  for (const [one, part] of Object.entries(tree)) {
    const left = each || one === name ? withoutPath(part, rest) : part;
    if (left !== undefined) put(kept, one, left);
  }
  return kept;
}

class TreeBuilder {
  /** What is being built now, from the root down. */
  readonly #ancestors = new Set<object>();
  #values = 0;

  build(value: unknown): CanonicalTree {
    this.#values += 1;
    if (this.#values > MAX_VALUES) {
      throw new UncomparableOutputError(`The output holds more than ${MAX_VALUES.toLocaleString('en')} values.`);
    }
    switch (typeof value) {
      case 'string':
        return toUSVString(value) === value ? value : tag('$utf16', Buffer.from(value, 'utf16le').toString('base64'));
      case 'boolean':
        return value;
      case 'number':
        return Number.isFinite(value) ? value : tag('$number', String(value));
      case 'bigint':
        return tag('$bigint', value.toString());
      case 'undefined':
        return tag('$undefined', true);
      case 'object':
        return value === null ? null : this.#object(value);
      case 'function':
      case 'symbol':
        throw new UncomparableOutputError(`The output holds a ${typeof value}, which has no canonical form.`);
    }
  }

  #object(value: object): CanonicalTree {
    if (this.#ancestors.has(value)) throw new UncomparableOutputError('The output contains itself.');
    if (this.#ancestors.size >= MAX_DEPTH) {
      throw new UncomparableOutputError(`The output nests deeper than ${MAX_DEPTH} levels.`);
    }
    this.#ancestors.add(value);
    try {
      return this.#known(value) ?? this.#properties(value);
    } finally {
      this.#ancestors.delete(value);
    }
  }

  /** Of objects that have a form of their own. */
  #known(value: object): CanonicalTree | undefined {
    // Not `map`, which leaves holes where the array has some.
    if (Array.isArray(value)) return Array.from(value as unknown[], (item) => this.build(item));
    if (value instanceof Date) return tag('$date', Number.isNaN(value.getTime()) ? 'invalid' : value.toISOString());
    if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return bytesTag(value);
    if (value instanceof Map) {
      return tag('$map', inCanonicalOrder(Array.from(value, (entry) => entry.map((part) => this.build(part)))));
    }
    if (value instanceof Set) return tag('$set', inCanonicalOrder(Array.from(value, (item) => this.build(item))));
    if ('toJSON' in value && typeof value.toJSON === 'function') {
      return this.build((value.toJSON as () => unknown).call(value));
    }
    if (types.isBoxedPrimitive(value)) return this.build(value.valueOf());
    if (value instanceof RegExp) return tag('$regexp', this.build(String(value)));
    if (types.isNativeError(value)) {
      const { name, message, cause } = value;
      return tag('$error', [this.build(name), this.build(message), this.#ownProperties(value), this.build(cause)]);
    }
    if ('then' in value && typeof value.then === 'function') {
      throw new UncomparableOutputError('The output holds a promise: await it in `process`.');
    }
    return undefined;
  }

  #properties(value: object): CanonicalTree {
    const prototype: unknown = Object.getPrototypeOf(value);
    // Private fields, or something of the platform: taken for {} it would be equal to any other of its kind.
    const plain = prototype === null || Object.getPrototypeOf(prototype) === null;
    if (!plain && Object.keys(value).length === 0) {
      throw new UncomparableOutputError(
        `The output holds a ${className(value)} that shows no property: give it \`toJSON()\`, or use \`comparable\`.`,
      );
    }
    return this.#ownProperties(value);
  }

  #ownProperties(value: object): CanonicalTree {
    const tree: Record<string, CanonicalTree> = {};
    for (const [name, part] of Object.entries(value)) {
      if (part !== undefined) put(tree, treeName(name), this.build(part));
    }
    return tree;
  }
}

function isTag(name: string | undefined): boolean {
  return (TAGS as ReadonlySet<string | undefined>).has(name);
}

function tag(name: Tag, form: CanonicalTree): CanonicalTree {
  return { [name]: form };
}

function bytesTag(value: ArrayBufferView | ArrayBufferLike): CanonicalTree {
  const bytes = ArrayBuffer.isView(value)
    ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    : Buffer.from(value);
  const plain =
    !ArrayBuffer.isView(value) ||
    value instanceof Uint8Array ||
    value instanceof Uint8ClampedArray ||
    value instanceof DataView;
  const text = bytes.toString('base64');
  return plain ? tag('$bytes', text) : tag('$typed', [className(value), text]);
}

function className(value: object): string {
  return Object.prototype.toString.call(value) === '[object Object]'
    ? (value.constructor as { name?: string } | undefined)?.name || 'object'
    : Object.prototype.toString.call(value).slice('[object '.length, -1);
}

/** The name of a property in a tree. */
function treeName(name: string): string {
  if (toUSVString(name) !== name) return `${ILL_FORMED}${Buffer.from(name, 'utf16le').toString('base64')}`;
  return name.startsWith('$') ? `$${name}` : name;
}

/** The name that a property in a tree had in the output. */
function ownName(name: string): string {
  if (name.startsWith(ILL_FORMED)) return toUSVString(Buffer.from(name.slice(2), 'base64').toString('utf16le'));
  return name.startsWith('$$') ? name.slice(1) : name;
}

/** Sets a property, one named `__proto__` too. */
function put(tree: Record<string, CanonicalTree>, name: string, part: CanonicalTree): void {
  if (name !== '__proto__') tree[name] = part;
  else Object.defineProperty(tree, name, { value: part, enumerable: true, writable: true, configurable: true });
}

function inCanonicalOrder(items: CanonicalTree[]): CanonicalTree[] {
  return items
    .map((item) => ({ item, text: canonicalText(item) }))
    .sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0))
    .map(({ item }) => item);
}
