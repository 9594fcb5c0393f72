import { z } from 'zod';

/** A stretch of time, both ends Unix ms. */
const span = z.tuple([z.number(), z.number()]);
export type Span = z.infer<typeof span>;

const groupSchema = z.object({
  /** Highest message time (ms) up to which both sides were compared. */
  upTo: z.number(),
  /** The last look before that moved; null when it did not move since the group was found dead. */
  movedAfter: z.number().nullable(),
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
  /** When somebody looked last, Unix ms. */
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
  /** Unix ms, on the clock of whoever looks. */
  at: number;
  groups: Readonly<Record<string, GroupLook>>;
}

export interface GroupLook {
  /** Whether living members report both sides in every partition. */
  alive: boolean;
  /** Message time up to which both sides were compared; undefined where that is not known at this look. */
  comparedUpTo: number | undefined;
  /** Pairs compared so far, cumulative. */
  comparisons: number;
}

export interface WatchLimits {
  /** A group whose compared time has not moved for longer is dead, ms. */
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
  if (look.at < watched.lookedAt) return begunAnew(watched, look);
  const kept = lives(watched, look, limits) ? watched : endStretch(watched);
  // What a look says nothing of is not forgotten: it counts as dead.
  const groups: WatchedTime['groups'] = { ...kept.groups };
  for (const [name, now] of Object.entries(look.groups)) {
    groups[name] = moved(watched, kept.groups[name], now, look.at, limits);
  }
  const next: WatchedTime = { ...kept, lookedAt: look.at, groups };
  if (next.stretch !== undefined || !lives(next, look, limits)) return next;
  const from = Object.fromEntries(Object.entries(groups).map(([name, { upTo }]) => [name, upTo]));
  return { ...next, stretch: { since: look.at, from } };
}

/** Ends the stretch under way: what comes next is counted anew from signs of life after it. */
export function interruptWatch(watched: WatchedTime): WatchedTime {
  const ended = endStretch(watched);
  const forgotten = Object.entries(ended.groups).map(([name, group]) => [name, { ...group, movedAfter: null }]);
  return { ...ended, groups: Object.fromEntries(forgotten) as WatchedTime['groups'] };
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
        movedAfter: null,
        comparisons: Math.max(now?.comparisons ?? 0, before?.comparisons ?? 0),
        compared: passed(before?.compared ?? []),
      },
    ] as const;
  });
  const { spans } = endStretch(watched);
  return { lookedAt: look.at, spans: passed(spans), groups: Object.fromEntries(groups) };
}

/** Whether every group of a look has shown its last sign of life within the limits. */
function lives(watched: WatchedTime, { at, groups }: Look, { standstillMs }: WatchLimits): boolean {
  const names = Object.keys({ ...watched.groups, ...groups });
  return (
    names.length > 0 &&
    names.every((name) => {
      const { movedAfter = null } = watched.groups[name] ?? {};
      return groups[name]?.alive === true && movedAfter !== null && at - movedAfter <= standstillMs;
    })
  );
}

function moved(
  { lookedAt }: WatchedTime,
  before: WatchedTime['groups'][string] | undefined,
  { alive, comparedUpTo, comparisons }: GroupLook,
  at: number,
  { quietMs }: WatchLimits,
): WatchedTime['groups'][string] {
  // The first look says where a group stands, and nothing of what came before.
  if (before === undefined) return { upTo: comparedUpTo ?? 0, movedAfter: null, comparisons, compared: [] };
  const moves = comparedUpTo !== undefined && comparedUpTo > before.upTo;
  return {
    upTo: moves ? comparedUpTo : before.upTo,
    movedAfter: !alive ? null : moves ? lookedAt : before.movedAfter,
    comparisons: Math.max(comparisons, before.comparisons),
    compared:
      comparisons > before.comparisons ? comparedAgain(before.compared, lookedAt, at, quietMs) : before.compared,
  };
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
  const lengths = Object.entries(watched.groups).map(([name, { upTo, movedAfter }]) =>
    Math.min((movedAfter ?? 0) - since, upTo - (from[name] ?? upTo)),
  );
  const length = Math.min(...lengths);
  return length > 0 ? { ...rest, spans: [...rest.spans, [since, since + length] as Span].slice(-MAX_SPANS) } : rest;
}
