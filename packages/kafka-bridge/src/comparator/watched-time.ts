import { z } from 'zod';

const groupSchema = z.object({
  /** Highest message time (ms) up to which both sides were compared. */
  upTo: z.number(),
  /** The last look before that moved; null when it did not move since the group was found dead. */
  movedAfter: z.number().nullable(),
  /** Pairs compared, cumulative. */
  comparisons: z.number(),
  /** The last look before these rose. */
  comparedAfter: z.number().nullable(),
});

/** Time in which every group was compared on both sides, cumulative, and what is needed to go on counting. JSON-safe. */
export const watchedTimeSchema = z.object({
  /** Of stretches that have ended, ms. */
  ms: z.number(),
  /** When somebody looked last, Unix ms. */
  lookedAt: z.number(),
  groups: z.record(z.string(), groupSchema),
  /** The stretch under way: where it began, and how far each group was compared then. */
  stretch: z.object({ since: z.number(), from: z.record(z.string(), z.number()) }).optional(),
});
export type WatchedTime = z.infer<typeof watchedTimeSchema>;

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

export function noWatchedTime(): WatchedTime {
  return { ms: 0, lookedAt: 0, groups: {} };
}

/** Time counted so far, ms. */
export function watchedMs(watched: WatchedTime): number {
  return watched.ms + stretchMs(watched);
}

/**
 * The count after a look. A moment counts once every group was seen to move on, and to compare, after it; and only
 * within a stretch in which no group stood still, was silent or was dead for longer than the limits. So what is found
 * to be dead is not counted from its last sign of life on, and looks that were made twice, too late or by somebody else
 * add nothing of their own.
 */
export function watch(watched: WatchedTime, look: Look, limits: WatchLimits): WatchedTime {
  // The clock went back, as with another worker: this look only says where things stand.
  if (look.at < watched.lookedAt) return begunAnew(watched, look);
  const kept = lives(watched, look, limits) ? watched : endStretch(watched);
  const groups: WatchedTime['groups'] = {};
  for (const [name, now] of Object.entries(look.groups)) groups[name] = moved(watched, kept.groups[name], now);
  const next: WatchedTime = { ...kept, lookedAt: look.at, groups };
  if (next.stretch !== undefined || !lives(next, look, limits)) return next;
  const from = Object.fromEntries(Object.entries(groups).map(([name, { upTo }]) => [name, upTo]));
  return { ...next, stretch: { since: look.at, from } };
}

/** Ends the stretch under way: what comes next is counted anew from signs of life after it. */
export function interruptWatch(watched: WatchedTime): WatchedTime {
  const ended = endStretch(watched);
  const forgotten = Object.entries(ended.groups).map(([name, group]) => [
    name,
    { ...group, movedAfter: null, comparedAfter: null },
  ]);
  return { ...ended, groups: Object.fromEntries(forgotten) as WatchedTime['groups'] };
}

function begunAnew(watched: WatchedTime, look: Look): WatchedTime {
  const groups = Object.entries(look.groups).map(([name, { comparedUpTo, comparisons }]) => {
    const before = watched.groups[name];
    return [
      name,
      {
        upTo: Math.max(comparedUpTo ?? 0, before?.upTo ?? 0),
        movedAfter: null,
        comparisons: Math.max(comparisons, before?.comparisons ?? 0),
        comparedAfter: null,
      },
    ] as const;
  });
  return { ...endStretch(watched), lookedAt: look.at, groups: Object.fromEntries(groups) };
}

/** Whether a group has had no comparison for too long, as far as the looks go. */
export function isSilent(watched: WatchedTime, group: string, { quietMs }: WatchLimits): boolean {
  const comparedAfter = watched.groups[group]?.comparedAfter ?? watched.lookedAt;
  return watched.lookedAt - comparedAfter > quietMs;
}

/** Whether every group of a look has shown its last sign of life within the limits. */
function lives(watched: WatchedTime, { at, groups }: Look, { standstillMs, quietMs }: WatchLimits): boolean {
  const names = Object.keys(groups);
  return (
    names.length > 0 &&
    names.every((name) => {
      const { movedAfter = null, comparedAfter = null } = watched.groups[name] ?? {};
      return (
        groups[name]?.alive === true &&
        movedAfter !== null &&
        comparedAfter !== null &&
        at - movedAfter <= standstillMs &&
        at - comparedAfter <= quietMs
      );
    })
  );
}

function moved(
  { lookedAt }: WatchedTime,
  before: WatchedTime['groups'][string] | undefined,
  { alive, comparedUpTo, comparisons }: GroupLook,
): WatchedTime['groups'][string] {
  // The first look says where a group stands, and nothing of what came before.
  if (before === undefined) {
    return { upTo: comparedUpTo ?? 0, movedAfter: null, comparisons, comparedAfter: null };
  }
  const moves = comparedUpTo !== undefined && comparedUpTo > before.upTo;
  return {
    upTo: moves ? comparedUpTo : before.upTo,
    movedAfter: !alive ? null : moves ? lookedAt : before.movedAfter,
    comparisons: Math.max(comparisons, before.comparisons),
    comparedAfter: comparisons > before.comparisons ? lookedAt : before.comparedAfter,
  };
}

function endStretch(watched: WatchedTime): WatchedTime {
  const { stretch: _, ...rest } = watched;
  return { ...rest, ms: watchedMs(watched) };
}

/** Up to the last sign of life of every group, and at most as far as the compared time came. */
function stretchMs({ stretch, groups }: WatchedTime): number {
  if (stretch === undefined) return 0;
  const times = Object.entries(groups).map(([name, { upTo, movedAfter, comparedAfter }]) =>
    Math.min(
      (movedAfter ?? 0) - stretch.since,
      (comparedAfter ?? 0) - stretch.since,
      upTo - (stretch.from[name] ?? upTo),
    ),
  );
  return Math.max(0, Math.min(...times));
}
