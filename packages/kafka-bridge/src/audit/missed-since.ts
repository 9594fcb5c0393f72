/** Everything before `offset` was looked at, and is missed, for `ms`. */
export interface MissedMark {
  offset: number;
  ms: number;
  /** For how long the mark has been there: one that is new takes in what is looked at next. */
  openMs: number;
}

const MARKS = 8;

/**
 * How long records of a partition have been missed, by their offset: told in a few marks, so that it fits into a
 * checkpoint and goes on counting in the next process. Errs towards shorter, by an eighth of the grace. Time in which
 * no audit looked does not count.
 */
export class MissedSince {
  /** Rising in both; `at` is on the monotonic clock. */
  readonly #marks: { offset: number; opened: number; at: number }[];
  readonly #graceMs: number;

  constructor(graceMs: number, marks: readonly MissedMark[] = [], now = performance.now()) {
    this.#graceMs = graceMs;
    this.#marks = marks.map(({ offset, ms, openMs }) => ({ offset, opened: now - openMs, at: now - ms }));
  }

  /** Notes that every record before an offset has been looked at. */
  note(offset: number, now = performance.now()): void {
    const last = this.#marks.at(-1);
    if (last !== undefined && offset <= last.offset) return;
    if (last !== undefined && now - last.opened < this.#graceMs / MARKS) {
      last.offset = offset;
      last.at = now;
    } else {
      this.#marks.push({ offset, opened: now, at: now });
    }
    // Of those that are older than the grace the last says all.
    while ((this.#marks[1]?.at ?? Number.POSITIVE_INFINITY) <= now - this.#graceMs) this.#marks.shift();
  }

  /** How long a record that was looked at has been missed, ms. */
  ms(offset: number, now = performance.now()): number {
    const mark = this.#marks.find((one) => offset < one.offset);
    return mark === undefined ? 0 : now - mark.at;
  }

  /** Forgets what is before a position: it is proven. */
  pass(position: number): void {
    while ((this.#marks[0]?.offset ?? Number.POSITIVE_INFINITY) <= position) this.#marks.shift();
  }

  marks(now = performance.now()): MissedMark[] {
    return this.#marks.map(({ offset, at, opened }) => ({
      offset,
      ms: Math.floor(now - at),
      openMs: Math.ceil(now - opened),
    }));
  }
}

/** What a checkpoint says of missed records: of an audit's own partitions as they are, of others as it was. */
export function missedOf(
  before: Readonly<Record<string, MissedMark[][]>> | undefined,
  partitions: Iterable<{ topic: string; partition: number; missed: MissedSince }>,
): { missed?: Record<string, MissedMark[][]> } {
  const all: Record<string, MissedMark[][]> = structuredClone(before ?? {});
  for (const { topic, partition, missed } of partitions) {
    const known = (all[topic] ??= []);
    known[partition] = missed.marks();
    for (let index = 0; index < partition; index++) known[index] ??= [];
  }
  const told = Object.entries(all).filter(([, known]) => known.some((marks) => marks.length > 0));
  return told.length === 0 ? {} : { missed: Object.fromEntries(told) };
}
