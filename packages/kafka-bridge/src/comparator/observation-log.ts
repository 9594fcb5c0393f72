import {
  OBSERVATIONS_TOPIC,
  decodeObservation,
  mayBeOf,
  observationKey,
  type ObservingSide,
} from '../consumer/observation.js';
import { newInstanceId } from '../members/instance-id.js';
import { isLiving, type MemberRoster } from '../members/member-roster.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, type PartitionBounds } from '../kafka/log-reader.js';
import { parsePartitionName } from '../message/partition-name.js';
import { partitionOfKey } from '../publisher/partitioner.js';
import {
  ObservationJoiner,
  type ComparisonCheckpoint,
  type JoinerOptions,
  type WatermarkLookup,
} from './comparator.js';
import type { DifferingFields } from './differing-fields.js';
import type { DiscrepancySample } from './samples.js';
import type { ComparisonCounts } from './verdicts.js';
import {
  forgetBefore,
  interruptWatch,
  noWatchedTime,
  watch,
  watchedSpans,
  watchedTimeSchema,
  type GroupLook,
  type WatchedSpans,
  type WatchedTime,
} from './watched-time.js';

export interface ObservationComparisonOptions extends JoinerOptions {
  connection: KafkaConnection;
  migration: string;
  /** Of the worker; followed by it. */
  roster: MemberRoster;
  /** Of an earlier comparison, to go on behind it. */
  checkpoint?: ComparisonCheckpoint;
  /**
   * Partitions of the observations topic to compare, with `start`; absent: all. All that is said of a Kafka partition
   * of a group is in one of them, so that comparisons of different partitions may run side by side.
   */
  partitions?: readonly number[];
  /** How long a group may go without a comparison in one stretch of what is watched, ms (default 15,000). */
  quietMs?: number;
  /** Time (Unix ms) before which nobody asks any more when it was watched. */
  watchedFrom?: number;
  /** The time since the checkpoint does not count as watched, whatever happened in it. */
  interrupted?: boolean;
}

/** What is known of one group, in the partitions compared. */
export interface GroupComparison {
  counts: ComparisonCounts;
  /** The newest discrepancies of each verdict. */
  samples: DiscrepancySample[];
  /** Where outputs differ, and how often, where it is counted. */
  differing?: DifferingFields;
  /** Observations that wait for their counterpart. */
  unmatched: number;
  /**
   * Message time (ms) up to which both sides were compared in every partition; undefined when a side is missing, and
   * before the first step of this comparison that caught up.
   */
  comparedUpTo?: number;
  /** Why the comparison does not go on, in words; empty while it does. */
  stalled: string[];
}

export interface ComparisonReport {
  groups: Record<string, GroupComparison>;
  /** More was compared out of order than is remembered: nothing is judged any more, and the result is inconclusive. */
  overflow: boolean;
  /** Observations that retention took before they were compared: not 0 is inconclusive. */
  expired: number;
  /**
   * Whether the log was read up to what the watermarks speak of, and judged. False when `maxMs` or `signal` ended the
   * step before; a later step of this comparison goes on to the same place first.
   */
  caughtUp: boolean;
  /** When this comparison was at work. Its last stretch goes back by what is not judged any more. */
  watched: WatchedSpans;
  checkpoint: ComparisonCheckpoint;
}

export interface ComparisonStepOptions {
  /** Bound on reading, ms (default: none). One read is made in any case. */
  maxMs?: number;
  signal?: AbortSignal | undefined;
}

/** The observations topic is not the one that the comparison began with: it was made anew, or has other partitions. */
export class ObservationsReplacedError extends Error {
  override readonly name = 'ObservationsReplacedError';
}

/** A watermark that has not moved for this long is told, ms. */
const STALLED_AFTER_MS = 15_000;
const QUIET_MS = 15_000;
const MAX_WAIT_MS = 500;
const ENDS_WITHIN_MS = 15_000;

/**
 * End of each partition of the observations topic, by index: where a comparison may begin (`start`), when this was
 * called before the first member was told to observe.
 */
