import { z } from 'zod';

/** A stretch of time, both ends Unix ms. */
const span = z.tuple([z.number(), z.number()]);
export type Span = z.infer<typeof span>;

const sideSchema = z.object({
  /** Highest message time (ms) that living members reported in every partition; absent before the first. */
  reportedUpTo: z.number().optional(),
  /** The last look before that moved; null when it did not move since the side was found dead. */
  movedAfter: z.number().nullable(),
});
type SideWatch = z.infer<typeof sideSchema>;

const groupSchema = z.object({
  /** Highest message time (ms) up to which both sides were compared. */
  upTo: z.number(),
  /** Each for itself: a side that catches up would cover for one that is dead ahead of it. */
  live: sideSchema,
  shadow: sideSchema,
  /** Pairs compared, cumulative. */
  comparisons: z.number(),
  /**
   * Stretches in which something was compared again and again, no pause longer than the limit: each from the look that
   * saw the first comparison to the look before the last one, which is the earlier of both where there was but one.
   */
  compared: z.array(span),
});

/** When a part of the comparison was at work, and what is needed to go on counting. JSON-safe. */
export const watchedTimeSchema = z.object({
  /** When somebody looked last, Unix ms: before anything was read. */
  lookedAt: z.number(),
  groups: z.record(z.string(), groupSchema),
  /** Stretches that have ended in which every group was compared on both sides in every partition. */
  spans: z.array(span),
  /** The stretch under way: where it began, and how far each group was compared then. */
  stretch: z.object({ since: z.number(), from: z.record(z.string(), z.number()) }).optional(),
});
export type WatchedTime = z.infer<typeof watchedTimeSchema>;

/**
 * When a part of the comparison was at work: what the parts of a comparison are joined by. Time counts while all parts
 * were alive and each group was compared in any of them. JSON-safe.
 */
export interface WatchedSpans {
  /** When somebody looked last, Unix ms. */
  lookedAt: number;
  /** Stretches in which every group was compared on both sides in every partition of the part, and all was judged. */
  alive: Span[];
  /**
   * By group, of those that have partitions in the part: stretches in which something was compared again and again. A
   * single comparison is a stretch that ends before it begins: no time by itself, but a link between others.
   */
  compared: Record<string, Span[]>;
}

/** What a look at the comparison found. */
export interface Look {
  /** Before anything was read, Unix ms, on the clock of whoever looks: what the next look sees moved after it. */
  from: number;
  /** When all was read and judged. */
  at: number;
  groups: Readonly<Record<string, GroupLook>>;
}

export interface GroupLook {
  /** Message time that living members report in every partition, by side: undefined where they do not. */
  reportedUpTo: { live: number | undefined; shadow: number | undefined };
  /** Message time up to which both sides were compared; undefined where the comparison is behind. */
  comparedUpTo: number | undefined;
  /** Pairs compared so far, cumulative. */
  comparisons: number;
}

export interface WatchLimits {
  /** A side whose reported time has not moved for longer is dead, ms. A comparison that is behind makes none dead. */
  standstillMs: number;
  /** A group without a comparison for longer is silent, ms. */
  quietMs: number;
}

/** Past it the oldest stretches are forgotten, as if nobody had watched. */
const MAX_SPANS = 200;

export function noWatchedTime(): WatchedTime {
  return { lookedAt: 0, groups: {}, spans: [] };
}

/** @param unjudgedMs how much of the end is not judged yet, and so does not count. */
export function watchedSpans(watched: WatchedTime, unjudgedMs = 0): WatchedSpans {
  const { lookedAt, groups } = watched;
  const alive = [...endStretch(watched).spans];
  for (let left = unjudgedMs; left > 0 && alive.length > 0;) {
    const [since, until] = alive.pop() ?? [0, 0];
    if (until - since > left) alive.push([since, until - left]);
    left -= until - since;
  }
  const compared = Object.entries(groups).map(([name, group]) => [name, group.compared] as const);
  return { lookedAt, alive, compared: Object.fromEntries(compared) };
}

/**
 * The count after a look. A moment is watched once every group was seen to move on after it, within a stretch in which
 * no group stood still or was dead for longer than the limit. So what is found to be dead is not counted from its last
 * sign of life on, and looks that were made twice, too late or by somebody else add nothing of their own.
 */
export function watch(watched: WatchedTime, look: Look, limits: WatchLimits): WatchedTime {
  // The clock went back, as with another worker: this look only says where things stand.
  if (look.from < watched.lookedAt) return begunAnew(watched, look);
  const kept = lives(watched, look, limits) ? watched : endStretch(watched);
  // What a look says nothing of is not forgotten: it counts as dead.
  const groups: WatchedTime['groups'] = { ...kept.groups };
  for (const [name, now] of Object.entries(look.groups)) {
    groups[name] = moved(watched, kept.groups[name], now, look.at, limits);
  }
  const next: WatchedTime = { ...kept, lookedAt: look.from, groups };
  if (next.stretch !== undefined || isBehind(look, limits) || !lives(next, look, limits)) return next;
  const from = Object.fromEntries(Object.entries(groups).map(([name, { upTo }]) => [name, upTo]));
  return { ...next, stretch: { since: look.at, from } };
}

/** Ends the stretch under way: what comes next is counted anew from signs of life after it. */
export function interruptWatch(watched: WatchedTime): WatchedTime {
  const ended = endStretch(watched);
  const forgotten = Object.entries(ended.groups).map(([name, group]) => {
    const [live, shadow] = [stands(group.live, undefined), stands(group.shadow, undefined)];
    return [name, { ...group, live, shadow }] as const;
  });
  return { ...ended, groups: Object.fromEntries(forgotten) };
}

