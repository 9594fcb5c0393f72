import type { Contract, FramedRecord, RecordHead, RecordToFrame } from '../contract/index.js';

/**
 * Everything the project asks of OwlMQ, as one interface. `OwlmqClient` speaks the contract of `openapi/owlmq.yaml`
 * over HTTP; nothing else in the project knows a path or a status code of it. Errors are those of `owlmq-errors.ts`.
 *
 * Offsets are safe integers, times are Unix milliseconds.
 */
export interface OwlmqApi {
  /** What the server takes in one request, asked for anew. */
  limits(options?: CallOptions): Promise<Contract['Limits']>;
  /** Creates a topic. Resolves false, changing nothing, when it exists already with that number of partitions. */
  createTopic(topic: string, partitions: number): Promise<boolean>;
  /** Begin and end offset of each partition, by index; undefined when the topic is unknown. */
  describeTopic(topic: string, options?: CallOptions): Promise<TopicDescription | undefined>;
  listTopics(): Promise<TopicDescription[]>;

  /**
   * Writes a batch. Has one result an entry, in the order of the entries. A failed entry fails the later entries
   * of its key in the batch, so that order per key holds. An accepted entry is on disk.
   */
  publish(topic: string, records: OwlmqRecord[], options?: CallOptions): Promise<PublishResult[]>;
  /** Where messages with these idempotency keys are; undefined for those that the topic has not. */
  lookup(topic: string, ids: string[], options?: CallOptions): Promise<(PartitionOffset | undefined)[]>;
  /**
   * Reads a partition from an offset on. Waits up to `waitMs` for a first record.
   *
   * @throws {OwlmqOffsetOutOfRangeError} before the begin offset or past the end.
   */
  read(topic: string, partition: number, offset: number, options?: ReadOptions): Promise<ReadResult>;
  /**
   * As `read`, but of each record only what it takes to compare logs, and the value of one header: much cheaper where
   * records are large. Bounds count whole records.
   */
  readHeads(
    topic: string,
    partition: number,
    offset: number,
    header: string,
    options?: ReadOptions,
  ): Promise<ReadHeadsResult>;
  /** First offset whose record is at or after a time, by partition; the end offset where there is none. */
  offsetsForTime(topic: string, time: number): Promise<number[]>;

  listGroups(): Promise<string[]>;
  /** Undefined when the group is unknown. */
  describeGroup(group: string, options?: CallOptions): Promise<GroupDescription | undefined>;
  /**
   * Sets committed offsets, all or none. Creates the group when it is unknown.
   *
   * @throws {OwlmqGroupNotEmptyError} when the group has members, with their names.
   */
  setGroupOffsets(group: string, offsets: GroupOffset[], options?: CallOptions): Promise<void>;
  /** Joins, or rejoins with a `memberId` after a rebalance was announced. */
  joinGroup(group: string, request: JoinRequest, options?: CallOptions): Promise<Membership>;
  /** Renews the lease. Says when a rebalance is under way: finish, commit, then join again with the member id. */
  heartbeat(group: string, memberId: string, generation: number, options?: CallOptions): Promise<Membership>;
  /**
   * Records of the member's partitions from the given positions on; renews the lease. Waits up to `waitMs` for a
   * first record, and answers at once when a rebalance is announced.
   */
  fetch(group: string, memberId: string, generation: number, options: FetchOptions): Promise<FetchResult>;
  /**
   * Commits next offsets, on disk when it resolves. Accepted during an announced rebalance, refused after it.
   *
   * @throws {OwlmqStaleGenerationError} when the generation is over or the member was removed.
   */
  commit(
    group: string,
    memberId: string,
    generation: number,
    offsets: GroupOffset[],
    options?: CallOptions,
  ): Promise<void>;
  leaveGroup(group: string, memberId: string): Promise<void>;
  close(): Promise<void>;
}

/** A call can be bounded in time (default 10 s over all its attempts) and ended from outside. */
export interface CallOptions {
  timeoutMs?: number;
  signal?: AbortSignal;
  /** Attempts over all, from 1; retries are for 429, 503, other 5xx and broken connections only. */
  attempts?: number;
}

/**
 * A record as written. Keys and values are bytes; null is a value of its own (a tombstone). `id` is its idempotency
 * key: a second write with the same one in the topic is answered with the first one's place. Values of headers are
 * bytes or text.
 */
export type OwlmqRecord = Omit<RecordToFrame, 'offset'>;

/** A record as read. Its bytes are views of the whole answer: copy what is kept for long. */
export interface OwlmqStoredRecord extends FramedRecord {
  offset: number;
}

export type PartitionOffset = Contract['PartitionOffset'];

/** Either a place, or why the entry was not written. */
export type PublishResult = Contract['PublishResult'];

export type TopicDescription = Contract['Topic'];

export interface ReadOptions extends CallOptions {
  maxRecords?: number;
  maxBytes?: number;
  waitMs?: number;
}

export interface ReadResult {
  records: OwlmqStoredRecord[];
  /** End offset of the partition at the time of the answer. */
  endOffset: number;
}

export interface ReadHeadsResult {
  heads: RecordHead[];
  /** End offset of the partition at the time of the answer. */
  endOffset: number;
}

export type GroupOffset = Contract['GroupOffset'];

export type GroupDescription = Contract['Group'];

export type JoinRequest = Omit<Contract['Join'], 'waitMs'>;

/**
 * Where a member stands. `rebalancing`: stop, commit, join again. `stable`: the assignment is its own under this
 * generation, for `leaseMs` from the moment the request was made unless it is renewed.
 */
export type Membership = Contract['Membership'];

export interface FetchOptions extends ReadOptions {
  /** Where to read from, for each assigned partition that the member wants records of. The member keeps its place. */
  positions: GroupOffset[];
}

export interface FetchResult {
  membership: Membership;
  partitions: { topic: string; partition: number; records: OwlmqStoredRecord[]; endOffset: number }[];
}
