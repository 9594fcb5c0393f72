import type { TopicOffsets } from '../routing/routing-state.js';
import { AuditCheckpointError } from './audit-errors.js';
import type { MissedMark } from './missed-since.js';

/** What a forward audit counted of a topic since its first start, over all restarts. */
export interface ForwardFigures {
  /** Records of Kafka that the audit has passed, and the bytes of their keys and values. */
  kafka: { messages: number; bytes: number };
  /** Those among them that OwlMQ is proven to hold. */
  owlmq: { messages: number; bytes: number };
  /** Records of the library whose copy was intended and is proven: all of them, where the audit repairs. */
  copied: number;
  /** Records of the library whose copy was not intended (ratio below 1). */
  notCopied: number;
  /** Foreign records: without the library's id, or with the headers of another record. */
  foreign: number;
  /** Those among the foreign that OwlMQ is proven to hold, copied by the bridge. */
  forwarded: number;
  /** Intended copies of the library's records that OwlMQ did not have after the grace. */
  missing: number;
  /** Those among the missing that the audit wrote; the others arrived while it tried. */
  repaired: number;
  /** Copies behind a copy of a later record of their key, as far as can be told in bounded memory. */
  inversions: number;
  /** Records of a message that another record of Kafka holds too. */
  duplicates: number;
  /** Copies that are in another partition than their record. */
  misplaced: number;
}

/** What a mirror audit counted of a topic since its first start, over all restarts. */
export interface MirrorFigures {
  /** OwlMQ records that the audit has passed, and the bytes of their keys and values. */
  owlmq: { messages: number; bytes: number };
  /** Kafka records that it has passed. */
  kafka: { messages: number; bytes: number };
  /** OwlMQ records that came from Kafka and need no copy there. */
  fromKafka: number;
  /** OwlMQ records that have their copy in Kafka. */
  copied: number;
  /** Records of the library whose copy was not on the other leg after the grace, either way. */
  missing: number;
  /** Those among the missing that the audit wrote. */
  repaired: number;
  /** Those among the missing that were in Kafka alone: of a publisher that missed the cutover. */
  late: number;
  /** Foreign records of Kafka: without the library's id, or with the headers of another record. */
  foreign: number;
  /** Those among the foreign that are on OwlMQ, copied by the bridge. */
  forwarded: number;
  /** Kafka records that hold a message a second time, as far as can be told in bounded memory. */
  duplicates: number;
}

const VERSION = 1;

/** How long records were missed, by topic and partition: see `MissedSince`. */
type Missed = Record<string, MissedMark[][]>;

/** All that a later `ForwardAudit` needs to go on. Safe as JSON. */
export interface ForwardCheckpoint {
  /** Absent in checkpoints from before there were versions. */
  version?: number;
  /** Next Kafka offset to check: everything before it is proven, since the first start. */
  positions: TopicOffsets;
  /** Kafka offset from which on every record up to `positions` has its copy on OwlMQ. */
  coverage: TopicOffsets;
  /** How long records from the positions on have been missed, where some are. */
  missed?: Missed;
  figures: Record<string, ForwardFigures>;
}

/** All that a later `MirrorAudit` needs to go on. Safe as JSON. */
export interface MirrorCheckpoint {
  /** Absent in checkpoints from before there were versions. */
  version?: number;
  /** Next OwlMQ offset to check: everything before it is in Kafka. */
  owlmq: TopicOffsets;
  /** Where to read Kafka on: everything before it is on OwlMQ, and no copy before it is waited for. */
  kafka: TopicOffsets;
  /** How long OwlMQ records from the positions on have been missed in Kafka, where some are. */
  missed?: Missed;
  figures: Record<string, MirrorFigures>;
}

/**
 * A checkpoint of its own to go on from, with what older ones lack filled in.
 *
 * @throws {AuditCheckpointError} when a later version wrote it.
 */
export function openForwardCheckpoint(checkpoint: ForwardCheckpoint, topics: readonly string[]): ForwardCheckpoint {
  const opened = open(checkpoint);
  for (const topic of topics) opened.figures[topic] = { ...noForwardFigures(), ...opened.figures[topic] };
  return opened;
}

/** The same for a mirror audit. */
export function openMirrorCheckpoint(checkpoint: MirrorCheckpoint, topics: readonly string[]): MirrorCheckpoint {
  const opened = open(checkpoint);
  for (const topic of topics) opened.figures[topic] = { ...noMirrorFigures(), ...opened.figures[topic] };
  return opened;
}

/**
 * Shares the work of one forward audit between several that see to different partitions: one checkpoint for each. The
 * figures so far go to the first, so that `mergeForwardCheckpoints` counts them once.
 */
export function splitForwardCheckpoint(checkpoint: ForwardCheckpoint, parts: number): ForwardCheckpoint[] {
  return split(checkpoint, parts);
}

