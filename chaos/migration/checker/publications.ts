import { marks, type Entry } from '../services/journal.js';
import type { MessageName } from '../services/message.js';

/** What became of the call of a message. `none`: nobody wrote it down. */
export const outcomes = { none: 0, called: 1, acknowledged: 2, failed: 3, unknown: 4 } as const;
export type Outcome = (typeof outcomes)[keyof typeof outcomes];

const outcomeOfMark: Partial<Record<Entry['mark'], Outcome>> = {
  [marks.called]: outcomes.called,
  [marks.acknowledged]: outcomes.acknowledged,
  [marks.failed]: outcomes.failed,
  [marks.unknown]: outcomes.unknown,
};

/** Calls of at most so many ms are counted in steps of a ms; the longest beside. */
const LATENCY_STEPS = 60_000;

/** A column of numbers by message, of one byte or four each: there are millions. */
export class Column<A extends Uint8Array | Uint32Array> {
  readonly #make: (length: number) => A;
  readonly #starts = new Map<number, A>();

  constructor(make: (length: number) => A) {
    this.#make = make;
  }

  get({ producer, start, serial }: MessageName): number {
    return this.#starts.get(laneOf(producer, start))?.[serial] ?? 0;
  }

  set({ producer, start, serial }: MessageName, value: number): void {
    const lane = laneOf(producer, start);
    let column = this.#starts.get(lane);
    if (column === undefined || column.length <= serial) {
      const longer = this.#make(Math.max(1_024, serial * 2));
      if (column !== undefined) longer.set(column);
      column = longer;
      this.#starts.set(lane, column);
    }
    column[serial] = value;
  }

  /** Every message with a value above 0. */
  *entries(): Generator<[MessageName, number]> {
    for (const [lane, column] of this.#starts) {
      const [producer, start] = [Math.floor(lane / STARTS), lane % STARTS];
      for (let serial = 0; serial < column.length; serial++) {
        const value = column[serial];
        if (value !== undefined && value > 0) yield [{ producer, start, serial }, value];
      }
    }
  }
}

const STARTS = 65_536;

function laneOf(producer: number, start: number): number {
  return producer * STARTS + start;
}

/** What became of every message. */
export class Publications {
  readonly outcomes = new Column((length) => new Uint8Array(length));
  readonly counts: Record<keyof typeof outcomes, number> = {
    none: 0,
    called: 0,
    acknowledged: 0,
    failed: 0,
    unknown: 0,
  };
  readonly java = { acknowledged: 0, unknown: 0 };
  #longestMs = 0;
  readonly #calledAt = new Column((length) => new Uint32Array(length));
  readonly #latencies = new Uint32Array(LATENCY_STEPS);

  /** @param begunAt no message was called before it, ms on the machine's monotonic clock. */
  constructor(
    private readonly begunAt: number,
    private readonly foreign: number,
  ) {}

  /** Takes an entry of a producer. */
  take(entry: Entry): void {
    const outcome = outcomeOfMark[entry.mark];
    if (outcome === undefined) throw new Error(`A producer wrote an entry of mark ${entry.mark}.`);
    if (outcome === outcomes.called) {
      this.#calledAt.set(entry, Math.round(entry.at - this.begunAt));
      this.counts.called++;
      this.outcomes.set(entry, outcome);
      return;
    }
    this.counts.called--;
    this.#settle(entry, outcome);
    if (outcome !== outcomes.acknowledged) return;
    const took = Math.max(0, Math.round(entry.at - this.begunAt) - this.#calledAt.get(entry));
    this.#longestMs = Math.max(this.#longestMs, took);
    const step = Math.min(took, LATENCY_STEPS - 1);
    this.#latencies[step] = (this.#latencies[step] ?? 0) + 1;
  }

  /** Takes what the producer without the library told. */
  settleJava(name: Pick<MessageName, 'start' | 'serial'>, acknowledged: boolean): void {
    this.#settle({ ...name, producer: this.foreign }, acknowledged ? outcomes.acknowledged : outcomes.unknown);
    this.java[acknowledged ? 'acknowledged' : 'unknown']++;
  }

  #settle(name: MessageName, outcome: Outcome): void {
    this.outcomes.set(name, outcome);
    for (const [word, value] of Object.entries(outcomes)) {
      if (value === outcome) this.counts[word as keyof typeof outcomes]++;
    }
  }

  /** Of calls that were acknowledged, ms. */
  get latency(): { p50: number; p99: number; longest: number } {
    const all = this.#latencies.reduce((sum, count) => sum + count, 0);
    const quantile = (share: number): number => {
      let below = 0;
      return this.#latencies.findIndex((count) => (below += count) >= all * share);
    };
    return { p50: quantile(0.5), p99: quantile(0.99), longest: this.#longestMs };
  }
}
