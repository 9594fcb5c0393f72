import { canonicalText, partsOf, type CanonicalTree } from './canonical-output.js';
import { childPointer } from './json-pointer.js';

/** At most this many parts of an output are told apart. */
const MAX_FIELDS = 64;
/** Bound on what the pointers of them take as JSON, bytes. */
const MAX_POINTER_BYTES = 8_192;

export interface FieldDigests {
  /** Short digest of parts of the output by JSON pointer, in order of their names. */
  fields: Record<string, string>;
  /** True when some of them stand for more than one leaf. */
  truncated: boolean;
}

/**
 * Digests the leaves of an output, or where these are too many the parts that hold them, so that every difference is in
 * one of them. Goes down level by level: what is near the root is told apart first. Of a part with more items than are
 * left to tell apart, `POINTER/*` stands for the others.
 */
export function digestFields(tree: CanonicalTree, digest: (text: string) => string): FieldDigests {
  const found: [string, CanonicalTree][] = [];
  const open: { pointer: string; part: CanonicalTree }[] = [{ pointer: '', part: tree }];
  let count = 1;
  let bytes = 0;
  let truncated = false;
  // Grows while it is gone through.
  for (const { pointer, part } of open) {
    const parts = partsOf(part);
    if (parts === undefined) {
      found.push([pointer, part]);
      continue;
    }
    if (!Array.isArray(part)) parts.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    const room = MAX_FIELDS - count + 1;
    const whole = parts.length <= room;
    // One place is for what is left; a property of its name would not be told from it.
    const shown = whole ? parts : parts.some(([name]) => name === '*') ? [] : parts.slice(0, Math.max(0, room - 1));
    const rest = parts.slice(shown.length);
    const children = shown.map(([name, child]) => ({ pointer: childPointer(pointer, name), part: child }));
    const added = children.reduce((sum, child) => sum + jsonBytes(child.pointer), 0) + jsonBytes(`${pointer}/*`);
    if (children.length === 0 || bytes + added > MAX_POINTER_BYTES) {
      truncated = true;
      found.push([pointer, part]);
      continue;
    }
    bytes += added;
    count += children.length - (whole ? 1 : 0);
    open.push(...children);
    if (rest.length > 0) {
      truncated = true;
      found.push([`${pointer}/*`, rest.flatMap(([name, child]): CanonicalTree[] => [name, child])]);
    }
  }
  found.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const fields: Record<string, string> = {};
  for (const [pointer, part] of found) fields[pointer] = digest(canonicalText(part));
  return { fields, truncated };
}

/**
 * Field digests as one text, `POINTER DIGEST POINTER DIGEST …`, spaces of pointers written as `~2`: a comparison that has
 * to read many observations takes apart only those that differ.
 */
export function packFields(fields: Readonly<Record<string, string>>): string {
  return Object.entries(fields)
    .flatMap(([pointer, digest]) => [pointer.replaceAll(' ', '~2'), digest])
    .join(' ');
}

/** What `packFields` packed. */
export function unpackFields(packed: string): Record<string, string> {
  const words = packed === '' ? [] : packed.split(' ');
  const fields: Record<string, string> = {};
  for (let at = 0; at < words.length; at += 2) {
    fields[(words[at] ?? '').replaceAll('~2', ' ')] = words[at + 1] ?? '';
  }
  return fields;
}

/**
 * Pointers of what differs between two outputs. Where one side names a part as a whole that the other names by its
 * parts, the whole is told.
 */
export function differingFields(live: Record<string, string>, shadow: Record<string, string>): string[] {
  const pointers = [...new Set([...Object.keys(live), ...Object.keys(shadow)])].sort();
  const differing = pointers.filter((pointer) => live[pointer] !== shadow[pointer]);
  const wholes = new Set(differing);
  return differing.filter((pointer) => {
    for (let end = pointer.lastIndexOf('/'); end >= 0; end = pointer.lastIndexOf('/', end - 1)) {
      if (wholes.has(pointer.slice(0, end))) return false;
      if (end === 0) break;
    }
    return true;
  });
}

function jsonBytes(pointer: string): number {
  return Buffer.byteLength(JSON.stringify(pointer)) + 1;
}
