import { OBSERVATIONS_TOPIC, decodeObservation, type ObservingSide } from '../consumer/observation.js';
import { newInstanceId } from '../members/instance-id.js';
import type { MemberRoster } from '../members/member-roster.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, type PartitionBounds } from '../kafka/log-reader.js';
import {
  ObservationJoiner,
  type ComparisonCheckpoint,
  type ComparisonCounts,
  type DiscrepancySample,
  type JoinerOptions,
} from './comparator.js';

export interface ObservationComparisonOptions extends JoinerOptions {
  connection: KafkaConnection;
  migration: string;
  /** Of the worker; followed by it. */
  roster: MemberRoster;
  /** Of an earlier comparison, to go on behind it. */
  checkpoint?: ComparisonCheckpoint;
}

/** What is known of one group. */
export interface GroupComparison {
  counts: ComparisonCounts;
  /** The newest discrepancies, at most 20. */
  samples: DiscrepancySample[];
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
  /** More observations were unmatched than fit: nothing is judged any more, and the result is inconclusive. */
  overflow: boolean;
  /** Observations that retention took before they were compared: not 0 is inconclusive. */
  expired: number;
  /**
   * Whether the log was read up to what the watermarks speak of, and judged. False when `maxMs` or `signal` ended the
   * step before; a later step of this comparison goes on to the same place first.
   */
  caughtUp: boolean;
  checkpoint: ComparisonCheckpoint;
}

export interface ComparisonStepOptions {
  /** Bound on reading, ms (default: none). One read is made in any case. */
  maxMs?: number;
  signal?: AbortSignal | undefined;
}

/** The observations topic ends before the place that the checkpoint goes on from: it was made anew. */
export class ObservationsReplacedError extends Error {
  override readonly name = 'ObservationsReplacedError';
}

/** A watermark that has not moved for this long is told, ms. */
const STALLED_AFTER_MS = 15_000;
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
  /** Where to read on, by partition of the observations topic. */
  readonly #positions = new Map<number, number>();
  /** When each watermark moved last, on the monotonic clock. */
  readonly #moved = new Map<string, { value: number; at: number }>();
  /** Of a step that did not get there. */
  #goal: Goal | undefined;
  /** Those last judged by. */
  #judged = new Map<string, GroupWatermarks>();

  constructor(options: ObservationComparisonOptions) {
    this.#options = options;
    this.#joiner = new ObservationJoiner(options, options.checkpoint);
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
    await roster.readToEnd();
    const watermarks = this.#watermarks();
    const { signal } = options;
    const bounds = await unlessEnded(this.#reader.bounds(OBSERVATIONS_TOPIC, { signal }), signal);
    const goal = (this.#goal ??=
      bounds === undefined ? undefined : { watermarks, ends: bounds.map(({ endOffset }) => endOffset) });
    const caughtUp = goal !== undefined && bounds !== undefined && (await this.#readTo(goal.ends, bounds, options));
    if (caughtUp) {
      this.#goal = undefined;
      this.#judged = goal.watermarks;
      this.#joiner.judge((group, side, topic, partition) =>
        goal.watermarks.get(group)?.[side].get(`${topic}/${partition}`),
      );
    }
    return {
      groups: Object.fromEntries(groups.map((name) => [name, this.#group(name, watermarks.get(name))])),
      overflow: this.#joiner.overflow,
      expired: this.#joiner.expired,
      caughtUp,
      checkpoint: this.#joiner.checkpoint(),
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
    for (const { report, silentMs } of roster.members(migration)) {
      if (report.role !== 'consumer' || report.state === 'left' || silentMs > report.leaseMs) continue;
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

  /** Reads up to the ends; false when it ended before. */
  async #readTo(
    ends: readonly number[],
    bounds: readonly PartitionBounds[],
    { maxMs, signal }: ComparisonStepOptions,
  ): Promise<boolean> {
    const { migration } = this.#options;
    const deadline = performance.now() + (maxMs ?? Infinity);
    let reads = 0;
    for (const { partition, beginOffset, endOffset } of bounds) {
      let position = this.#positions.get(partition) ?? this.#joiner.startOf(partition);
      if (position < beginOffset) {
        position = beginOffset;
        this.#joiner.truncated(partition, beginOffset);
      }
      if (position > endOffset) {
        throw new ObservationsReplacedError(
          `${OBSERVATIONS_TOPIC}/${partition} ends at ${endOffset}, before ${position}: it was made anew. Start the comparison without a checkpoint.`,
        );
      }
      while (position < (ends[partition] ?? endOffset)) {
        if (signal?.aborted === true || (reads > 0 && performance.now() >= deadline)) return false;
        const wanted = [{ partition, offset: position }];
        const reading = this.#reader.read(OBSERVATIONS_TOPIC, wanted, { maxWaitMs: MAX_WAIT_MS, signal });
        const slice = (await unlessEnded(reading, signal))?.[0];
        if (slice === undefined) return false;
        reads += 1;
        for (const { offset, value } of slice.records) {
          const observation = decodeObservation(value);
          if (observation?.migration === migration) this.#joiner.add(partition, offset, observation);
        }
        position = slice.nextOffset;
        this.#joiner.reached(partition, position);
        this.#positions.set(partition, position);
      }
    }
    return true;
  }

  #group(name: string, watermarks: GroupWatermarks | undefined): GroupComparison {
    const { counts, samples, unmatched } = this.#joiner.result(name);
    const partitions = this.#expectedPartitions(name, watermarks);
    const stalled: string[] = [];
    const compared: (number | undefined)[] = [];
    for (const side of ['live', 'shadow'] as const) {
      const known = watermarks?.[side] ?? new Map<string, number>();
      if (known.size === 0) {
        stalled.push(`Group ${name}: no living member reports how far its ${side} side is.`);
        continue;
      }
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
        }
      }
    }
    const times = compared.filter((time) => time !== undefined);
    const complete = partitions.length > 0 && times.length === 2 * partitions.length;
    return { counts, samples, unmatched, stalled, ...(complete ? { comparedUpTo: Math.min(...times) } : {}) };
  }

  #expectedPartitions(name: string, watermarks: GroupWatermarks | undefined): string[] {
    const started = Object.entries(this.#options.from ?? {}).flatMap(([topic, offsets]) =>
      offsets.map((_, partition) => `${topic}/${partition}`),
    );
    const reported = [...(watermarks?.live.keys() ?? []), ...(watermarks?.shadow.keys() ?? [])];
    return [...new Set([...started, ...reported, ...this.#joiner.observedPartitions(name)])].sort();
  }

  #unmovedMs(key: string, value: number): number {
    const now = performance.now();
    const last = this.#moved.get(key);
    if (last?.value === value) return now - last.at;
    this.#moved.set(key, { value, at: now });
    return 0;
  }
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
