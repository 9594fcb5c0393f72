import { backoffMs } from '../async/bounded.js';
import { rootMessages } from '../async/causes.js';
import type { ForwardCheckpoint, MirrorCheckpoint } from '../audit/checkpoints.js';
import { eachLimited } from '../audit/each-limited.js';
import { throwAll } from '../audit/audit-errors.js';
import { ownedPartitions } from '../audit/partitions.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { sendKeyed } from '../kafka/keyed-records.js';
import { LogReader, UnknownTopicError, type LogCallOptions } from '../kafka/log-reader.js';
import { ReplaceableProducer } from '../kafka/replaceable-producer.js';
import { HEADER } from '../message/headers.js';
import { OwlmqNotFoundError, OwlmqOffsetOutOfRangeError } from '../owlmq/owlmq-errors.js';
import type { CallOptions, OwlmqApi } from '../owlmq/owlmq-api.js';
import { partitionsInOrder } from '../owlmq/partitions-in-order.js';
import { ensureBridgeTopics } from '../routing/bridge-topics.js';
import type { TopicOffsets } from '../routing/routing-state.js';
import { RoutingWriter } from '../routing/routing-writer.js';
import { withSync, type OffsetSyncs, type Sync } from './offset-syncs.js';
import { decodeSyncRecord, syncKey, SYNCS_TOPIC, type SyncRecord } from './sync-record.js';

export interface OffsetSyncWriterOptions {
  connection: KafkaConnection;
  owlmq: OwlmqApi;
  clientId: string;
  /** Whose connections routing states are read by; its own without. */
  routing?: Pick<RoutingWriter, 'readAll'> | undefined;
  topics: readonly string[];
  /** The partitions that the audit sees to, by topic; all of a topic that is not named. */
  partitions?: Readonly<Record<string, readonly number[]>> | undefined;
  /** Whose right it is to make the topic anew, should it be gone. */
  role: 'worker' | 'audit';
  /** Told of each note that failed. */
  onError: (error: Error) => void;
}

/** What an audit knows of positions could not be noted: translations read more than they would have to. */
class SyncsNotNotedError extends Error {
  override readonly name = 'SyncsNotNotedError';
}

const NOTE_EVERY_MS = 5_000;
/** Of many partitions it is noted less often: what stands in the topic is read whole by a translation. */
const NOTE_PARTITION_EVERY_MS = 50;
const LONGEST_PAUSE_MS = 60_000;
const WRITE_TIMEOUT_MS = 5_000;
const CALL_TIMEOUT_MS = 2_000;
const RETRY_FOR_MS = 2_000;
/** The record by which a log is known again must not be older than its retention. */
const KNOWN_FOR_MS = 60_000;
const AT_ONCE = 8;

/** Where a partition ends on both legs. */
interface PartitionEnds {
  topic: string;
  partition: number;
  owlmqEnd: number;
  kafkaEnd: number;
}

/** What an audit adds to what is known of a partition. */
interface Note extends PartitionEnds {
  owlmqToKafka?: Sync;
  kafkaToOwlmq: Sync;
  /** Where what it tells of coverage begins: before it the audit has not looked, or not every record was copied. */
  coveredFrom: number;
  owlmqFirst: boolean;
  /** Kafka has messages twice: retention may take the first one, and then the second lies behind any place. */
  repeats: boolean;
}

/** Offsets at which a topic ended, by partition. OwlMQ's were looked up first. */
interface Ends {
  topic: string;
  owlmq: number[];
  kafka: number[];
}

/**
 * Notes, beside an audit, what its progress says of positions on both legs, where translations find it. What one audit
 * notes of a partition another one may overwrite: then less is known, and nothing wrong.
 */
export class OffsetSyncWriter {
  readonly #options: OffsetSyncWriterOptions;
  readonly #reader: LogReader;
  readonly #routing: Pick<RoutingWriter, 'readAll'>;
  #ownRouting: RoutingWriter | undefined;
  readonly #producer: ReplaceableProducer;
  readonly #knownSince = new Map<string, number>();
  #records: Map<string, SyncRecord> | undefined;
  #due = performance.now() + NOTE_EVERY_MS;
  #failures = 0;

