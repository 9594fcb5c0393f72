import type { RecordHead } from '../contract/index.js';
import type { FetchedRecord } from '../kafka/fetched-record.js';
import { HEADER, parsePosition } from '../message/headers.js';
import type { OwlmqApi, PartitionOffset } from '../owlmq/owlmq-api.js';
import { lookupAll } from './owlmq-copies.js';
import { asMessage, asStoredMessage, isSameMessage } from './same-message.js';

/** A Kafka record, and the id that its copy on OwlMQ has. */
export interface Wanted {
  record: FetchedRecord;
  id: string;
}

/**
 * Where a record's message is on OwlMQ, and as what. `copy`: of this record. `duplicate`: of another record of Kafka
 * that holds the same message. `other`: OwlMQ has another message under the id, which this record has borrowed.
 */
export interface Found extends PartitionOffset {
  as: 'copy' | 'duplicate' | 'other';
}

/** Copies that were read ahead of their records; also the most that one search holds. */
const MAX_AHEAD = 20_000;
const PAGE_RECORDS = 4_000;
const PAGE_BYTES = 4 * 1024 * 1024;
/** What may be read of OwlMQ for a page of Kafka before the rest is looked up by id. */
const READ_AT_LEAST = 8_000;
const READ_PER_RECORD = 4;
const SEEK_IDS = 200;
const VERIFY_PAGE = 500;
const COMPARE_PAGE = 100;

/**
 * Finds the copies of one Kafka partition's records on OwlMQ. Copies lie there in about Kafka's order and name their
 * record, so both logs are read side by side and joined, which is a fraction of the cost of look-ups. What the join does
 * not find nearby is looked up by its id.
 *
 * A copy that is found is proven: OwlMQ has handed it out, with the record's place and id.
 */
export class CopyFinder {
  readonly #owlmq: OwlmqApi;
  readonly #topic: string;
  readonly #partition: number;
  /** Copies that were read, by the Kafka offset they name. */
  readonly #copies = new Map<number, { id: string; offset: number }>();
  /** Next OwlMQ offset to read; undefined until it is known where copies are. */
  #next: number | undefined;

  constructor(owlmq: OwlmqApi, topic: string, partition: number) {
    this.#owlmq = owlmq;
    this.#topic = topic;
    this.#partition = partition;
  }

