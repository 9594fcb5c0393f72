import { scanBareFrames, setFrameOffset, type Contract, type Frame } from '@owlmq/kafka-bridge/contract';
import type { Limits } from '../limits.js';
import type { Notifier } from '../notifier.js';
import { ProblemError } from '../http/problem.js';
import { baseOffsetOf, idKey, partitionKey, readOffset, segmentKey, writeOffset } from './keys.js';
import type { Store, WriteTurn } from './store.js';

type PublishResult = Contract['PublishResult'];

/** A topic as it is in memory; partitions by index. */
interface TopicState {
  name: string;
  id: number;
  partitions: PartitionState[];
}

interface PartitionState {
  /** Offset that the next record will get; ahead of `endOffset` while writes are on their way to disk. */
  nextOffset: number;
  /** What readers see: everything before it is on disk. */
  endOffset: number;
  /** Greatest timestamp of all records so far, which is what makes a search by time a binary one. */
  maxTimestamp: number;
}

/** Records of one read: bytes of whole frames, without a body's head. */
export interface FrameRun {
  count: number;
  bytes: number;
  slices: Buffer[];
}

interface Segment {
  base: number;
  count: number;
  maxTimestamp: number;
  /** The stored value; frames begin at SEGMENT_HEAD_BYTES. */
  value: Buffer;
}

/** Number of records u32, greatest timestamp of the partition up to the segment's end f64. */
const SEGMENT_HEAD_BYTES = 12;
/** A read takes whole segments from the store, so they must not grow much larger than a read. */
const MAX_SEGMENT_BYTES = 256 * 1024;
const PLACE_BYTES = 12;

/** Event that a long poll on a partition waits for. */
export function partitionEvent(topic: string, partition: number): string {
  return `partition ${topic}/${partition}`;
}

/**
 * Topics and their records. Records are stored as the frames they came in, many to a segment, so neither publishing
 * nor reading takes them apart.
 */
export class TopicLog {
  readonly #topics = new Map<string, TopicState>();
  /** Places of records whose write is under way, by topic id and id. */
  readonly #pendingIds = new Map<string, { partition: number; offset: number }>();

  constructor(
    private readonly store: Store,
    private readonly notifier: Notifier,
    private readonly limits: Limits,
  ) {
    for (const { key, value } of store.topics.getRange({})) {
      const { id, partitions } = JSON.parse(value.toString()) as { id: number; partitions: number };
      const name = key.toString();
      this.#topics.set(name, { name, id, partitions: this.#loadPartitions(id, partitions) });
    }
  }

  /** True when it was created, false when it exists with that number of partitions. */
  create(name: string, partitions: number): Promise<boolean> {
    return this.store.write(0, (turn) => {
      const present = this.#topics.get(name);
      if (present !== undefined) {
        if (present.partitions.length === partitions) return false;
        throw new ProblemError(
          'topic-exists',
          `Topic ${name} exists with ${present.partitions.length} partitions, not ${partitions}`,
        );
      }
      const id = this.#topics.size;
      const fresh = (): PartitionState => ({ nextOffset: 0, endOffset: 0, maxTimestamp: 0 });
      this.#topics.set(name, { name, id, partitions: Array.from({ length: partitions }, fresh) });
      turn.put(this.store.topics, Buffer.from(name), Buffer.from(JSON.stringify({ id, partitions })));
      return true;
    });
  }