  constructor(options: OffsetSyncWriterOptions) {
    this.#options = options;
    this.#reader = new LogReader(options.connection, { clientId: options.clientId, retryForMs: RETRY_FOR_MS });
    if (options.routing === undefined) this.#routing = this.#ownRouting = new RoutingWriter(options);
    else this.#routing = options.routing;
    this.#producer = new ReplaceableProducer(options);
  }

  /**
   * Notes, when that is due, what the audit from Kafka to OwlMQ has proven. Never rejects, and is bounded in time.
   *
   * Not for audits that pass missing copies: those may come later, behind any place that is noted here.
   *
   * @param options `last`: nothing comes after it, and it is noted now.
   */
  async forward(checkpoint: ForwardCheckpoint, { last = false } = {}): Promise<void> {
    await this.#whenDue(last, async () => {
      const ends = await this.#ends();
      // After the ends: if nobody writes to OwlMQ first now, nobody has since they were looked up.
      const owlmqFirst = await this.#owlmqFirst();
      return this.#notesOf(ends, ({ topic, partition, owlmqEnd, kafkaEnd }) => {
        const { misplaced = 0, duplicates = 0 } = checkpoint.figures[topic] ?? {};
        const position = checkpoint.positions[topic]?.[partition];
        // Copies in another partition are in the way of any order.
        if (misplaced > 0 || position === undefined) return undefined;
        const fromKafkaAlone =
          !owlmqFirst.has(topic) && this.#records?.get(syncKey({ topic, partition }))?.owlmqFirst !== true;
        return {
          ...(fromKafkaAlone ? { owlmqToKafka: [owlmqEnd, kafkaEnd] } : {}),
          kafkaToOwlmq: [position, owlmqEnd],
          coveredFrom: checkpoint.coverage[topic]?.[partition] ?? position,
          owlmqFirst: !fromKafkaAlone,
          repeats: duplicates > 0,
        };
      });
    });
  }

  /**
   * The same of an audit both ways.
   *
   * @param options `from`: Kafka offsets at which it began.
   */
  async mirror(
    checkpoint: MirrorCheckpoint,
    { from, last = false }: { from: TopicOffsets; last?: boolean },
  ): Promise<void> {
    await this.#whenDue(last, async () =>
      this.#notesOf(await this.#ends(), ({ topic, partition, owlmqEnd, kafkaEnd }) => {
        const owlmqProven = checkpoint.owlmq[topic]?.[partition];
        const kafkaProven = checkpoint.kafka[topic]?.[partition];
        if (owlmqProven === undefined || kafkaProven === undefined) return undefined;
        return {
          owlmqToKafka: [owlmqProven, kafkaEnd],
          kafkaToOwlmq: [kafkaProven, owlmqEnd],
          coveredFrom: from[topic]?.[partition] ?? kafkaProven,
          owlmqFirst: true,
          repeats: (checkpoint.figures[topic]?.duplicates ?? 0) > 0,
        };
      }),
    );
  }

  async close(): Promise<void> {
    await Promise.all([this.#reader.close(), this.#ownRouting?.close(), this.#producer.close()]);
  }

  async #whenDue(last: boolean, look: () => Promise<Note[]>): Promise<void> {
    if (performance.now() < this.#due && !last) return;
    const { connection, clientId, role } = this.#options;
    try {
      // Somebody may have deleted the topic.
      if (this.#failures > 0) await ensureBridgeTopics(connection, clientId, role);
      this.#records ??= await this.#standing();
      const notes = await look();
      await this.#write(await this.#noted(notes));
      this.#failures = 0;
      this.#due = performance.now() + Math.max(NOTE_EVERY_MS, notes.length * NOTE_PARTITION_EVERY_MS);
    } catch (error) {
      this.#producer.abandon();
      this.#due = performance.now() + backoffMs(this.#failures, NOTE_EVERY_MS, LONGEST_PAUSE_MS);
      this.#failures += 1;
      const problem = `What is known of positions on both legs cannot be written to ${SYNCS_TOPIC}: ${rootMessages(error).join('; ')}`;
      this.#options.onError(new SyncsNotNotedError(problem, { cause: error }));
    }
  }

  async #ends(): Promise<Ends[]> {
    const { owlmq, topics } = this.#options;
    const ends: Ends[] = [];
    for (const topic of topics) {
      const described = await owlmq.describeTopic(topic, { timeoutMs: CALL_TIMEOUT_MS });
      // Not the last stable offsets: records behind an open transaction are copied while it hides them.
      const kafka = await this.#reader.highWatermarks(topic);
      if (described?.partitions.length !== kafka.length) continue;
      ends.push({ topic, kafka, owlmq: partitionsInOrder(described).map(({ endOffset }) => endOffset) });
    }
    return ends;
  }

  /** What is to be noted of the audit's partitions. */
  #notesOf(ends: readonly Ends[], look: (at: PartitionEnds) => Omit<Note, keyof PartitionEnds> | undefined): Note[] {
    return ends.flatMap(({ topic, owlmq, kafka }) =>
      ownedPartitions(topic, kafka.length, this.#options.partitions).flatMap((partition): Note[] => {
        const [owlmqEnd, kafkaEnd] = [owlmq[partition], kafka[partition]];
        if (owlmqEnd === undefined || kafkaEnd === undefined) return [];
        const at = { topic, partition, owlmqEnd, kafkaEnd };
        const note = look(at);
        return note === undefined ? [] : [{ ...at, ...note }];
      }),
    );
  }

  /** Topics that are written to OwlMQ first now. */
  async #owlmqFirst(): Promise<Set<string>> {
    try {
      const states = await this.#routing.readAll();
      return new Set(states.filter(({ primary }) => primary === 'owlmq').flatMap(({ topics }) => topics));
    } catch (error) {
      // Without a routing topic there is no migration, and publishers write to Kafka first.
      if (error instanceof UnknownTopicError) return new Set();
      throw error;
    }
  }

  /** What stands of the own topics, and is of these logs. */
  async #standing(): Promise<Map<string, SyncRecord>> {
    const { owlmq, topics } = this.#options;
    const records = await readRecords(this.#reader, topics, {});
    const standing = await ofTheseLogs(this.#reader, owlmq, records, { timeoutMs: CALL_TIMEOUT_MS });
    return new Map(standing.map((record) => [syncKey(record), record]));
  }

  async #noted(notes: readonly Note[]): Promise<SyncRecord[]> {
    const topicIds = new Map<string, string>();
    for (const topic of new Set(notes.map((note) => note.topic)))
      topicIds.set(topic, await this.#reader.topicId(topic));
    const changed: SyncRecord[] = [];
    const errors = await eachLimited(notes, AT_ONCE, async (note) => {
      const { topic, partition } = note;
      const topicId = topicIds.get(topic) ?? '';
      const standing = this.#records?.get(syncKey(note));
      const isOfThisLog = standing?.topicId === topicId && (standing.known?.offset ?? -1) < note.owlmqEnd;
      const before = isOfThisLog ? standing : undefined;
      const known = await this.#known(note, before);
      const syncs: OffsetSyncs = {
        owlmqToKafka: note.repeats ? [] : withNote(before?.syncs.owlmqToKafka, note.owlmqToKafka),
        kafkaToOwlmq: withNote(before?.syncs.kafkaToOwlmq, note.kafkaToOwlmq),
        coveredFrom: coveredFrom(note, before?.syncs),
      };
      const record: SyncRecord = {
        version: 1,
        topic,
        partition,
        topicId,
        ...(known === undefined ? {} : { known }),
        owlmqFirst: note.owlmqFirst || before?.owlmqFirst === true,
        syncs,
        at: new Date().toISOString(),
      };
      if (before !== undefined && JSON.stringify({ ...before, at: '' }) === JSON.stringify({ ...record, at: '' }))
        return;
      changed.push(record);
    });
    throwAll(errors, 'The look at the legs');
    return changed;
  }

  /** The last record of OwlMQ, or the one that was noted before, if that is not long ago. */
  async #known({ topic, partition, owlmqEnd }: Note, before: SyncRecord | undefined): Promise<SyncRecord['known']> {
    const key = syncKey({ topic, partition });
    const since = this.#knownSince.get(key) ?? -Infinity;
    if (owlmqEnd === 0) return undefined;
    if (before?.known !== undefined && performance.now() - since < KNOWN_FOR_MS) return before.known;
    const head = await headAt(this.#options.owlmq, topic, partition, owlmqEnd - 1, { timeoutMs: CALL_TIMEOUT_MS });
    this.#knownSince.set(key, performance.now());
    return head === undefined ? undefined : { offset: head.offset, id: head.id };
  }

  async #write(records: readonly SyncRecord[]): Promise<void> {
    const keyed = records.map((record) => ({ key: syncKey(record), value: JSON.stringify(record) }));
    await sendKeyed(this.#producer, SYNCS_TOPIC, keyed, WRITE_TIMEOUT_MS);
    for (const record of records) this.#records?.set(syncKey(record), record);
  }
}

