import type { GroupComparison } from '../activities/migration-activities.js';
import type { JoinedReports } from './comparison-parts.js';
import { counted } from './ramp-gates.js';

/** What became of the comparisons of a group with itself, cumulative over a measurement. JSON-safe. */
export interface GroupNoise {
  comparisons: number;
  /** Equal but for what its service ignores. */
  ignored: number;
  different: number;
  /** By JSON pointer: outputs that differ there. */
  fields: Record<string, number>;
  /** Outputs that differ without a field that could be named. */
  unnamed: number;
  /** Differences in fields beyond those that are counted apart. */
  more: number;
  /** Messages that the handler failed on on one side alone. */
  failed: number;
  /** Messages that one side alone handled, or in another order. */
  alone: number;
}

/** A measurement of what handlers do differently by themselves. JSON-safe. */
export interface Noise {
  /** How many were begun. */
  measurements: number;
  /** Where the log of observations ended before this one. */
  start: number[];
  /** What each part of the comparison handed over. */
  comparisons?: unknown[];
  /** Time in which every group was compared on both sides, and its last moment (Unix ms). */
  measuredMs: number;
  measuredUpTo: number;
  groups: Record<string, GroupNoise>;
  /** Why time does not count now, in words; empty while it does. */
  missing: string[];
}

export interface NoiseTarget {
  groups: string[];
  durationMs: number;
  minComparisons: number;
}

const FIELDS_TOLD = 20;

export function newNoise(measurements: number, start: number[]): Noise {
  return { measurements, start, measuredMs: 0, measuredUpTo: 0, groups: {}, missing: [] };
}

/** The measurement after a report. Figures are cumulative, so the last report says all. */
export function takeNoise(noise: Noise, report: JoinedReports, groups: readonly string[]): Noise {
  const measuredMs = Math.max(noise.measuredMs, report.watchedMs ?? 0);
  const stalled = groups.flatMap((name) => report.groups[name]?.stalled ?? [`Group ${name}: nothing was reported.`]);
  const missing = [...new Set(stalled)];
  if (missing.length === 0 && measuredMs === noise.measuredMs) {
    missing.push('No time since the last report in which every group was compared and moved on.');
  }
  const found = Object.entries(report.groups).map(([name, of]) => [name, groupNoise(of)] as const);
  return { ...noise, measuredMs, measuredUpTo: report.watchedUpTo, groups: Object.fromEntries(found), missing };
}

function groupNoise({ counts, differing }: GroupComparison): GroupNoise {
  const { matched, ignored, different, failedLive, failedShadow, missing, unexpected, reordered } = counts;
  const failed = failedLive + failedShadow;
  return {
    comparisons: matched + ignored + different + failed,
    ...{ ignored, different, failed, alone: missing + unexpected + reordered },
    ...(differing ?? { fields: {}, unnamed: 0, more: 0 }),
  };
}

/** What is still to come; an empty list when the measurement is done. */
export function noiseShortfalls(noise: Noise | undefined, target: NoiseTarget): string[] {
  const leftMs = target.durationMs - (noise?.measuredMs ?? 0);
  const time = leftMs > 0 ? [`${Math.ceil(leftMs / 1_000)} s of measured time`] : [];
  const comparisons = target.groups.flatMap((name) => {
    const left = target.minComparisons - (noise?.groups[name]?.comparisons ?? 0);
    return left > 0 ? [`${left} comparisons of group ${name}`] : [];
  });
  return [...time, ...comparisons];
}

/** Fields that differ, the most frequent first, with `*` where several indexes of one list do, and how often. */
export function noisyFields(fields: Readonly<Record<string, number>>): [string, number][] {
  const root = newPart();
  for (const [pointer, count] of Object.entries(fields)) {
    let part = root;
    for (const token of pointer.split('/').slice(1)) {
      const next = part.parts.get(token) ?? newPart();
      part.parts.set(token, next);
      part = next;
    }
    part.count = count;
  }
  return leavesOf(withoutIndexes(root), '').sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
}