export async function observationEnds(connection: KafkaConnection): Promise<number[]> {
  const clientId = `${newInstanceId()}-observation-ends`;
  const reader = new LogReader(connection, { clientId, retryForMs: ENDS_WITHIN_MS });
  try {
    return await reader.ends(OBSERVATIONS_TOPIC);
  } finally {
    await reader.close();
  }
}

/** Watermarks, and the ends of the log found after they were taken: read up to there, they can be judged by. */
interface Goal {
  watermarks: Map<string, GroupWatermarks>;
  ends: number[];
}

/** Compares what both sides of each group did, from the observations topic and the members' watermarks. */
export class ObservationComparison {
  readonly #options: ObservationComparisonOptions;
  readonly #joiner: ObservationJoiner;
  readonly #reader: LogReader;
  #watched: WatchedTime;
  /** When each watermark moved last, on the monotonic clock. */
  readonly #moved = new Map<string, { value: number; at: number }>();
  /** Of a step that did not get there. */
  #goal: Goal | undefined;
  /** Those last judged by. */
  #judged = new Map<string, GroupWatermarks>();

  constructor(options: ObservationComparisonOptions) {
    this.#options = options;
    this.#joiner = new ObservationJoiner(options, options.checkpoint);
    const { data: watched = noWatchedTime() } = watchedTimeSchema.safeParse(options.checkpoint?.watched);
    const { interrupted = false, watchedFrom = 0, quietMs = QUIET_MS } = options;
    this.#watched = forgetBefore(interrupted ? interruptWatch(watched) : watched, watchedFrom - quietMs);
    this.#reader = new LogReader(options.connection, {
      clientId: `${newInstanceId()}-comparison`,
      maxWaitMs: MAX_WAIT_MS,
    });
  }

  /**
   * Takes the watermarks, then reads what was observed since the last step, then judges. In this order: an observation
   * is acknowledged before the watermark that covers it is reported. A step that ends early judges nothing as missing,
   * since the counterpart may be in what was not read.
   *
   * @throws {ObservationsReplacedError} when the checkpoint is not of this topic.
   * @throws when Kafka does not answer; the next step goes on where this one stopped.
   */
  async step(options: ComparisonStepOptions = {}): Promise<ComparisonReport> {
    const { roster, groups } = this.#options;
    const from = Date.now();
    await roster.readToEnd();
    const watermarks = this.#watermarks();
    const caughtUp = await this.#catchUp(watermarks, options);
    const found = groups.map((name) => [name, this.#group(name, watermarks.get(name), caughtUp)] as const);
    const limits = { standstillMs: STALLED_AFTER_MS, quietMs: this.#options.quietMs ?? QUIET_MS };
    const looks = Object.fromEntries(found.flatMap(([name, { look }]) => (look === undefined ? [] : [[name, look]])));
    this.#watched = watch(this.#watched, { from, at: Date.now(), groups: looks }, limits);
    return {
      groups: Object.fromEntries(found.map(([name, { group }]) => [name, group])),
      overflow: this.#joiner.overflow,
      expired: this.#joiner.expired,
      caughtUp,
      watched: watchedSpans(this.#watched, this.#unjudgedMs(found)),
      checkpoint: { ...this.#joiner.checkpoint(), watched: this.#watched },
    };
  }

  async close(): Promise<void> {
    await this.#reader.close();
  }

  /** Highest watermark of each partition among the living members of each group. */
  #watermarks(): Map<string, GroupWatermarks> {
    const { roster, migration, groups } = this.#options;
    const found = new Map(
      groups.map((name): [string, GroupWatermarks] => [name, { live: new Map(), shadow: new Map() }]),
    );
    for (const member of roster.members(migration)) {
      const { report } = member;
      if (report.role !== 'consumer' || !isLiving(member)) continue;
      const group = found.get(report.group);
      if (group === undefined) continue;
      for (const side of ['live', 'shadow'] as const) {
        for (const [partition, time] of Object.entries(report.watermarks[side])) {
          group[side].set(partition, Math.max(group[side].get(partition) ?? 0, time));
        }
      }
    }
    return found;
  }

  /** Reads what members have reported, and judges; false when it ended before. */
  async #catchUp(watermarks: Map<string, GroupWatermarks>, options: ComparisonStepOptions): Promise<boolean> {
    const { signal } = options;
    const bounds = await unlessEnded(this.#reader.bounds(OBSERVATIONS_TOPIC, { signal }), signal);
    if (bounds === undefined) return false;
    const goal = (this.#goal ??= { watermarks, ends: bounds.map(({ endOffset }) => endOffset) });
    const watermarkOf: WatermarkLookup = (group, side, topic, partition) =>
      goal.watermarks.get(group)?.[side].get(`${topic}/${partition}`);
    if (!(await this.#joinUpTo(goal.ends, bounds, watermarkOf, options))) return false;
    this.#goal = undefined;
    this.#judged = goal.watermarks;
    return true;
  }

  /** Reads up to the ends, and judges; false when it ended before. What is judged makes room for what was left. */
  async #joinUpTo(
    ends: readonly number[],
    bounds: readonly PartitionBounds[],
    watermarkOf: WatermarkLookup,
    { maxMs, signal }: ComparisonStepOptions,
  ): Promise<boolean> {
    const deadline = performance.now() + (maxMs ?? Infinity);
    const { start = bounds, partitions } = this.#options;
    if (bounds.length !== start.length) {
      throw new ObservationsReplacedError(
        `${OBSERVATIONS_TOPIC} has ${bounds.length} partitions and had ${start.length}. Start the comparison without a checkpoint.`,
      );
    }
    const own = partitions === undefined ? bounds : bounds.filter(({ partition }) => partitions.includes(partition));
    for (const { partition, beginOffset, endOffset } of own) {
      this.#joiner.truncated(partition, beginOffset);
      const readUpTo = this.#joiner.readUpTo(partition);
      if (readUpTo > endOffset) {
        throw new ObservationsReplacedError(
          `${OBSERVATIONS_TOPIC}/${partition} ends at ${endOffset}, before ${readUpTo}: it was made anew. Start the comparison without a checkpoint.`,
        );
      }
    }
    for (let round = 0; ; round += 1) {
      const read = await this.#readTo(ends, own, watermarkOf, { deadline, signal });
      if (read === 'in part') return false;
      if (round > 0 && read === 'nothing') return true;
      this.#joiner.judge(watermarkOf);
    }
  }

  async #readTo(
    ends: readonly number[],
    bounds: readonly PartitionBounds[],
    watermarkOf: WatermarkLookup,
    { deadline, signal }: { deadline: number; signal: AbortSignal | undefined },
  ): Promise<'all' | 'in part' | 'nothing'> {
    const { migration } = this.#options;
    let reads = 0;
    for (const { partition, endOffset } of bounds) {
      for (;;) {
        const wanted = this.#joiner.nextRead(partition, ends[partition] ?? endOffset, watermarkOf);
        if (wanted === undefined) break;
        if (signal?.aborted === true || (reads > 0 && performance.now() >= deadline)) return 'in part';
        const places = [{ partition, offset: wanted.from }];
        const reading = this.#reader.read(OBSERVATIONS_TOPIC, places, { maxWaitMs: MAX_WAIT_MS, signal });
        const slice = (await unlessEnded(reading, signal))?.[0];
        if (slice === undefined) return 'in part';
        reads += 1;
        for (const { offset, key, value } of slice.records) {
          if (!mayBeOf(migration, key)) continue;
          const observation = decodeObservation(value);
          if (observation?.migration === migration) this.#joiner.add(partition, offset, observation);
        }
        this.#joiner.reached(partition, slice.nextOffset);
      }
    }
    return reads === 0 ? 'nothing' : 'all';
  }

  /** What is known of a group, and what it says for the time that is watched. */
  #group(
    name: string,
    watermarks: GroupWatermarks | undefined,
    caughtUp: boolean,
  ): { group: GroupComparison; look: GroupLook | undefined; oldestUnmatched: number | undefined } {
    const { counts, samples, differing, unmatched, oldestUnmatched, parked } = this.#joiner.result(name);
    const partitions = this.#expectedPartitions(name, watermarks);
    if (partitions.length === 0 && this.#options.partitions !== undefined) {
      // All of the group is in the partitions of other comparisons.
      return { group: { counts, samples, unmatched, stalled: [] }, look: undefined, oldestUnmatched };
    }
    const stalled: string[] = [];
    const reportedUpTo: GroupLook['reportedUpTo'] = { live: undefined, shadow: undefined };
    const compared: (number | undefined)[] = [];
    for (const side of ['live', 'shadow'] as const) {
      const known = watermarks?.[side] ?? new Map<string, number>();
      if (known.size === 0) {
        stalled.push(`Group ${name}: no living member reports how far its ${side} side is.`);
        continue;
      }
      const reported: number[] = [];
      for (const partition of partitions) {
        const time = known.get(partition);
        if (time === undefined) {
          stalled.push(`Group ${name}: no living member reports how far its ${side} side is in ${partition}.`);
          continue;
        }
        compared.push(this.#judged.get(name)?.[side].get(partition));
        const silentMs = this.#unmovedMs(`${name} ${side} ${partition}`, time);
        if (silentMs > STALLED_AFTER_MS) {
          const seconds = Math.round(silentMs / 1_000);
          stalled.push(`Group ${name}: its ${side} side has not moved in ${partition} for ${seconds} s.`);
        } else {
          reported.push(time);
        }
      }
      // Of a side that stands still in one partition the others say nothing: they may be behind it, and catch up.
      if (reported.length > 0 && reported.length === partitions.length) reportedUpTo[side] = Math.min(...reported);
    }
    stalled.push(...parked.map((lane) => parkedWords(name, lane)));
    const times = compared.filter((time) => time !== undefined);
    const complete = parked.length === 0 && partitions.length > 0 && times.length === 2 * partitions.length;
    const comparedUpTo = complete ? Math.min(...times) : undefined;
    const { matched, ignored, different, failedLive, failedShadow, acknowledged } = counts;
    return {
      group: {
        ...{ counts, samples, unmatched, stalled },
        ...(differing === undefined ? {} : { differing }),
        ...(comparedUpTo === undefined ? {} : { comparedUpTo }),
      },
      look: {
        reportedUpTo,
        comparedUpTo: caughtUp ? comparedUpTo : undefined,
        comparisons: matched + ignored + different + failedLive + failedShadow + acknowledged,
      },
      oldestUnmatched,
    };
  }

  /** How long before the compared time the oldest observation is that waits for its counterpart, ms. */
  #unjudgedMs(found: readonly (readonly [string, { oldestUnmatched: number | undefined }])[]): number {
    const waits = found.map(([name, { oldestUnmatched }]) =>
      oldestUnmatched === undefined ? 0 : (this.#watched.groups[name]?.upTo ?? 0) - oldestUnmatched,
    );
    return Math.max(0, ...waits);
  }

  #expectedPartitions(name: string, watermarks: GroupWatermarks | undefined): string[] {
    const started = Object.entries(this.#options.from ?? {}).flatMap(([topic, offsets]) =>
      offsets.map((_, partition) => `${topic}/${partition}`),
    );
    const reported = [...(watermarks?.live.keys() ?? []), ...(watermarks?.shadow.keys() ?? [])];
    const all = [...new Set([...started, ...reported, ...this.#joiner.observedPartitions(name)])].sort();
    const { partitions, start, migration } = this.#options;
    if (partitions === undefined || start === undefined) return all;
    return all.filter((partition) => {
      const key = observationKey({ migration, group: name, ...parsePartitionName(partition) });
      return partitions.includes(partitionOfKey(Buffer.from(key), start.length));
    });
  }

  #unmovedMs(key: string, value: number): number {
    const now = performance.now();
    const last = this.#moved.get(key);
    if (last?.value === value) return now - last.at;
    this.#moved.set(key, { value, at: now });
    return 0;
  }
}

function parkedWords(group: string, lane: string): string {
  const [side = '', partition = ''] = lane.split(' ');
  const other = side === 'live' ? 'shadow' : 'live';
  return `Group ${group}: the comparison is behind in ${partition}: too much of the ${side} side waits for the ${other} side.`;
}

type GroupWatermarks = Record<ObservingSide, Map<string, number>>;

/** An end by the signal is no failure: what was read up to it counts. */
async function unlessEnded<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (signal?.aborted === true) return undefined;
    throw error;
  }
}
