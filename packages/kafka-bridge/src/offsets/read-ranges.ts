/** Consecutive records of a log, and where they end: behind offsets without a record too. */
export interface LogPage<T> {
  records: T[];
  /** Offset to read on from. */
  next: number;
}

interface Range<T> {
  from: number;
  to: number;
  records: T[];
}

/** A log's records by offset, of which every stretch is read once, however many ask for it. */
export class ReadRanges<T extends { offset: number }> {
  readonly #read: (from: number, to: number) => AsyncIterable<LogPage<T>>;
  /** By their begin; they do not overlap. */
  readonly #ranges: Range<T>[] = [];

  /** @param read reads the records of a stretch, `to` exclusive, page by page. */
  constructor(read: (from: number, to: number) => AsyncIterable<LogPage<T>>) {
    this.#read = read;
  }

  /** Number of records that were read. */
  get size(): number {
    return this.#ranges.reduce((sum, { records }) => sum + records.length, 0);
  }

  /** The records from an offset up to another (exclusive). Who stops taking pages has read no more than them. */
  async *pages(from: number, to: number): AsyncGenerator<LogPage<T>> {
    let at = from;
    while (at < to) {
      const known = this.#ranges.find((range) => range.from <= at && at < range.to);
      if (known !== undefined) {
        const next = Math.min(known.to, to);
        yield { records: between(known.records, at, next), next };
        at = next;
        continue;
      }
      const end = Math.min(to, this.#ranges.find((range) => range.from > at)?.from ?? to);
      for await (const { records, next } of this.#read(at, end)) {
        if (next > at) this.#add({ from: at, to: next, records });
        yield { records, next };
        at = next;
      }
    }
  }

  #add(range: Range<T>): void {
    const before = this.#ranges.find(({ to }) => to === range.from);
    if (before === undefined) {
      this.#ranges.push({ ...range, records: [...range.records] });
      this.#ranges.sort((one, other) => one.from - other.from);
    } else {
      before.to = range.to;
      for (const record of range.records) before.records.push(record);
    }
  }
}

/** Of records in the order of their offsets those from one on, up to another (exclusive). */
function between<T extends { offset: number }>(records: readonly T[], from: number, to: number): T[] {
  return records.slice(firstFrom(records, from), firstFrom(records, to));
}

function firstFrom(records: readonly { offset: number }[], offset: number): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((records[middle]?.offset ?? Number.POSITIVE_INFINITY) < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
