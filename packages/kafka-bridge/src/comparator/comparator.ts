import { z } from 'zod';
import { differingFields } from '../consumer/field-digests.js';
import type { Observation, ObservingSide } from '../consumer/observation.js';

/** Verdicts, counted apart; each pair of observations has one, but for `reordered` and `duplicates`, which add to it. */
const countsSchema = z.object({
  /** Both sides did the same. */
  matched: z.number(),
  /** Equal but for parts that the service told to ignore. */
  ignored: z.number(),
  different: z.number(),
  /** The live side handled it, the shadow never did. */
  missing: z.number(),
  /** The shadow handled it, the live side never did. */
  unexpected: z.number(),
  /** The handler failed on the live side alone. */
  failedLive: z.number(),
  /** The handler failed on the shadow alone. */
  failedShadow: z.number(),
  /** Messages that the shadow saw behind a later message of their key. */
  reordered: z.number(),
  /** Observations of what the side had observed before: redeliveries. No verdict. */
  duplicates: z.number(),
});
export type ComparisonCounts = z.infer<typeof countsSchema>;

const sampleSchema = z.object({
  verdict: z.enum(['different', 'missing', 'unexpected', 'failedLive', 'failedShadow', 'reordered']),
  topic: z.string(),
  partition: z.number(),
  id: z.string(),
  kafka: z.number(),
  owlmq: z.number().optional(),
  /** JSON pointers of what differs; empty when the difference is beyond the fields that are told apart. */
  fields: z.array(z.string()).optional(),
  /** Class of the error, for failures. */
  error: z.string().optional(),
});
/** A discrepancy that a person can look up: where it is, never what it holds. */
export type DiscrepancySample = z.infer<typeof sampleSchema>;

const offset = z.number().int().nonnegative();

/** All that is needed to go on after a crash, next to the observations topic itself. JSON-safe. */
export const comparisonCheckpointSchema = z.object({
  version: z.literal(1),
  /** By partition of the observations topic: where to read on, and ranges (inclusive) of what is still unmatched. */
  logs: z.record(z.string(), z.object({ next: offset, unmatched: z.array(z.tuple([offset, offset])) })),
  groups: z.record(
    z.string(),
    z.object({
      counts: countsSchema,
      samples: z.array(sampleSchema),
      /** Highest offset observed, by `SIDE TOPIC/PARTITION`. */
      seen: z.record(z.string(), z.number()),
    }),
  ),
  overflow: z.boolean(),
  /** Observations that retention took before they were compared. */
  expired: z.number(),
});
export type ComparisonCheckpoint = z.infer<typeof comparisonCheckpointSchema>;

/** Watermark (message time, ms) of a side of a group in a partition; undefined while nobody reports one. */
export type WatermarkLookup = (
  group: string,
  side: ObservingSide,
  topic: string,
  partition: number,
) => number | undefined;

export interface JoinerOptions {
  groups: readonly string[];
  /** How far the other side's watermark must be past an unmatched message before it is judged, ms. */
  latenessMs: number;
  /** Kafka offsets, `from[topic][partition]`, before which observations are not counted. */
  from?: Readonly<Record<string, readonly number[]>>;
  /**
   * Without a checkpoint: offsets of the observations topic, by its partition, to begin at. Those taken before the first
   * member was told to observe leave nothing out; without them the whole topic is read, of all migrations.
   */
  start?: readonly number[];
  /**
   * Bound on unmatched observations (default 20,000, which keeps a checkpoint below 1 MB); past it the comparison says
   * `overflow` and judges no more.
   */
  maxUnmatched?: number;
  /**
   * Reordering is found between observations at most this far apart in the log, so that memory is bounded (default
   * 10,000).
   */
  reorderWindow?: number;
}

interface Unmatched {
  observation: Observation;
  logPartition: number;
  logOffset: number;
}

interface Group {
  counts: ComparisonCounts;
  samples: DiscrepancySample[];
  seen: Map<string, number>;
  /** By side, then by topic and message id. */
  unmatched: Record<ObservingSide, Map<string, Unmatched>>;
}