  describe(name: string): Contract['Topic'] {
    return describeTopic(this.#topic(name));
  }

  list(): Contract['Topic'][] {
    return [...this.#topics.values()].map(describeTopic).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  partitionCount(name: string): number {
    return this.#topic(name).partitions.length;
  }

  endOffset(name: string, partition: number): number {
    return this.#partition(name, partition).endOffset;
  }

  /** Writes the frames of a publish request's body. The body is the log's from here on. */
  publish(name: string, body: Buffer, frames: Frame[]): Promise<PublishResult[]> {
    const topic = this.#topic(name);
    return this.store.write(body.length, (turn) => this.#append(topic, body, frames, turn));
  }

  lookup(name: string, ids: string[]): (Contract['PartitionOffset'] | null)[] {
    const topic = this.#topic(name);
    return ids.map((id) => {
      const place = this.#storedPlace(topic, Buffer.from(id));
      // What is committed but not yet known to be on disk is not there for readers.
      return place !== undefined && place.offset < (topic.partitions[place.partition]?.endOffset ?? 0) ? place : null;
    });
  }

  /**
   * Records from an offset on: at least one when there is one, then up to the limits.
   *
   * @throws {ProblemError} `offset-out-of-range`
   */
  read(name: string, partition: number, offset: number, maxRecords: number, maxBytes: number): FrameRun {
    const topic = this.#topic(name);
    const { endOffset } = this.#partition(name, partition);
    this.checkOffset(name, partition, offset);
    const run: FrameRun = { count: 0, bytes: 0, slices: [] };
    if (offset === endOffset) return run;
    const first = this.#segmentAt(topic.id, partition, offset);
    const range = {
      start: segmentKey(topic.id, partition, first.base),
      end: segmentKey(topic.id, partition, endOffset),
    };
    for (const { key, value } of this.store.segments.getRange(range)) {
      const segment = readSegment(key, value);
      takeFrames(segment, Math.max(0, offset - segment.base), maxRecords, maxBytes, run);
      if (run.count >= maxRecords || run.bytes >= maxBytes || run.count < segment.base + segment.count - offset) break;
    }
    return run;
  }

  /** @throws {ProblemError} `offset-out-of-range` unless the offset is from begin to end, both included. */
  checkOffset(name: string, partition: number, offset: number): void {
    const { endOffset } = this.#partition(name, partition);
    if (offset <= endOffset) return;
    throw new ProblemError(
      'offset-out-of-range',
      `Offset ${offset} of ${name}/${partition} is past the end, ${endOffset}`,
      {
        topic: name,
        partition,
        beginOffset: 0,
        endOffset,
      },
    );
  }

  offsetsForTime(name: string, time: number): number[] {
    const topic = this.#topic(name);
    return topic.partitions.map(({ endOffset }, partition) =>
      this.#offsetForTime(topic.id, partition, endOffset, time),
    );
  }

  #append(topic: TopicState, body: Buffer, frames: Frame[], turn: WriteTurn): PublishResult[] {
    const blockedKeys = new Set<string>();
    const appended = new Map<number, Frame[]>();
    const pending: string[] = [];
    const results = frames.map((frame): PublishResult => {
      const key = frame.keyStart === -1 ? undefined : body.toString('latin1', frame.keyStart, frame.keyEnd);
      const refused = this.#refusal(topic, frame, key !== undefined && blockedKeys.has(key));
      if (refused !== undefined) {
        if (key !== undefined) blockedKeys.add(key);
        return refused;
      }
      const id = body.subarray(frame.idStart, frame.idEnd);
      const pendingId = `${topic.id}/${id.toString('latin1')}`;
      const earlier = this.#pendingIds.get(pendingId) ?? this.#storedPlace(topic, id);
      if (earlier !== undefined) return { ok: true, ...earlier, duplicate: true };
      const place = this.#assign(topic, body, frame);
      this.#pendingIds.set(pendingId, place);
      pending.push(pendingId);
      turn.put(this.store.ids, idKey(topic.id, id), encodePlace(place));
      const group = appended.get(frame.partition);
      if (group === undefined) appended.set(frame.partition, [frame]);
      else group.push(frame);
      return { ok: true, ...place, duplicate: false };
    });
    for (const [partition, written] of appended) this.#putSegments(topic, partition, body, written, turn);
    turn.onDurable(() => {
      for (const id of pending) this.#pendingIds.delete(id);
      for (const partition of appended.keys()) this.notifier.notify(partitionEvent(topic.name, partition));
    });
    return results;
  }

  #refusal(topic: TopicState, frame: Frame, keyBlocked: boolean): PublishResult | undefined {
    const refuse = (type: Contract['ProblemType'], detail: string, retriable: boolean): PublishResult => ({
      ok: false,
      type,
      detail,
      retriable,
    });
    if (keyBlocked) return refuse('key-blocked', 'An earlier entry of this key failed in this batch', true);
    if (frame.partition >= topic.partitions.length) {
      return refuse(
        'unknown-partition',
        `Topic ${topic.name} has partitions 0 to ${topic.partitions.length - 1}, not ${frame.partition}`,
        false,
      );
    }
    const bytes = frame.end - frame.start;
    if (bytes > this.limits.maxRecordBytes) {
      return refuse('too-large', `The record has ${bytes} bytes; ${this.limits.maxRecordBytes} are allowed`, false);
    }
    return undefined;
  }

  #assign(topic: TopicState, body: Buffer, frame: Frame): { partition: number; offset: number } {
    const offset = this.#partitionOf(topic, frame.partition).nextOffset++;
    setFrameOffset(body, frame, offset);
    return { partition: frame.partition, offset };
  }