/**
 * What audits have noted of topics, by topic and partition, where it is of the logs that both legs have now. Empty where
 * no audit has noted anything.
 *
 * @throws {LogUnavailableError}
 */
export async function readOffsetSyncs(
  reader: LogReader,
  owlmq: OwlmqApi,
  topics: readonly string[],
  call: LogCallOptions = {},
): Promise<Record<string, (OffsetSyncs | undefined)[]>> {
  const { signal } = call;
  const records = await readRecords(reader, topics, call);
  const syncs: Record<string, (OffsetSyncs | undefined)[]> = {};
  for (const record of await ofTheseLogs(reader, owlmq, records, signal === undefined ? {} : { signal })) {
    (syncs[record.topic] ??= [])[record.partition] = record.syncs;
  }
  return syncs;
}

async function readRecords(reader: LogReader, topics: readonly string[], call: LogCallOptions): Promise<SyncRecord[]> {
  const found = new Map<string, SyncRecord>();
  try {
    for await (const { value } of reader.readToEnd(SYNCS_TOPIC, 0, 'begin', call)) {
      const record = decodeSyncRecord(value);
      if (record !== undefined && topics.includes(record.topic)) found.set(syncKey(record), record);
    }
  } catch (error) {
    if (!(error instanceof UnknownTopicError)) throw error;
  }
  return [...found.values()];
}