interface Log {
  next: number;
  /** Where to read from when starting. */
  readonly from: number;
  /** Unmatched offsets of a checkpoint that were not read again yet: only these are kept of what is read again. */
  kept: Set<number>;
  /** Last shadow observation of each message key, in order of the log. */
  lastOfKey: Map<string, { logOffset: number; own: number; kafka: number }>;
}

const DEFAULT_MAX_UNMATCHED = 20_000;
const MAX_SAMPLES = 20;
const DEFAULT_REORDER_WINDOW = 10_000;

/**
 * Joins the observations of both sides. Pure: what it says depends on the log, in order, and the watermarks given to
 * `judge`; with a checkpoint, on nothing else. Each side's observations of a partition come in the order of its
 * offsets, so that one at or below the highest seen is a redelivery: no memory of ids is needed to know it.
 */
export class ObservationJoiner {
  readonly #options: JoinerOptions;
  readonly #groups = new Map<string, Group>();
  readonly #logs = new Map<number, Log>();
  #overflow = false;
  #expired = 0;

  constructor(options: JoinerOptions, checkpoint?: ComparisonCheckpoint) {
    this.#options = options;
    for (const name of options.groups) {
      const saved = checkpoint?.groups[name];
      this.#groups.set(name, {
        counts: saved === undefined ? noCounts() : { ...saved.counts },
        samples: [...(saved?.samples ?? [])],
        seen: new Map(Object.entries(saved?.seen ?? {})),
        unmatched: { live: new Map(), shadow: new Map() },
      });
    }
    for (const [partition, { next, unmatched }] of Object.entries(checkpoint?.logs ?? {})) {
      const kept = new Set<number>();
      for (const [first, last] of unmatched) for (let one = first; one <= last; one += 1) kept.add(one);
      const from = Math.max(0, Math.min(next - this.#reorderWindow, unmatched[0]?.[0] ?? next));
      this.#logs.set(Number(partition), { next, from, kept, lastOfKey: new Map() });
    }
    if (checkpoint === undefined) {
      for (const [partition, start] of (options.start ?? []).entries()) {
        this.#logs.set(partition, { next: start, from: start, kept: new Set(), lastOfKey: new Map() });
      }
    }
    this.#overflow = checkpoint?.overflow ?? false;
    this.#expired = checkpoint?.expired ?? 0;
  }

  get #reorderWindow(): number {
    return this.#options.reorderWindow ?? DEFAULT_REORDER_WINDOW;
  }

  get overflow(): boolean {
    return this.#overflow;
  }

  get expired(): number {
    return this.#expired;
  }

  get unmatched(): number {
    let count = 0;
    for (const { unmatched } of this.#groups.values()) count += unmatched.live.size + unmatched.shadow.size;
    return count;
  }

  /** Where to read a partition of the observations topic from when starting, with or without a checkpoint. */
  startOf(logPartition: number): number {
    return this.#logs.get(logPartition)?.from ?? 0;
  }

  /** The log was read up to an offset (exclusive), whatever records there were. */
  reached(logPartition: number, next: number): void {
    const log = this.#log(logPartition);
    log.next = Math.max(log.next, next);
  }

  /** Records before an offset are gone from the log: those not read yet cannot be compared any more. */
  truncated(logPartition: number, begin: number): void {
    // Where nothing was read yet and no start was given, there is nothing that was to be compared.
    const known = this.#logs.has(logPartition);
    const log = this.#log(logPartition);
    if (begin > log.next && known) this.#expired += begin - log.next;
    log.next = Math.max(log.next, begin);
  }

  /** Takes the observation at an offset of the log; in order within a partition of it. */
  add(logPartition: number, logOffset: number, observation: Observation): void {
    const group = this.#groups.get(observation.group);
    if (group === undefined || this.#isBefore(observation) || this.#overflow) return;
    const log = this.#log(logPartition);
    const fell = observation.side === 'shadow' && fellBehind(log, logOffset, observation, this.#reorderWindow);
    const entry: Unmatched = { observation, logPartition, logOffset };
    if (logOffset < log.next) {
      if (log.kept.delete(logOffset)) group.unmatched[observation.side].set(pairKey(observation), entry);
      return;
    }
    log.next = logOffset + 1;
    const seenKey = `${observation.side} ${observation.topic}/${observation.partition}`;
    if (ownOffset(observation) <= (group.seen.get(seenKey) ?? -1)) {
      group.counts.duplicates += 1;
      return;
    }
    group.seen.set(seenKey, ownOffset(observation));
    if (fell) {
      group.counts.reordered += 1;
      keepSample(group, 'reordered', observation, {});
    }
    this.#pair(group, entry);
  }

  /**
   * Judges what is still unmatched: only where the other side's watermark is past it by the lateness. A side that stands
   * still never makes the other side's messages missing. To be called with watermarks that were taken before the log was
   * read to its end.
   */
  judge(watermarkOf: WatermarkLookup): void {
    for (const { kept } of this.#logs.values()) {
      // Of a checkpoint, and not in the log any more.
      this.#expired += kept.size;
      kept.clear();
    }
    if (this.#overflow) return;
    for (const [name, group] of this.#groups) {
      this.#judgeSide(name, group, 'live', 'missing', watermarkOf);
      this.#judgeSide(name, group, 'shadow', 'unexpected', watermarkOf);
    }
  }

  /** Counts and samples of a group; all zero for one that is not compared. */
  result(name: string): { counts: ComparisonCounts; samples: DiscrepancySample[]; unmatched: number } {
    const group = this.#groups.get(name);
    if (group === undefined) return { counts: noCounts(), samples: [], unmatched: 0 };
    return {
      counts: { ...group.counts },
      samples: [...group.samples],
      unmatched: group.unmatched.live.size + group.unmatched.shadow.size,
    };
  }

  /** `TOPIC/PARTITION` of everything observed in a group. */
  observedPartitions(name: string): string[] {
    const names = [...(this.#groups.get(name)?.seen.keys() ?? [])].map((key) => key.slice(key.indexOf(' ') + 1));
    return [...new Set(names)];
  }

  /** At any time: what an earlier checkpoint kept and was not read again yet is kept on. */
  checkpoint(): ComparisonCheckpoint {
    const open = new Map<number, number[]>([...this.#logs].map(([partition, { kept }]) => [partition, [...kept]]));
    for (const { unmatched } of this.#groups.values()) {
      for (const { logPartition, logOffset } of [...unmatched.live.values(), ...unmatched.shadow.values()]) {
        const list = open.get(logPartition);
        if (list === undefined) open.set(logPartition, [logOffset]);
        else list.push(logOffset);
      }
    }
    return {
      version: 1,
      logs: Object.fromEntries(
        [...this.#logs].map(([partition, { next }]) => [
          String(partition),
          { next, unmatched: toRanges(open.get(partition) ?? []) },
        ]),
      ),
      groups: Object.fromEntries(
        [...this.#groups].map(([name, { counts, samples, seen }]) => [
          name,
          { counts: { ...counts }, samples: [...samples], seen: Object.fromEntries(seen) },
        ]),
      ),
      overflow: this.#overflow,
      expired: this.#expired,
    };
  }

  #pair(group: Group, entry: Unmatched): void {
    const { observation } = entry;
    const key = pairKey(observation);
    const counterparts = group.unmatched[observation.side === 'live' ? 'shadow' : 'live'];
    const counterpart = counterparts.get(key)?.observation;
    if (counterpart === undefined) {
      group.unmatched[observation.side].set(key, entry);
      if (this.unmatched > (this.#options.maxUnmatched ?? DEFAULT_MAX_UNMATCHED)) this.#overflowed();
      return;
    }
    counterparts.delete(key);
    if (observation.side === 'live') compare(group, observation, counterpart);
    else compare(group, counterpart, observation);
  }

  #judgeSide(
    name: string,
    group: Group,
    side: ObservingSide,
    verdict: 'missing' | 'unexpected',
    watermarkOf: WatermarkLookup,
  ): void {
    const other = side === 'live' ? 'shadow' : 'live';
    for (const [key, { observation }] of group.unmatched[side]) {
      const watermark = watermarkOf(name, other, observation.topic, observation.partition);
      if (watermark === undefined || watermark < observation.time + this.#options.latenessMs) continue;
      group.unmatched[side].delete(key);
      group.counts[verdict] += 1;
      keepSample(group, verdict, observation, {});
    }
  }

  #overflowed(): void {
    this.#overflow = true;
    for (const { unmatched } of this.#groups.values()) {
      unmatched.live.clear();
      unmatched.shadow.clear();
    }
  }

  #isBefore({ topic, partition, kafka }: Observation): boolean {
    return kafka < (this.#options.from?.[topic]?.[partition] ?? 0);
  }

  #log(partition: number): Log {
    const log = this.#logs.get(partition) ?? { next: 0, from: 0, kept: new Set(), lastOfKey: new Map() };
    this.#logs.set(partition, log);
    return log;
  }
}

function noCounts(): ComparisonCounts {
  return {
    matched: 0,
    ignored: 0,
    different: 0,
    missing: 0,
    unexpected: 0,
    failedLive: 0,
    failedShadow: 0,
    reordered: 0,
    duplicates: 0,
  };
}

/** Offset on the leg that the side reads. */
function ownOffset({ side, kafka, owlmq }: Observation): number {
  return side === 'live' ? kafka : (owlmq ?? kafka);
}

function pairKey({ topic, id }: Observation): string {
  return `${topic}\n${id}`;
}

/**
 * Whether a shadow observation is behind one with a higher Kafka offset and the same key. A function of the last
 * `window` records alone, so that reading these again after a crash is enough to go on alike.
 */
function fellBehind(log: Log, logOffset: number, observation: Observation, window: number): boolean {
  if (observation.key === null) return false;
  for (const [key, { logOffset: last }] of log.lastOfKey) {
    if (last >= logOffset - window) break;
    log.lastOfKey.delete(key);
  }
  const key = [observation.group, observation.topic, observation.partition, observation.key].join('\n');
  const own = ownOffset(observation);
  const last = log.lastOfKey.get(key);
  // Set anew at the end: the map stays in the order of the log.
  log.lastOfKey.delete(key);
  log.lastOfKey.set(key, { logOffset, own, kafka: observation.kafka });
  return last !== undefined && last.own < own && last.kafka > observation.kafka;
}

function compare(group: Group, live: Observation, shadow: Observation): void {
  const { counts } = group;
  if (live.output === undefined || shadow.output === undefined) {
    if (live.output === undefined && shadow.output === undefined) {
      // Both fail in the same way: the shadow does as the live side does.
      if (live.error?.name === shadow.error?.name && live.error?.uncomparable !== true) {
        counts.matched += 1;
        return;
      }
      counts.different += 1;
      keepSample(group, 'different', shadow, { error: shadow.error?.name });
      return;
    }
    const verdict = live.output === undefined ? 'failedLive' : 'failedShadow';
    counts[verdict] += 1;
    keepSample(group, verdict, shadow, { error: (live.error ?? shadow.error)?.name });
    return;
  }
  if (live.output.digest === shadow.output.digest) {
    counts[live.output.whole === shadow.output.whole ? 'matched' : 'ignored'] += 1;
    return;
  }
  counts.different += 1;
  keepSample(group, 'different', shadow, { fields: differingFields(live.output.fields, shadow.output.fields) });
}

/** Keeps the newest. */
function keepSample(
  group: Group,
  verdict: DiscrepancySample['verdict'],
  { topic, partition, id, kafka, owlmq }: Observation,
  { fields, error }: { fields?: string[]; error?: string | undefined },
): void {
  group.samples.push({
    verdict,
    topic,
    partition,
    id,
    kafka,
    ...(owlmq === undefined ? {} : { owlmq }),
    ...(fields === undefined ? {} : { fields }),
    ...(error === undefined ? {} : { error }),
  });
  if (group.samples.length > MAX_SAMPLES) group.samples.shift();
}

function toRanges(offsets: number[]): [number, number][] {
  const ranges: [number, number][] = [];
  for (const one of offsets.sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last?.[1] === one - 1) last[1] = one;
    else ranges.push([one, one]);
  }
  return ranges;
}