  #putSegments(topic: TopicState, partition: number, body: Buffer, frames: Frame[], turn: WriteTurn): void {
    const state = this.#partitionOf(topic, partition);
    let base = state.nextOffset - frames.length;
    for (const chunk of chunks(frames)) {
      const head = Buffer.allocUnsafe(SEGMENT_HEAD_BYTES);
      for (const frame of chunk) state.maxTimestamp = Math.max(state.maxTimestamp, frame.timestamp);
      head.writeUInt32BE(chunk.length, 0);
      head.writeDoubleBE(state.maxTimestamp, 4);
      const value = Buffer.concat([head, ...contiguous(body, chunk)]);
      turn.put(this.store.segments, segmentKey(topic.id, partition, base), value);
      base += chunk.length;
    }
    turn.onDurable(() => {
      state.endOffset = base;
    });
  }

  #storedPlace(topic: TopicState, id: Buffer): { partition: number; offset: number } | undefined {
    if (id.length > 512) return undefined;
    const place = this.store.ids.get(idKey(topic.id, id));
    return place === undefined ? undefined : { partition: place.readUInt32BE(0), offset: readOffset(place, 4) };
  }

  #offsetForTime(topicId: number, partition: number, endOffset: number, time: number): number {
    // The first segment whose running maximum reaches the time holds the first record that does.
    let from = 0;
    let to = endOffset;
    let found: Segment | undefined;
    while (from < to) {
      const segment = this.#segmentAt(topicId, partition, Math.floor((from + to) / 2));
      if (segment.maxTimestamp >= time) {
        found = segment;
        to = segment.base;
      } else {
        from = segment.base + segment.count;
      }
    }
    if (found === undefined) return endOffset;
    const index = scanBareFrames(found.value, SEGMENT_HEAD_BYTES, found.count).findIndex(
      (frame) => frame.timestamp >= time,
    );
    return found.base + index;
  }

  /** The segment that holds an offset, which must be before the end. */
  #segmentAt(topicId: number, partition: number, offset: number): Segment {
    const range = {
      start: segmentKey(topicId, partition, offset),
      end: partitionKey(topicId, partition),
      reverse: true,
      limit: 1,
    };
    for (const { key, value } of this.store.segments.getRange(range)) return readSegment(key, value);
    throw new Error(`The store has no segment for offset ${offset} of topic ${topicId}, partition ${partition}`);
  }

  #loadPartitions(topicId: number, count: number): PartitionState[] {
    return Array.from({ length: count }, (_, partition) => {
      const start = segmentKey(topicId, partition, Number.MAX_SAFE_INTEGER);
      const range = { start, end: partitionKey(topicId, partition), reverse: true, limit: 1 };
      for (const { key, value } of this.store.segments.getRange(range)) {
        const last = readSegment(key, value);
        const end = last.base + last.count;
        return { nextOffset: end, endOffset: end, maxTimestamp: last.maxTimestamp };
      }
      return { nextOffset: 0, endOffset: 0, maxTimestamp: 0 };
    });
  }

  #topic(name: string): TopicState {
    const topic = this.#topics.get(name);
    if (topic === undefined) throw new ProblemError('unknown-topic', `There is no topic ${name}`);
    return topic;
  }

  #partition(name: string, partition: number): PartitionState {
    return this.#partitionOf(this.#topic(name), partition);
  }

  #partitionOf(topic: TopicState, partition: number): PartitionState {
    const state = topic.partitions[partition];
    if (state === undefined) {
      throw new ProblemError(
        'unknown-partition',
        `Topic ${topic.name} has partitions 0 to ${topic.partitions.length - 1}, not ${partition}`,
      );
    }
    return state;
  }
}

function describeTopic({ name, partitions }: TopicState): Contract['Topic'] {
  return { name, partitions: partitions.map(({ endOffset }, partition) => ({ partition, beginOffset: 0, endOffset })) };
}

function encodePlace({ partition, offset }: { partition: number; offset: number }): Buffer {
  const place = Buffer.allocUnsafe(PLACE_BYTES);
  place.writeUInt32BE(partition, 0);
  writeOffset(place, offset, 4);
  return place;
}

function readSegment(key: Buffer, value: Buffer): Segment {
  return { base: baseOffsetOf(key), count: value.readUInt32BE(0), maxTimestamp: value.readDoubleBE(4), value };
}

/** Frames in groups of at most MAX_SEGMENT_BYTES; a frame that is larger stands alone. */
function* chunks(frames: Frame[]): Generator<Frame[]> {
  let chunk: Frame[] = [];
  let bytes = 0;
  for (const frame of frames) {
    const size = frame.end - frame.start;
    if (chunk.length > 0 && bytes + size > MAX_SEGMENT_BYTES) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(frame);
    bytes += size;
  }
  yield chunk;
}

/** The bytes of frames, neighbours in one piece. */
function contiguous(body: Buffer, frames: Frame[]): Buffer[] {
  const pieces: Buffer[] = [];
  let start = -1;
  let end = -1;
  for (const frame of frames) {
    if (frame.start !== end) {
      if (start !== -1) pieces.push(body.subarray(start, end));
      start = frame.start;
    }
    end = frame.end;
  }
  pieces.push(body.subarray(start, end));
  return pieces;
}

/** Adds the frames of a segment from its `skip`th on to a run, within the limits. */
function takeFrames(segment: Segment, skip: number, maxRecords: number, maxBytes: number, run: FrameRun): void {
  const { value, count } = segment;
  let at = SEGMENT_HEAD_BYTES;
  for (let index = 0; index < skip; index++) at += 4 + value.readUInt32BE(at);
  const start = at;
  for (let index = skip; index < count && run.count < maxRecords; index++) {
    const next = at + 4 + value.readUInt32BE(at);
    if (run.count > 0 && run.bytes + (next - at) > maxBytes) break;
    run.bytes += next - at;
    run.count++;
    at = next;
  }
  if (at > start) run.slices.push(value.subarray(start, at));
}