/** The same for a mirror audit. */
export function splitMirrorCheckpoint(checkpoint: MirrorCheckpoint, parts: number): MirrorCheckpoint[] {
  return split(checkpoint, parts);
}

/**
 * One checkpoint of those of several audits that share topics between them: of each partition the highest position, of
 * each figure the sum. Figures that several of them have from before are counted several times: see
 * `splitForwardCheckpoint`.
 */
export function mergeForwardCheckpoints(parts: readonly ForwardCheckpoint[]): ForwardCheckpoint {
  return {
    version: VERSION,
    positions: highest(parts.map(({ positions }) => positions)),
    coverage: highest(parts.map(({ coverage }) => coverage)),
    ...mergedMissed(parts.map(({ positions, missed }) => ({ positions, missed }))),
    figures: summed(parts.map(({ figures }) => figures)),
  };
}

/** The same of mirror audits. */
export function mergeMirrorCheckpoints(parts: readonly MirrorCheckpoint[]): MirrorCheckpoint {
  return {
    version: VERSION,
    owlmq: highest(parts.map(({ owlmq }) => owlmq)),
    kafka: highest(parts.map(({ kafka }) => kafka)),
    ...mergedMissed(parts.map(({ owlmq, missed }) => ({ positions: owlmq, missed }))),
    figures: summed(parts.map(({ figures }) => figures)),
  };
}

function open<T extends { version?: number }>(checkpoint: T): T {
  const { version } = checkpoint;
  if (version !== undefined && version > VERSION) throw new AuditCheckpointError(version, VERSION);
  const opened: T = { ...checkpoint, version: VERSION };
  // Field by field: a clone of the whole would keep two that share an object one object.
  for (const name of Object.keys(opened) as (keyof T)[]) opened[name] = structuredClone(opened[name]);
  return opened;
}

function split<T extends { figures: object }>(checkpoint: T, parts: number): T[] {
  return Array.from({ length: parts }, (_, part) =>
    structuredClone(part === 0 ? checkpoint : { ...checkpoint, figures: {} }),
  );
}

function highest(parts: readonly TopicOffsets[]): TopicOffsets {
  const merged: TopicOffsets = {};
  for (const part of parts) {
    for (const [topic, offsets] of Object.entries(part)) {
      const known = (merged[topic] ??= []);
      for (const [partition, offset] of offsets.entries()) {
        known[partition] = Math.max(known[partition] ?? 0, offset);
      }
    }
  }
  return merged;
}

/** Of each partition what the part says that got furthest, or else has missed the longest: that is its owner. */
function mergedMissed(parts: readonly { positions: TopicOffsets; missed: Missed | undefined }[]): { missed?: Missed } {
  const merged: Missed = {};
  for (const [topic, offsets] of Object.entries(highest(parts.map(({ positions }) => positions)))) {
    const known = offsets.map((offset, partition) => {
      const owners = parts.filter(({ positions }) => (positions[topic]?.[partition] ?? 0) === offset);
      const marks = owners.map(({ missed }) => missed?.[topic]?.[partition] ?? []);
      return marks.reduce((one, other) => ((other[0]?.ms ?? -1) > (one[0]?.ms ?? -1) ? other : one), []);
    });
    if (known.some((marks) => marks.length > 0)) merged[topic] = known;
  }
  return Object.keys(merged).length === 0 ? {} : { missed: merged };
}

type Figures = Record<string, number | Record<string, number>>;

function summed<T extends object>(parts: readonly Record<string, T>[]): Record<string, T> {
  const merged: Record<string, T> = {};
  for (const part of parts) {
    for (const [topic, figures] of Object.entries(part)) {
      const known = merged[topic];
      merged[topic] = known === undefined ? structuredClone(figures) : (sum(known, figures) as T);
    }
  }
  return merged;
}

function sum(one: object, other: object): Figures {
  const total = { ...one } as Figures;
  for (const [name, value] of Object.entries(other as Figures)) {
    const known = total[name];
    if (typeof value === 'number') total[name] = value + (typeof known === 'number' ? known : 0);
    else total[name] = sum(typeof known === 'object' ? known : {}, value) as Record<string, number>;
  }
  return total;
}

export function noForwardFigures(): ForwardFigures {
  return {
    kafka: { messages: 0, bytes: 0 },
    owlmq: { messages: 0, bytes: 0 },
    copied: 0,
    notCopied: 0,
    foreign: 0,
    forwarded: 0,
    missing: 0,
    repaired: 0,
    inversions: 0,
    duplicates: 0,
    misplaced: 0,
  };
}

export function noMirrorFigures(): MirrorFigures {
  return {
    owlmq: { messages: 0, bytes: 0 },
    kafka: { messages: 0, bytes: 0 },
    fromKafka: 0,
    copied: 0,
    missing: 0,
    repaired: 0,
    late: 0,
    foreign: 0,
    forwarded: 0,
    duplicates: 0,
  };
}