/** What a service would have to ignore to be equal to itself. The output as a whole is no part to ignore. */
export function proposedIgnore({ fields }: GroupNoise): string[] {
  return noisyFields(fields).flatMap(([pointer]) => (pointer === '' ? [] : [pointer]));
}

/** What stands against a group, and what to do about it; undefined when it is equal to itself. */
export function noiseFinding(name: string, noise: GroupNoise): { cause: string; todo: string } | undefined {
  const { comparisons, different, unnamed, more, failed, alone } = noise;
  const causes: string[] = [];
  const todos: string[] = [];
  const of = (count: number): string => `${counted(count)} of ${counted(comparisons)}`;
  if (different > 0) {
    const fields = noisyFields(noise.fields);
    const told = fields.slice(0, FIELDS_TOLD).map(([pointer, count]) => {
      return `${pointer === '' ? 'the output as a whole' : pointer} (${of(count)})`;
    });
    if (fields.length > FIELDS_TOLD) told.push(`${fields.length - FIELDS_TOLD} more fields, see the status`);
    if (more > 0) told.push(`fields too many to be counted apart (${counted(more)} times)`);
    if (unnamed > 0) told.push(`outputs that have no field to name (${of(unnamed)})`);
    causes.push(`group ${name} differs from itself in ${told.join(', ')}`);
    const ignore = proposedIgnore(noise).slice(0, FIELDS_TOLD);
    const orIgnore =
      ignore.length === 0 ? 'give it `comparable`' : `add \`ignore: [${ignore.map(quoted).join(', ')}]\``;
    todos.push(
      `Make ${name} deterministic with the sources that \`process\` is given (clock, random, id), or ${orIgnore} to its DualConsumer, and restart it.`,
    );
  }
  if (failed > 0) {
    causes.push(`the handler of group ${name} failed on one side alone (${of(failed)}), so it fails by chance`);
    todos.push(
      `See the errors that ${name} reports: it needs more attempts (\`retry\`), or what it calls in \`process\` does.`,
    );
  }
  if (alone > 0) {
    causes.push(
      `of group ${name} one side alone handled ${counted(alone)} messages, though both read Kafka: that is not its handler`,
    );
    todos.push(
      `See what members of ${name} tell \`onError\`, and whether another consumer is in the Kafka group ${name}.shadow.`,
    );
  }
  return causes.length === 0 ? undefined : { cause: causes.join('; '), todo: todos.join(' ') };
}

/** A part of an output: how often it differs as such, and the parts of it that differ. */
interface Part {
  count: number;
  parts: Map<string, Part>;
}

function newPart(): Part {
  return { count: 0, parts: new Map() };
}

/** `*` in place of the indexes, where there are several. */
function withoutIndexes({ count, parts }: Part): Part {
  const children = itemsAsOne([...parts]);
  return { count, parts: new Map(children.map(([token, part]) => [token, withoutIndexes(part)])) };
}

function itemsAsOne(children: [string, Part][]): [string, Part][] {
  const items = children.filter(([token]) => /^(\d+|\*)$/.test(token));
  if (items.length < 2) return children;
  // "*" stands for what is left of a long list: nothing of its own where the others say what it is in them.
  const telling = items.some(([, { parts }]) => parts.size > 0);
  const joined = items
    .map(([token, part]) => (telling && token === '*' ? { ...part, count: 0 } : part))
    .reduce(join, newPart());
  return [...children.filter((child) => !items.includes(child)), ['*', joined]];
}

function join(one: Part, other: Part): Part {
  const parts = new Map(one.parts);
  for (const [token, part] of other.parts) parts.set(token, join(parts.get(token) ?? newPart(), part));
  // Of one output, or of as many: more of them is not known.
  return { count: Math.max(one.count, other.count), parts };
}

function leavesOf({ count, parts }: Part, pointer: string): [string, number][] {
  const own: [string, number][] = count > 0 ? [[pointer, count]] : [];
  return [...own, ...[...parts].flatMap(([token, part]) => leavesOf(part, `${pointer}/${token}`))];
}

function quoted(pointer: string): string {
  return pointer.includes("'") ? JSON.stringify(pointer) : `'${pointer}'`;
}