/** Those of topics and logs that were not made anew since, as far as their marks tell. */
async function ofTheseLogs(
  reader: LogReader,
  owlmq: OwlmqApi,
  records: readonly SyncRecord[],
  call: CallOptions,
): Promise<SyncRecord[]> {
  const topicIds = new Map<string, string | undefined>();
  const ends = new Map<string, number[] | undefined>();
  for (const topic of new Set(records.map((record) => record.topic))) {
    topicIds.set(topic, await reader.topicId(topic).catch(unlessUnknown));
    ends.set(topic, await reader.highWatermarks(topic).catch(unlessUnknown));
  }
  const standing: SyncRecord[] = [];
  const errors = await eachLimited(records, AT_ONCE, async (record) => {
    const { topic, partition, known, syncs } = record;
    if (known === undefined || topicIds.get(topic) !== record.topicId) return;
    // A log that was cut off gives offsets anew.
    if ((syncs.kafkaToOwlmq.at(-1)?.[0] ?? 0) > (ends.get(topic)?.[partition] ?? 0)) return;
    const head = await headAt(owlmq, topic, partition, known.offset, call);
    if (head?.id === known.id) standing.push(record);
  });
  throwAll(errors, 'The look at OwlMQ');
  return standing;
}

async function headAt(
  owlmq: OwlmqApi,
  topic: string,
  partition: number,
  offset: number,
  call: CallOptions,
): Promise<{ offset: number; id: string } | undefined> {
  try {
    const { heads } = await owlmq.readHeads(topic, partition, offset, HEADER.source, { ...call, maxRecords: 1 });
    return heads.find((head) => head.offset === offset);
  } catch (error) {
    if (error instanceof OwlmqOffsetOutOfRangeError || error instanceof OwlmqNotFoundError) return undefined;
    throw error;
  }
}

/** From where on all has its copy up to the last place that is known, which may be the note's or the one before. */
function coveredFrom({ kafkaToOwlmq: [position], coveredFrom: noted }: Note, before?: OffsetSyncs): number {
  if (before === undefined) return noted;
  const known = before.kafkaToOwlmq.at(-1)?.[0] ?? 0;
  if (noted <= known && before.coveredFrom <= position) return Math.min(noted, before.coveredFrom);
  // Of what lies between them nothing is known.
  return position < known ? before.coveredFrom : noted;
}

function withNote(syncs: readonly Sync[] = [], note: Sync | undefined): Sync[] {
  return note === undefined ? [...syncs] : withSync(syncs, note);
}

function unlessUnknown(error: unknown): undefined {
  if (!(error instanceof UnknownTopicError)) throw error;
  return undefined;
}