/** Forgets what ended before a moment (Unix ms), but for the last of it. */
export function forgetBefore(watched: WatchedTime, time: number): WatchedTime {
  const later = (spans: readonly Span[]): Span[] => spans.filter(([, until]) => until > time);
  const groups = Object.entries(watched.groups).map(([name, group]) => {
    const compared = later(group.compared);
    return [name, { ...group, compared: compared.length > 0 ? compared : group.compared.slice(-1) }] as const;
  });
  return { ...watched, spans: later(watched.spans), groups: Object.fromEntries(groups) };
}

function begunAnew(watched: WatchedTime, look: Look): WatchedTime {
  // What lies ahead of this clock would cover for what it has not seen yet.
  const passed = (spans: readonly Span[]): Span[] =>
    spans.flatMap(([since, until]): Span[] => (since <= look.at ? [[since, Math.min(until, look.at)]] : []));
  const groups = Object.keys({ ...watched.groups, ...look.groups }).map((name) => {
    const before = watched.groups[name];
    const now = look.groups[name];
    return [
      name,
      {
        upTo: Math.max(now?.comparedUpTo ?? 0, before?.upTo ?? 0),
        live: stands(before?.live, now?.reportedUpTo.live),
        shadow: stands(before?.shadow, now?.reportedUpTo.shadow),
        comparisons: Math.max(now?.comparisons ?? 0, before?.comparisons ?? 0),
        compared: passed(before?.compared ?? []),
      },
    ] as const;
  });
  const { spans } = endStretch(watched);
  return { lookedAt: look.from, spans: passed(spans), groups: Object.fromEntries(groups) };
}

/** Whether the comparison has not come about as far as members report: a stretch would count what it has yet to compare. */
function isBehind({ groups }: Look, { standstillMs }: WatchLimits): boolean {
  return Object.values(groups).some(({ reportedUpTo: { live = 0, shadow = 0 }, comparedUpTo }) => {
    return comparedUpTo === undefined || Math.min(live, shadow) - comparedUpTo > standstillMs;
  });
}

/** Whether every side of every group has shown its last sign of life within the limits. */
function lives(watched: WatchedTime, { at, groups }: Look, { standstillMs }: WatchLimits): boolean {
  const names = Object.keys({ ...watched.groups, ...groups });
  return (
    names.length > 0 &&
    names.every((name) => {
      const { live, shadow } = groups[name]?.reportedUpTo ?? {};
      const movedAfter = lastSignOfLife(watched.groups[name]);
      return live !== undefined && shadow !== undefined && movedAfter !== null && at - movedAfter <= standstillMs;
    })
  );
}

/** Of the side that gave it first; null when one gave none. */
function lastSignOfLife(group: WatchedTime['groups'][string] | undefined): number | null {
  if (group === undefined || group.live.movedAfter === null || group.shadow.movedAfter === null) return null;
  return Math.min(group.live.movedAfter, group.shadow.movedAfter);
}

function moved(
  { lookedAt }: WatchedTime,
  before: WatchedTime['groups'][string] | undefined,
  { reportedUpTo, comparedUpTo, comparisons }: GroupLook,
  at: number,
  { quietMs }: WatchLimits,
): WatchedTime['groups'][string] {
  // The first look says where a group stands, and nothing of what came before.
  const compared = before?.compared ?? [];
  const again = before !== undefined && comparisons > before.comparisons;
  return {
    upTo: Math.max(comparedUpTo ?? 0, before?.upTo ?? 0),
    live: sideMoved(before?.live, reportedUpTo.live, lookedAt),
    shadow: sideMoved(before?.shadow, reportedUpTo.shadow, lookedAt),
    comparisons: Math.max(comparisons, before?.comparisons ?? 0),
    compared: again ? comparedAgain(compared, lookedAt, at, quietMs) : compared,
  };
}

function sideMoved(before: SideWatch | undefined, reportedUpTo: number | undefined, lookedAt: number): SideWatch {
  const side = stands(before, reportedUpTo);
  if (before?.reportedUpTo === undefined || reportedUpTo === undefined) return side;
  return { ...side, movedAfter: reportedUpTo > before.reportedUpTo ? lookedAt : before.movedAfter };
}

/** Where a side is, without a sign of life. */
function stands(before: SideWatch | undefined, reportedUpTo: number | undefined): SideWatch {
  if (reportedUpTo === undefined) return { ...before, movedAfter: null };
  return { reportedUpTo: Math.max(reportedUpTo, before?.reportedUpTo ?? 0), movedAfter: null };
}

/** Something was compared between two looks. */
function comparedAgain(compared: readonly Span[], after: number, before: number, quietMs: number): Span[] {
  const last = compared.at(-1);
  if (last === undefined || before - last[1] > quietMs) return [...compared, [before, after] as Span].slice(-MAX_SPANS);
  return [...compared.slice(0, -1), [last[0], Math.max(last[1], after)]];
}

/** The stretch counts up to the last sign of life of every group, and at most as far as the compared time came. */
function endStretch(watched: WatchedTime): WatchedTime {
  const { stretch, ...rest } = watched;
  if (stretch === undefined) return watched;
  const { since, from } = stretch;
  const lengths = Object.entries(watched.groups).map(([name, group]) =>
    Math.min((lastSignOfLife(group) ?? 0) - since, group.upTo - (from[name] ?? group.upTo)),
  );
  const length = Math.min(...lengths);
  return length > 0 ? { ...rest, spans: [...rest.spans, [since, since + length] as Span].slice(-MAX_SPANS) } : rest;
}
