import { z } from 'zod';
import type { Observation, ObservingSide } from '../consumer/observation.js';
import { parsePartitionName } from '../message/partition-name.js';
import { differingFieldsSchema, FieldCounts, type DifferingFields } from './differing-fields.js';
import { Lane, ownOffset, type SavedLane, type Unmatched } from './lane.js';
import { inRanges, joined, toRanges, type OffsetRanges } from './offset-ranges.js';
import { keepSample, sampleSchema, type DiscrepancySample } from './samples.js';
import {
  compareOutcomes,
  countsSchema,
  isAcknowledged,
  noCounts,
  type AcknowledgedPattern,
  type ComparisonCounts,
  type Discrepancy,
  type PairwiseCompare,
} from './verdicts.js';
import { watchedTimeSchema } from './watched-time.js';

const offset = z.number().int().nonnegative();
const ranges = z.array(z.tuple([offset, offset]));

/** All that is needed to go on after a crash, next to the observations topic itself. JSON-safe. */
export const comparisonCheckpointSchema = z.object({
  version: z.union([z.literal(1), z.literal(2)]),
  /** By partition of the observations topic: where to read on, and ranges (inclusive) of what is still unmatched. */
  logs: z.record(z.string(), z.object({ next: offset, unmatched: ranges })),
  groups: z.record(
    z.string(),
    z.object({
      counts: countsSchema,
      samples: z.array(sampleSchema),
      /** Where fields are counted. */
      differing: differingFieldsSchema.optional(),
      /** Highest offset observed, by `SIDE TOPIC/PARTITION`. */
      seen: z.record(z.string(), z.number()),
      /** By the same names, of those that have any: what was not taken in the order of the log. */
      lanes: z
        .record(
          z.string(),
          z.object({
            log: offset,
            parkedAt: offset.optional(),
            ahead: ranges.optional(),
            judged: ranges.optional(),
          }),
        )
        .optional(),
    }),
  ),
  overflow: z.boolean(),
  /** Observations that retention took before they were compared. */
  expired: z.number(),
  /** What an earlier version kept of it is not taken up. */
  watched: watchedTimeSchema.optional().catch(undefined),
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
  /** Discrepancies that are known and counted apart. */
  acknowledged?: readonly AcknowledgedPattern[];
  /** Whether captured outputs that differ mean the same. */
  compare?: PairwiseCompare;
  /** Whether to count how often which fields differ (default false). */
  countFields?: boolean;
  /**
   * Bound on the unmatched observations that are held (default 20,000, which keeps a checkpoint below 1 MB). Past it the
   * side that is ahead is read no further, and later, once the other side has caught up, from there.
   */
  maxUnmatched?: number;
  /**
   * Reordering is found between observations at most this far apart in the log, so that memory is bounded (default
   * 10,000).
   */
  reorderWindow?: number;
}

/** What is known of one group. */
export interface JoinedGroup {
  counts: ComparisonCounts;
  samples: DiscrepancySample[];
  /** Where outputs differ, and how often; undefined where it is not counted. */
  differing: DifferingFields | undefined;
  /** Observations held that wait for their counterpart. */
  unmatched: number;
  /** Message time (ms) of the oldest of them; undefined when there is none. */
  oldestUnmatched: number | undefined;
  /** What is read no further for now, as `SIDE TOPIC/PARTITION`: too much of it waits for the other side. */
  parked: string[];
}

/** Both sides of a group in one partition. */
interface Pair {
  readonly topic: string;
  readonly partition: number;
  readonly live: Lane;
  readonly shadow: Lane;
}

interface Group {
  readonly name: string;
  counts: ComparisonCounts;
  samples: DiscrepancySample[];
  readonly fields: FieldCounts | undefined;
  /** By `TOPIC/PARTITION`. */
  readonly pairs: Map<string, Pair>;
}

/** A reading of a part of the log for a purpose of its own; without one the log is read on. */
type Pass = { position: number; readonly to: number } & (
  | { readonly kind: 'again' }
  | { readonly kind: 'catch up'; readonly lanes: Set<Lane> }
  | {
      /** Looks behind the place where a lane stands, for the counterparts of what the other side holds. */
      readonly kind: 'look ahead';
      readonly group: Group;
      readonly pair: Pair;
      readonly lane: Lane;
      readonly watermark: number;
      seen: number;
    }
);

interface Log {
  next: number;
  /** Parts to read again after a crash. */
  readonly again: OffsetRanges;
  /** Unmatched offsets of a checkpoint that were not read again yet: only these are kept of what is read again. */
  readonly kept: Set<number>;
  pass: Pass | undefined;
  /** Where the order of keys was last forgotten. */
  swept: number;
}

const DEFAULT_MAX_UNMATCHED = 20_000;
const DEFAULT_REORDER_WINDOW = 10_000;
/** Bound on what is compared out of order of a lane and remembered until the lane gets there. */
const MAX_AHEAD = 10_000;
/** Parts of the log that are nearer to each other are read in one go. */
const READ_GAP = 2_000;

/**
 * Joins the observations of both sides. Pure: what it says depends on the log, in order, and the watermarks given to
 * it; with a checkpoint, on nothing else. Each side's observations of a partition come in the order of its offsets, so
 * that one at or below the highest seen is a redelivery: no memory of ids is needed to know it.
 *
 * Memory is bounded without losing anything. Where more waits than fits, the side of the partition that is ahead is
 * parked: it stands at a place of the log while the log is read on for everybody else, and goes on from there when there
 * is room. What to read next, and in which order, is said by `nextRead`. Where both sides are parked with nothing in
 * common, the log is looked through for the counterparts of what one of them holds, so that it can be judged.
 */
export class ObservationJoiner {
  readonly #options: JoinerOptions;
  readonly #groups = new Map<string, Group>();
  readonly #logs = new Map<number, Log>();
  #lanes = 0;
  /** Unmatched observations in memory. */
  #held = 0;
  #overflow = false;
  #expired = 0;

  constructor(options: JoinerOptions, checkpoint?: ComparisonCheckpoint) {
    this.#options = options;
    for (const name of options.groups) {
      const saved = checkpoint?.groups[name];
      const group: Group = {
        name,
        counts: { ...noCounts(), ...saved?.counts },
        samples: [...(saved?.samples ?? [])],
        fields: options.countFields === true ? new FieldCounts(saved?.differing) : undefined,
        pairs: new Map(),
      };
      this.#groups.set(name, group);
      for (const key of Object.keys(saved?.seen ?? {})) {
        const { topic, partition } = parsePartitionName(key.slice(key.indexOf(' ') + 1));
        const at = saved?.lanes?.[key]?.log ?? 0;
        this.#pair(group, topic, partition, at, (side) => {
          const laneKey = laneName(side, topic, partition);
          return { seen: saved?.seen[laneKey] ?? -1, lane: saved?.lanes?.[laneKey] };
        });
      }
    }
    for (const [name, { next, unmatched }] of Object.entries(checkpoint?.logs ?? {})) {
      const partition = Number(name);
      const parked = [...this.#lanesOf(partition)].flatMap(({ parkedAt }) =>
        parkedAt === undefined ? [] : [parkedAt],
      );
      const window = this.#reorderWindow;
      const orders = [next, ...parked].map((end): [number, number] => [Math.max(0, end - window), end - 1]);
      const again = joined([...unmatched, ...orders], READ_GAP).filter(([first, last]) => last >= first && last >= 0);
      this.#logs.set(partition, { ...newLog(next), again, kept: new Set(inRanges(unmatched)) });
    }
    if (checkpoint === undefined) {
      for (const [partition, start] of (options.start ?? []).entries()) this.#logs.set(partition, newLog(start));
    }
    this.#overflow = checkpoint?.overflow ?? false;
    this.#expired = checkpoint?.expired ?? 0;
  }

  get #reorderWindow(): number {
    return this.#options.reorderWindow ?? DEFAULT_REORDER_WINDOW;
  }

  get #maxUnmatched(): number {
    return this.#options.maxUnmatched ?? DEFAULT_MAX_UNMATCHED;
  }

  /** What is compared out of order is more than is remembered: nothing is judged any more. */
  get overflow(): boolean {
    return this.#overflow;
  }

  get expired(): number {
    return this.#expired;
  }

  get unmatched(): number {
    return this.#held;
  }

  /** Up to where a partition of the observations topic was read. */
  readUpTo(logPartition: number): number {
    return this.#logs.get(logPartition)?.next ?? 0;
  }

  /**
   * What is to be read next of a partition of the observations topic, `to` exclusive; undefined when nothing is left to
   * read up to `end`. To be called again after each reading, of the whole or of a part of it, that was told to `reached`.
   *
   * @param watermarkOf those that `judge` will be called with.
   */
  nextRead(logPartition: number, end: number, watermarkOf: WatermarkLookup): { from: number; to: number } | undefined {
    const log = this.#log(logPartition);
    log.pass ??= this.#again(log) ?? this.#catchUp(logPartition, log, 'half empty');
    if (log.pass === undefined && log.next < end) return { from: log.next, to: end };
    log.pass ??= this.#catchUp(logPartition, log, 'not full') ?? this.#lookAhead(logPartition, log, watermarkOf);
    return log.pass === undefined ? undefined : { from: log.pass.position, to: log.pass.to };
  }

  /** A reading came up to an offset (exclusive), whatever records there were. */
  reached(logPartition: number, next: number): void {
    const log = this.#log(logPartition);
    const { pass } = log;
    if (pass === undefined) {
      log.next = Math.max(log.next, next);
      this.#sweep(logPartition, log);
      return;
    }
    pass.position = Math.max(pass.position, Math.min(next, pass.to));
    const done = pass.position >= pass.to;
    if (pass.kind === 'catch up') {
      for (const lane of pass.lanes) lane.parkedAt = done ? undefined : Math.max(lane.parkedAt ?? 0, pass.position);
      if (pass.lanes.size === 0) log.pass = undefined;
    }
    if (!done) return;
    log.pass = undefined;
    if (pass.kind !== 'look ahead') return;
    const { group, pair, lane, watermark } = pass;
    // All that the lane has was looked at, so what is left of the other side's has no counterpart.
    this.#judgeHeld(group, lane.side === 'live' ? pair.shadow : pair.live, () => watermark);
  }

  /** Records before an offset are gone from the log: those not read yet cannot be compared any more. */
  truncated(logPartition: number, begin: number): void {
    // Where nothing was read yet and no start was given, there is nothing that was to be compared.
    const known = this.#logs.has(logPartition);
    const log = this.#log(logPartition);
    if (begin > log.next && known) this.#expired += begin - log.next;
    log.next = Math.max(log.next, begin);
    const again = log.again.splice(0).filter(([, last]) => last >= begin);
    log.again.push(...again.map(([first, last]): [number, number] => [Math.max(first, begin), last]));
    for (const lane of this.#lanesOf(logPartition)) {
      if (lane.parkedAt === undefined || lane.parkedAt >= begin) continue;
      this.#expired += begin - lane.parkedAt;
      lane.parkedAt = begin;
    }
    if (log.pass !== undefined && log.pass.position < begin) this.reached(logPartition, begin);
  }

  /** Takes the observation at an offset of the log; in order within what `nextRead` said. */
  add(logPartition: number, logOffset: number, observation: Observation): void {
    const group = this.#groups.get(observation.group);
    if (group === undefined || this.#isBefore(observation) || this.#overflow) return;
    const log = this.#log(logPartition);
    const { pass } = log;
    if (pass !== undefined && logOffset >= pass.to) return;
    const { topic, partition, side } = observation;
    const pair = this.#pair(group, topic, partition, logPartition, () => ({ seen: -1, lane: undefined }));
    const lane = pair[side];
    if (pass?.kind === 'look ahead') {
      if (pass.lane === lane) this.#matchAhead(pass, logOffset, observation);
      return;
    }
    if (pass?.kind === 'again') {
      if (logOffset < (lane.parkedAt ?? log.next)) lane.fellBehind(logOffset, observation, this.#reorderWindow);
      if (log.kept.delete(logOffset)) this.#hold(lane, { observation, logOffset });
      return;
    }
    if (pass === undefined) {
      if (logOffset < log.next) return;
      log.next = logOffset + 1;
      if (lane.parkedAt === undefined && !this.#take(group, pair, lane, { observation, logOffset })) {
        lane.parkedAt = logOffset;
      }
      return;
    }
    if (!pass.lanes.has(lane) || logOffset < (lane.parkedAt ?? 0)) return;
    const taken = this.#take(group, pair, lane, { observation, logOffset });
    lane.parkedAt = taken ? logOffset + 1 : logOffset;
    if (!taken) pass.lanes.delete(lane);
  }

  /**
   * Judges what is still unmatched: only where the other side's watermark is past it by the lateness, and everything of
   * the other side was read. A side that stands still never makes the other side's messages missing. To be called with
   * watermarks that were taken before the log was read to its end.
   */
  judge(watermarkOf: WatermarkLookup): void {
    for (const { kept } of this.#logs.values()) {
      // Of a checkpoint, and not in the log any more.
      this.#expired += kept.size;
      kept.clear();
    }
    if (this.#overflow) return;
    for (const group of this.#groups.values()) {
      for (const { live, shadow } of group.pairs.values()) {
        const of = (side: ObservingSide) => (topic: string, partition: number) =>
          watermarkOf(group.name, side, topic, partition);
        if (shadow.parkedAt === undefined) this.#judgeHeld(group, live, of('shadow'));
        if (live.parkedAt === undefined) this.#judgeHeld(group, shadow, of('live'));
      }
    }
  }

  /** Counts and samples of a group; all zero for one that is not compared. */
  result(name: string): JoinedGroup {
    const group = this.#groups.get(name);
    const found: JoinedGroup = {
      counts: { ...(group?.counts ?? noCounts()) },
      samples: [...(group?.samples ?? [])],
      differing: group?.fields?.counts,
      unmatched: 0,
      oldestUnmatched: undefined,
      parked: [],
    };
    for (const { topic, partition, live, shadow } of group?.pairs.values() ?? []) {
      for (const { side, held, parkedAt } of [live, shadow]) {
        found.unmatched += held.size;
        if (parkedAt !== undefined) found.parked.push(laneName(side, topic, partition));
        for (const { observation } of held.values()) {
          found.oldestUnmatched = Math.min(found.oldestUnmatched ?? Infinity, observation.time);
        }
      }
    }
    return found;
  }

  /** `TOPIC/PARTITION` of everything observed in a group. */
  observedPartitions(name: string): string[] {
    return [...(this.#groups.get(name)?.pairs.keys() ?? [])];
  }

  /** At any time: what an earlier checkpoint kept and was not read again yet is kept on. */
  checkpoint(): ComparisonCheckpoint {
    const open = new Map<number, number[]>([...this.#logs].map(([partition, { kept }]) => [partition, [...kept]]));
    for (const lane of this.#allLanes()) {
      const list = open.get(lane.log) ?? [];
      open.set(lane.log, list);
      for (const { logOffset } of lane.held.values()) list.push(logOffset);
    }
    return {
      version: 2,
      logs: Object.fromEntries(
        [...this.#logs].map(([partition, { next }]) => [
          String(partition),
          { next, unmatched: toRanges(open.get(partition) ?? []) },
        ]),
      ),
      groups: Object.fromEntries([...this.#groups].map(([name, group]) => [name, savedGroup(group)])),
      overflow: this.#overflow,
      expired: this.#expired,
    };
  }

  /** False when the lane is full: nothing was done then. */
  #take(group: Group, pair: Pair, lane: Lane, entry: Unmatched): boolean {
    const { observation, logOffset } = entry;
    const other = lane.side === 'live' ? pair.shadow : pair.live;
    const own = ownOffset(observation);
    const repeated = own <= lane.seen;
    const counterpart = other.held.get(observation.id);
    const late = counterpart === undefined && other.judged.has(observation.kafka);
    const holds = !repeated && counterpart === undefined && !late && !lane.ahead.has(logOffset);
    if (holds && this.#isFull(lane)) return false;
    const fell = lane.fellBehind(logOffset, observation, this.#reorderWindow);
    if (repeated) {
      group.counts.duplicates += 1;
      return true;
    }
    lane.seen = own;
    if (fell) this.#tell(group, { verdict: 'reordered' }, lane.log, entry);
    if (lane.ahead.delete(logOffset)) return true;
    if (counterpart !== undefined) {
      other.held.delete(observation.id);
      this.#held -= 1;
      this.#compare(group, lane.log, entry, counterpart);
    } else if (late) group.counts.late += 1;
    else this.#hold(lane, entry);
    return true;
  }

  /** Compares an observation behind the lane's place when the other side holds its counterpart. */
  #matchAhead(pass: Pass & { kind: 'look ahead' }, logOffset: number, observation: Observation): void {
    const { group, pair, lane } = pass;
    if (logOffset < (lane.parkedAt ?? 0) || ownOffset(observation) <= pass.seen) return;
    pass.seen = ownOffset(observation);
    if (lane.ahead.has(logOffset)) return;
    const other = lane.side === 'live' ? pair.shadow : pair.live;
    const counterpart = other.held.get(observation.id);
    if (counterpart === undefined) return;
    other.held.delete(observation.id);
    this.#held -= 1;
    lane.ahead.add(logOffset);
    this.#compare(group, lane.log, { observation, logOffset }, counterpart);
    if (lane.ahead.size > MAX_AHEAD) this.#overflowed();
  }

  #hold({ held }: Lane, entry: Unmatched): void {
    const before = held.size;
    held.set(entry.observation.id, entry);
    this.#held += held.size - before;
  }

  /** Half of what fits is shared by all lanes, the other half is divided among them so that none is shut out. */
  #isFull({ held }: Lane): boolean {
    return held.size >= this.#share && this.#held >= this.#maxUnmatched / 2;
  }

  get #share(): number {
    return Math.max(1, Math.floor(this.#maxUnmatched / 2 / Math.max(1, this.#lanes)));
  }

  #compare(group: Group, log: number, one: Unmatched, counterpart: Unmatched): void {
    const [live, shadow] = one.observation.side === 'live' ? [one, counterpart] : [counterpart, one];
    const told = compareOutcomes(live.observation, shadow.observation, this.#options.compare);
    if (typeof told === 'string') group.counts[told] += 1;
    else this.#tell(group, told, log, shadow, live);
  }

  #judgeHeld(group: Group, lane: Lane, watermarkOf: (topic: string, partition: number) => number | undefined): void {
    for (const [key, entry] of lane.held) {
      const { observation } = entry;
      const watermark = watermarkOf(observation.topic, observation.partition);
      if (watermark === undefined || watermark < observation.time + this.#options.latenessMs) continue;
      lane.held.delete(key);
      this.#held -= 1;
      lane.judged.add(observation.kafka);
      this.#tell(group, { verdict: lane.side === 'live' ? 'missing' : 'unexpected' }, lane.log, entry);
    }
  }

  #tell(group: Group, discrepancy: Discrepancy, log: number, entry: Unmatched, counterpart?: Unmatched): void {
    if (isAcknowledged(this.#options.acknowledged ?? [], entry.observation, discrepancy)) {
      group.counts.acknowledged += 1;
      return;
    }
    group.counts[discrepancy.verdict] += 1;
    if (discrepancy.verdict === 'different') group.fields?.add(discrepancy.fields ?? []);
    group.samples = keepSample(group.samples, discrepancy, log, entry, counterpart);
  }

  #again(log: Log): Pass | undefined {
    const part = log.again.shift();
    return part === undefined ? undefined : { kind: 'again', position: part[0], to: Math.min(part[1] + 1, log.next) };
  }

  /** Takes parked lanes on that have room. */
  #catchUp(logPartition: number, log: Log, when: 'half empty' | 'not full'): Pass | undefined {
    const lanes = new Set<Lane>();
    let from = Infinity;
    for (const lane of this.#lanesOf(logPartition)) {
      if (lane.parkedAt === undefined) continue;
      if (when === 'half empty' ? lane.held.size > this.#share / 2 : this.#isFull(lane)) continue;
      lanes.add(lane);
      from = Math.min(from, lane.parkedAt);
    }
    return lanes.size === 0 ? undefined : { kind: 'catch up', position: from, to: log.next, lanes };
  }

  /** Where both sides of a partition stand with nothing in common: what one of them holds can be judged, for room. */
  #lookAhead(logPartition: number, log: Log, watermarkOf: WatermarkLookup): Pass | undefined {
    if (this.#overflow) return undefined;
    for (const group of this.#groups.values()) {
      for (const pair of group.pairs.values()) {
        if (pair.live.log !== logPartition) continue;
        for (const [holding, lane] of [
          [pair.live, pair.shadow],
          [pair.shadow, pair.live],
        ] as const) {
          if (holding.parkedAt === undefined || lane.parkedAt === undefined) continue;
          const watermark = watermarkOf(group.name, lane.side, pair.topic, pair.partition);
          if (watermark === undefined) continue;
          const due = watermark - this.#options.latenessMs;
          if (![...holding.held.values()].some(({ observation }) => observation.time <= due)) continue;
          const { parkedAt: position, seen } = lane;
          return { kind: 'look ahead', position, to: log.next, group, pair, lane, watermark, seen };
        }
      }
    }
    return undefined;
  }

  #sweep(logPartition: number, log: Log): void {
    const window = this.#reorderWindow;
    if (log.next < log.swept + window) return;
    log.swept = log.next;
    for (const lane of this.#lanesOf(logPartition)) {
      if (lane.parkedAt === undefined) lane.forgetKeys(log.next - window);
    }
  }

  #overflowed(): void {
    this.#overflow = true;
    for (const { held } of this.#allLanes()) held.clear();
    this.#held = 0;
  }

  #isBefore({ topic, partition, kafka }: Observation): boolean {
    return kafka < (this.#options.from?.[topic]?.[partition] ?? 0);
  }

  #pair(
    group: Group,
    topic: string,
    partition: number,
    log: number,
    saved: (side: ObservingSide) => { seen: number; lane: SavedLane | undefined },
  ): Pair {
    const name = `${topic}/${partition}`;
    const known = group.pairs.get(name);
    if (known !== undefined) return known;
    const lane = (side: ObservingSide): Lane => {
      const { seen, lane: of } = saved(side);
      return new Lane(side, of?.log ?? log, seen, of);
    };
    const pair: Pair = { topic, partition, live: lane('live'), shadow: lane('shadow') };
    group.pairs.set(name, pair);
    this.#lanes += 2;
    return pair;
  }

  *#allLanes(): Generator<Lane> {
    for (const { pairs } of this.#groups.values()) {
      for (const { live, shadow } of pairs.values()) yield* [live, shadow];
    }
  }

  *#lanesOf(logPartition: number): Generator<Lane> {
    for (const lane of this.#allLanes()) if (lane.log === logPartition) yield lane;
  }

  #log(partition: number): Log {
    const log = this.#logs.get(partition) ?? newLog(0);
    this.#logs.set(partition, log);
    return log;
  }
}

function newLog(next: number): Log {
  return { next, again: [], kept: new Set(), pass: undefined, swept: next };
}

function savedGroup({ counts, samples, fields, pairs }: Group): ComparisonCheckpoint['groups'][string] {
  const seen: Record<string, number> = {};
  const lanes: Record<string, SavedLane> = {};
  for (const { topic, partition, live, shadow } of pairs.values()) {
    for (const lane of [live, shadow]) {
      const name = laneName(lane.side, topic, partition);
      seen[name] = lane.seen;
      const ahead = toRanges([...lane.ahead]);
      const judged = lane.judged.ranges;
      if (lane.parkedAt === undefined && ahead.length === 0 && judged.length === 0 && lane.log === 0) continue;
      lanes[name] = {
        log: lane.log,
        ...(lane.parkedAt === undefined ? {} : { parkedAt: lane.parkedAt }),
        ...(ahead.length === 0 ? {} : { ahead }),
        ...(judged.length === 0 ? {} : { judged }),
      };
    }
  }
  return {
    counts: { ...counts },
    samples: [...samples],
    ...(fields === undefined ? {} : { differing: fields.counts }),
    seen,
    ...(Object.keys(lanes).length === 0 ? {} : { lanes }),
  };
}

function laneName(side: ObservingSide, topic: string, partition: number): string {
  return `${side} ${topic}/${partition}`;
}