  /** Takes records in the order of Kafka; has an entry for each that OwlMQ has, by Kafka offset. */
  async find(wanted: readonly Wanted[], signal?: AbortSignal): Promise<Map<number, Found>> {
    const found = new Map<number, Found>();
    if (wanted.length === 0) return found;
    this.#next ??= await this.#seek(wanted, signal);
    let open = this.#take(wanted, found);
    const first = wanted[0]?.record.offset ?? 0;
    const last = wanted.at(-1)?.record.offset ?? 0;
    let budget = Math.max(READ_AT_LEAST, wanted.length * READ_PER_RECORD);
    while (open.length > 0 && this.#next !== undefined && budget > 0 && this.#copies.size < MAX_AHEAD) {
      const { heads, endOffset } = await this.#read(this.#partition, this.#next, PAGE_RECORDS, signal);
      let lowest = Number.POSITIVE_INFINITY;
      for (const { id, offset, header } of heads) {
        const source = parsePosition(header);
        if (source?.leg !== 'kafka' || source.partition !== this.#partition || source.offset < first) continue;
        lowest = Math.min(lowest, source.offset);
        this.#copies.set(source.offset, { id, offset });
      }
      budget -= heads.length;
      this.#next = (heads.at(-1)?.offset ?? this.#next - 1) + 1;
      open = this.#take(open, found);
      // All of the page's copies are of later records: what is still open is somewhere else.
      if (heads.length === 0 || this.#next >= endOffset || lowest > last) break;
    }
    // Copies are elsewhere than expected: look again where the next page's are.
    if (budget <= 0) this.#next = undefined;
    for (const [offset, copy] of await this.lookUp(open, signal)) found.set(offset, copy);
    return found;
  }

  /** As `find`, in any order and by id alone. */
  async lookUp(wanted: readonly Wanted[], signal?: AbortSignal): Promise<Map<number, Found>> {
    const found = new Map<number, Found>();
    if (wanted.length === 0) return found;
    const places = await lookupAll(
      this.#owlmq,
      this.#topic,
      wanted.map(({ id }) => id),
      signal,
    );
    const heads = new Pages(async (partition, offset) => {
      return (await this.#read(partition, offset, VERIFY_PAGE, signal)).heads;
    });
    const records = new Pages(async (partition, offset) => {
      const call = { maxRecords: COMPARE_PAGE, ...(signal === undefined ? {} : { signal }) };
      return (await this.#owlmq.read(this.#topic, partition, offset, call)).records;
    });
    const placed = wanted.flatMap(({ record, id }) => {
      const place = places.get(id);
      return place === undefined ? [] : [{ record, place }];
    });
    // In OwlMQ's order, so that a page serves its neighbours.
    placed.sort((one, other) => one.place.offset - other.place.offset);
    for (const { record, place } of placed) {
      const source = parsePosition((await heads.at(place)).header);
      const isOwn = source?.leg === 'kafka' && source.partition === record.partition && source.offset === record.offset;
      let as: Found['as'] = 'copy';
      if (!isOwn && !isSameMessage(asMessage(record), asStoredMessage(await records.at(place)))) as = 'other';
      else if (!isOwn && source !== undefined) as = 'duplicate';
      found.set(record.offset, { ...place, as });
    }
    return found;
  }

  /** Forgets what is before a position of Kafka. */
  pass(position: number): void {
    for (const offset of this.#copies.keys()) if (offset < position) this.#copies.delete(offset);
  }

  /** Gives up what it holds, to be read again when it goes on. */
  rest(): void {
    for (const { offset } of this.#copies.values()) this.#next = Math.min(this.#next ?? offset, offset);
    this.#copies.clear();
  }

  /** Where the first of the wanted copies are, so that reading begins there. */
  async #seek(wanted: readonly Wanted[], signal: AbortSignal | undefined): Promise<number | undefined> {
    const ids = wanted.slice(0, SEEK_IDS).map(({ id }) => id);
    const places = [...(await lookupAll(this.#owlmq, this.#topic, ids, signal)).values()];
    const offsets = places.filter(({ partition }) => partition === this.#partition).map(({ offset }) => offset);
    // Not the least: that may be the place of an old message that was published again.
    return offsets.sort((one, other) => one - other)[Math.floor(offsets.length / 4)];
  }

  /** Notes those whose copy was read, and gives back the others. */
  #take(wanted: readonly Wanted[], found: Map<number, Found>): readonly Wanted[] {
    return wanted.filter(({ record, id }) => {
      const copy = this.#copies.get(record.offset);
      if (copy?.id !== id) return true;
      found.set(record.offset, { partition: this.#partition, offset: copy.offset, as: 'copy' });
      return false;
    });
  }

  #read(
    partition: number,
    offset: number,
    maxRecords: number,
    signal: AbortSignal | undefined,
  ): Promise<{ heads: RecordHead[]; endOffset: number }> {
    return this.#owlmq.readHeads(this.#topic, partition, offset, HEADER.source, {
      maxRecords,
      maxBytes: PAGE_BYTES,
      ...(signal === undefined ? {} : { signal }),
    });
  }
}

/** What is at given places of OwlMQ, read by the page. */
class Pages<T extends { offset: number }> {
  #partition = -1;
  #page = new Map<number, T>();

  constructor(private readonly read: (partition: number, offset: number) => Promise<readonly T[]>) {}

  async at({ partition, offset }: PartitionOffset): Promise<T> {
    if (partition !== this.#partition || !this.#page.has(offset)) {
      this.#partition = partition;
      this.#page = new Map((await this.read(partition, offset)).map((one) => [one.offset, one]));
    }
    const one = this.#page.get(offset);
    if (one === undefined) throw new Error(`OwlMQ names a record at ${partition}/${offset} and does not hand it out.`);
    return one;
  }
}
