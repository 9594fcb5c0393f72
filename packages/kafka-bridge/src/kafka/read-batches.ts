import { compressionsAlgorithmsByBitmask } from '@platformatic/kafka';
import { FetchedRecord, VarintReader } from './fetched-record.js';

/** A partition's share of a fetch answer, as bytes. */
export interface FetchedBatches {
  topic: string;
  partition: number;
  /** The offset that was asked for: a batch is sent whole, and its first records may be before it. */
  from: number;
  bytes: Buffer;
  /** Transactions that were aborted and that the bytes may have records of. */
  aborted: readonly { producerId: bigint; firstOffset: bigint }[];
}

/** Records that this reader cannot take apart. Going on would skip them. */
class RecordFormatError extends Error {
  override readonly name = 'RecordFormatError';
  constructor(topic: string, partition: number, offset: number, what: string, options?: ErrorOptions) {
    super(`Kafka ${topic}/${partition}: the batch at offset ${offset} ${what}.`, options);
  }
}

// Places in a batch, from its begin.
const LENGTH = 8;
const MAGIC = 16;
const ATTRIBUTES = 21;
const LAST_OFFSET_DELTA = 23;
const BASE_TIMESTAMP = 27;
const MAX_TIMESTAMP = 35;
const PRODUCER_ID = 43;
const COUNT = 57;
const RECORDS = 61;
/** Bytes of a batch that its length does not count. */
const HEAD = 12;

const COMPRESSION = 0b111;
const IS_APPEND_TIME = 0b1000;
const IS_TRANSACTIONAL = 0b1_0000;
const IS_CONTROL = 0b10_0000;
/** Type of a control record that ends a transaction by aborting it. */
const ABORT = 0;

/**
 * Takes the records out of whole batches: what is committed, without control records. `nextOffset` is behind all
 * batches, also behind control records, aborted records and what compaction has left out.
 *
 * @throws {RecordFormatError} for batches of another format than the one since Kafka 0.11, or in a compression that is
 *   not supported here.
 */
export function recordsOf(fetched: FetchedBatches): { records: FetchedRecord[]; nextOffset: number } {
  const { topic, partition, from, bytes } = fetched;
  const records: FetchedRecord[] = [];
  const open = new AbortedTransactions(fetched.aborted);
  let nextOffset = from;
  let start = 0;
  while (start + HEAD <= bytes.length) {
    const end = start + HEAD + bytes.readInt32BE(start + LENGTH);
    // The last batch may be cut off by the bound on the answer.
    if (end > bytes.length) break;
    const first = Number(bytes.readBigInt64BE(start));
    const magic = bytes.readInt8(start + MAGIC);
    if (magic !== 2) throw new RecordFormatError(topic, partition, first, `has the format ${magic}; 2 is supported`);
    const attributes = bytes.readInt16BE(start + ATTRIBUTES);
    const last = first + bytes.readInt32BE(start + LAST_OFFSET_DELTA);
    nextOffset = Math.max(nextOffset, last + 1);
    const transactional = (attributes & IS_TRANSACTIONAL) !== 0;
    const producerId = transactional ? bytes.readBigInt64BE(start + PRODUCER_ID) : -1n;
    const body = bytes.subarray(start + RECORDS, end);
    // Also before a control record: it may end a transaction whose records are all before the position.
    const aborted = transactional && open.isAborted(producerId, last);
    if ((attributes & IS_CONTROL) !== 0) {
      if (isAbort(body)) open.end(producerId);
    } else if (!aborted) {
      const appendTime = (attributes & IS_APPEND_TIME) !== 0;
      readRecords(records, {
        ...{ topic, partition, first, from },
        bytes: decompressed(body, attributes & COMPRESSION, topic, partition, first),
        count: bytes.readInt32BE(start + COUNT),
        baseTimestamp: Number(bytes.readBigInt64BE(start + (appendTime ? MAX_TIMESTAMP : BASE_TIMESTAMP))),
        appendTime,
      });
    }
    start = end;
  }
  return { records, nextOffset };
}

interface Batch {
  topic: string;
  partition: number;
  first: number;
  from: number;
  bytes: Buffer;
  count: number;
  baseTimestamp: number;
  appendTime: boolean;
}

function readRecords(records: FetchedRecord[], batch: Batch): void {
  const { topic, partition, first, from, bytes, count, baseTimestamp, appendTime } = batch;
  const reader = new VarintReader(bytes, 0);
  for (let index = 0; index < count; index++) {
    const length = reader.int();
    const end = reader.at + length;
    if (length <= 0 || end > bytes.length) {
      throw new RecordFormatError(topic, partition, first, `is broken at its record ${index}`);
    }
    // Attributes of a record are not in use.
    reader.skip(1);
    const timestampDelta = reader.int();
    const offset = first + reader.int();
    const keyLength = reader.int();
    const keyStart = reader.skip(Math.max(0, keyLength));
    const valueLength = reader.int();
    const valueStart = reader.skip(Math.max(0, valueLength));
    const headersStart = reader.at;
    reader.at = end;
    if (offset < from) continue;
    const timestamp = appendTime ? baseTimestamp : baseTimestamp + timestampDelta;
    records.push(
      new FetchedRecord(topic, partition, offset, timestamp, {
        bytes,
        keyStart,
        keyLength,
        valueStart,
        valueLength,
        headersStart,
        appendTime,
      }),
    );
  }
}

/** A control record's key is a version and a type, 16 bits each. */
function isAbort(body: Buffer): boolean {
  const reader = new VarintReader(body, 0);
  reader.int();
  reader.skip(1);
  reader.int();
  reader.int();
  const keyLength = reader.int();
  return keyLength >= 4 && body.readInt16BE(reader.at + 2) === ABORT;
}

function decompressed(body: Buffer, algorithm: number, topic: string, partition: number, first: number): Buffer {
  if (algorithm === 0) return body;
  try {
    const codec = compressionsAlgorithmsByBitmask[algorithm];
    if (codec === undefined) throw new RangeError(`The compression ${algorithm} is unknown.`);
    return codec.decompressSync(body);
  } catch (error) {
    throw new RecordFormatError(topic, partition, first, 'cannot be decompressed', { cause: error });
  }
}

/** Which producers' records are part of an aborted transaction, batch by batch in the order of the log. */
class AbortedTransactions {
  readonly #starting: { producerId: bigint; firstOffset: number }[];
  readonly #open = new Set<bigint>();

  constructor(aborted: FetchedBatches['aborted']) {
    this.#starting = aborted
      .map(({ producerId, firstOffset }) => ({ producerId, firstOffset: Number(firstOffset) }))
      .sort((one, other) => one.firstOffset - other.firstOffset);
  }

  isAborted(producerId: bigint, offset: number): boolean {
    for (let next = this.#starting[0]; next !== undefined && next.firstOffset <= offset; next = this.#starting[0]) {
      this.#open.add(next.producerId);
      this.#starting.shift();
    }
    return this.#open.has(producerId);
  }

  end(producerId: bigint): void {
    this.#open.delete(producerId);
  }
}
