import type { DifferingFields, Span, WatchedSpans } from '@owlmq/kafka-bridge/operations';
import type {
  ComparedSoFar,
  GroupComparison,
  SoakComparison,
  VerdictCounts,
} from '../activities/migration-activities.js';

/** Fields of a group that are counted apart, as in each part. */
const MAX_FIELDS = 100;

/**
 * Shares the partitions of the observations topic between the activities of a comparison. With one activity there is one
 * part, undefined, which is all of them.
 */
export function comparisonParts(partitions: number, parallelism: number): (number[] | undefined)[] {
  const parts = Math.min(parallelism, partitions);
  if (parts <= 1) return [undefined];
  return Array.from({ length: parts }, (_, part) =>
    Array.from({ length: partitions }, (_, partition) => partition).filter((partition) => partition % parts === part),
  );
}

export interface JoinedReports extends ComparedSoFar {
  /** End (Unix ms) of the last moment that was watched. */
  watchedUpTo: number;
}

export interface JoinOptions {
  groups: readonly string[];
  /** How long a group may go without a comparison in any part, ms. */
  quietMs: number;
  /** What was watched up to then (Unix ms) was counted before: `watchedMs`. */
  watchedFrom: number;
  watchedMs: number;
  /** Unix ms: a worker whose clock is ahead has watched nothing beyond it. */
  now: number;
}

/**
 * What the parts of a comparison say together. Counts add up. A moment was watched when all parts were alive in it, and
 * each group was compared within the quiet time around it in any part: a part of little traffic makes none silent.
 */
export function joinReports(reports: readonly SoakComparison[], options: JoinOptions): JoinedReports {
  const lost = reports.find((report) => report.lost !== undefined)?.lost;
  const joined = {
    groups: Object.fromEntries(options.groups.flatMap((name) => joinedGroup(name, reports, options.quietMs))),
    samples: reports.flatMap(({ samples }) => samples).sort((a, b) => (a.time ?? 0) - (b.time ?? 0)),
    ...(lost === undefined ? {} : { lost }),
    watchedUpTo: options.watchedFrom,
  };
  const parts = reports.flatMap(({ watched }) => (watched === undefined ? [] : [watched]));
  if (parts.length < reports.length) {
    // Of an earlier version, which counted by itself.
    const watchedMs = reports[0]?.watchedMs;
    return watchedMs === undefined ? joined : { ...joined, watchedMs };
  }
  const spans = watchedTogether(parts, options).flatMap(([since, until]): Span[] =>
    since < options.now ? [[since, Math.min(until, options.now)]] : [],
  );
  const newMs = spans.reduce(
    (sum, [since, until]) => sum + Math.max(0, until - Math.max(since, options.watchedFrom)),
    0,
  );
  return {
    ...joined,
    watchedMs: options.watchedMs + newMs,
    watchedUpTo: Math.max(options.watchedFrom, spans.at(-1)?.[1] ?? 0),
  };
}

/** When all parts and all groups were watched, in order. */
export function watchedTogether(
  parts: readonly WatchedSpans[],
  { groups, quietMs }: Pick<JoinOptions, 'groups' | 'quietMs'>,
): Span[] {
  // A part of the log that no partition of any group falls into has nothing to see; one that never looked may have.
  const own = parts.filter(({ lookedAt, compared }) => lookedAt === 0 || Object.keys(compared).length > 0);
  if (own.length === 0) return [];
  const needed = [
    ...own.map(({ alive }) => linked(alive, 0)),
    ...groups.map((name) => linked(comparedIn(own, name), quietMs)),
  ];
  return needed.reduce(intersection);
}

function joinedGroup(name: string, reports: readonly SoakComparison[], quietMs: number): [string, GroupComparison][] {
  const found = reports.flatMap(({ groups, watched }) => {
    const group = groups[name];
    return group === undefined
      ? []
      : [{ group, inPart: watched === undefined || watched.compared[name] !== undefined }];
  });
  const [first] = found;
  if (first === undefined) return [];
  const times = found.filter(({ inPart }) => inPart).map(({ group }) => group.comparedUpTo);
  const known = times.filter((time) => time !== null);
  const stalled = [...new Set(found.flatMap(({ group }) => group.stalled))];
  const parts = reports.flatMap(({ watched }) => (watched === undefined ? [] : [watched]));
  const differing = found.flatMap(({ group }) => group.differing ?? []);
  return [
    [
      name,
      {
        ...(differing.length === 0 ? {} : { differing: differing.reduce(addFields) }),
        counts: found.map(({ group }) => group.counts).reduce(addCounts),
        comparedUpTo: known.length === times.length && known.length > 0 ? Math.min(...known) : null,
        stalled: stalled.length > 0 ? stalled : silence(name, parts, quietMs),
      },
    ],
  ];
}

function silence(name: string, parts: readonly WatchedSpans[], quietMs: number): string[] {
  if (parts.length === 0) return [];
  const compared = comparedIn(parts, name);
  if (compared.length === 0) return [`Group ${name}: nothing was compared yet.`];
  const last = Math.max(...compared.map(([, until]) => until));
  const quiet = Math.max(...parts.map(({ lookedAt }) => lookedAt)) - last;
  return quiet > quietMs ? [`Group ${name}: nothing was compared for ${Math.round(quiet / 1_000)} s.`] : [];
}

function comparedIn(parts: readonly WatchedSpans[], name: string): Span[] {
  return parts.flatMap(({ compared }) => compared[name] ?? []);
}

function addCounts(one: VerdictCounts, other: VerdictCounts): VerdictCounts {
  const names = Object.keys({ ...one, ...other }) as (keyof VerdictCounts)[];
  return Object.fromEntries(
    names.map((name) => [name, (one[name] ?? 0) + (other[name] ?? 0)]),
  ) as unknown as VerdictCounts;
}

function addFields(one: DifferingFields, other: DifferingFields): DifferingFields {
  const sums = { ...one.fields };
  for (const [pointer, count] of Object.entries(other.fields)) sums[pointer] = (sums[pointer] ?? 0) + count;
  const all = Object.entries(sums).sort(([, a], [, b]) => b - a);
  const left = all.slice(MAX_FIELDS).reduce((sum, [, count]) => sum + count, 0);
  const fields = Object.fromEntries(all.slice(0, MAX_FIELDS));
  return { fields, unnamed: one.unnamed + other.unnamed, more: one.more + other.more + left };
}

/** In order, with those put together that are at most so far apart. */
function linked(spans: readonly Span[], apartMs: number): Span[] {
  const found: Span[] = [];
  for (const [since, until] of [...spans].sort(([a], [b]) => a - b)) {
    const last = found.at(-1);
    if (last !== undefined && since - last[1] <= apartMs) last[1] = Math.max(last[1], until);
    else found.push([since, until]);
  }
  return found.filter(([since, until]) => since < until);
}

/** Of two lists in order. */
function intersection(some: readonly Span[], others: readonly Span[]): Span[] {
  const found: Span[] = [];
  for (let [a, b] = [0, 0]; a < some.length && b < others.length;) {
    const [one, other] = [some[a], others[b]];
    if (one === undefined || other === undefined) break;
    const [since, until] = [Math.max(one[0], other[0]), Math.min(one[1], other[1])];
    if (since < until) found.push([since, until]);
    if (one[1] <= other[1]) a += 1;
    else b += 1;
  }
  return found;
}
