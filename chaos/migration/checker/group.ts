import { marks, type Entry } from '../services/journal.js';
import { keyOf, type MessageName, type MessageRules } from '../services/message.js';
import type { Anomalies } from './anomalies.js';
import { Column, outcomes, type Publications } from './publications.js';

/** A time in which something was broken, with its aftermath; ms on the machine's monotonic clock. */
export interface Disturbance {
  readonly from: number;
  readonly to: number;
  /** Whose messages can come again by it; a group's, a producer's, or, with neither, everybody's. */
  readonly group?: string;
  readonly producer?: number;
}

/** All groups were moved to a side. */
export interface Move {
  readonly to: 'kafka' | 'owlmq';
  /** The earliest that they can be there. */
  readonly at: number;
  /** Messages that come again, over all groups, by what the migration itself reported. */
  readonly redeliveries: number;
}

/** What a group did, and no anomaly. */
export interface GroupCounts {
  /** Messages applied at least once. */
  messages: number;
  onKafka: number;
  onOwlmq: number;
  /** Applies of a message again, from the same side, after something had happened that can be the reason. */
  redelivered: number;
  /** Applies of a message from the other side that the move had reported. */
  reportedAgain: number;
  /** First applies of a message of unknown outcome behind a later one of its key. */
  lateUnknown: number;
  sideChanges: number;
}

interface SecondSide {
  readonly entry: Entry;
  readonly group: string;
  readonly move: Move | undefined;
}

const ON_KAFKA = 1;
const ON_OWLMQ = 2;
/** Serials of a start are below it. */
const SERIALS = 2 ** 32;

/** What one group applied, entry by entry in the order of time. */
export class GroupCheck {
  readonly counts: GroupCounts = {
    ...{ messages: 0, onKafka: 0, onOwlmq: 0, redelivered: 0, reportedAgain: 0, lateUnknown: 0, sideChanges: 0 },
  };
  /** Applied on the other side as well: whether that was reported is known when all groups are through. */
  readonly second: SecondSide[] = [];
  readonly #sides = new Column((length) => new Uint8Array(length));
  readonly #firstAt = new Column((length) => new Uint32Array(length));
  readonly #newestOfKey = new Map<number, number>();
  #side: 'kafka' | 'owlmq' | undefined;

  constructor(
    private readonly options: {
      readonly group: string;
      readonly rules: MessageRules;
      readonly javaStarts: number;
      readonly begunAt: number;
      readonly publications: Publications;
      readonly disturbances: readonly Disturbance[];
      readonly moves: readonly Move[];
      readonly anomalies: Anomalies;
    },
  ) {}

  take(entry: Entry): void {
    const { begunAt, moves, group } = this.options;
    if (entry.mark === marks.unreadable) {
      this.#found('invented', entry, 'a value that no producer makes');
      return;
    }
    const side = entry.mark === marks.appliedFromKafka || entry.mark === marks.alteredFromKafka ? 'kafka' : 'owlmq';
    this.counts[side === 'kafka' ? 'onKafka' : 'onOwlmq']++;
    if (this.#side !== undefined && this.#side !== side) this.counts.sideChanges++;
    this.#side = side;
    this.#judgeContent(entry);

    const bit = side === 'kafka' ? ON_KAFKA : ON_OWLMQ;
    const sides = this.#sides.get(entry);
    this.#sides.set(entry, sides | bit);
    if (sides === 0) {
      this.counts.messages++;
      this.#firstAt.set(entry, Math.round(entry.at - begunAt));
      this.#judgeOrder(entry, side);
    } else if ((sides & bit) === 0) {
      const move = moves.filter(({ to, at }) => to === side && at <= entry.at).at(-1);
      this.second.push({ entry, group, move });
    } else {
      this.#judgeRepeat(entry, side);
    }
  }

  /** Once everything was taken: what is missing. */
  end(): void {
    const { publications, moves, anomalies, group } = this.options;
    for (const [name, outcome] of publications.outcomes.entries()) {
      if (outcome === outcomes.acknowledged && this.#sides.get(name) === 0) this.#found('lost', name, 'never applied');
    }
    if (this.counts.sideChanges > moves.length) {
      const detail = `changed sides ${this.counts.sideChanges} times, was moved ${moves.length} times`;
      anomalies.add('sides-overlap', group, detail);
    }
  }

  #judgeContent(entry: Entry): void {
    const { publications, rules, javaStarts } = this.options;
    const outcome = publications.outcomes.get(entry);
    const { mark, producer, start } = entry;
    // The other producer tells of a message only once it is acknowledged.
    const untold = producer === rules.foreign && start <= javaStarts;
    if (outcome === outcomes.none && !untold) this.#found('invented', entry, 'never called');
    if (outcome === outcomes.failed) this.#found('failed-but-applied', entry, 'its call had failed');
    if (mark === marks.alteredFromKafka || mark === marks.alteredFromOwlmq)
      this.#found('altered', entry, 'see its log');
  }

  #judgeOrder(entry: Entry, side: string): void {
    const { rules, publications } = this.options;
    const key = keyOf(rules, entry);
    if (key === undefined) return;
    const place = entry.start * SERIALS + entry.serial;
    const newest = this.#newestOfKey.get(entry.producer * SERIALS + key) ?? -1;
    if (place > newest) {
      this.#newestOfKey.set(entry.producer * SERIALS + key, place);
    } else if (publications.outcomes.get(entry) === outcomes.acknowledged) {
      const later = `${Math.floor(newest / SERIALS)}.${newest % SERIALS}`;
      this.#found('reordered', entry, `from ${side} at ${Math.round(entry.at)} ms, behind ${later}`);
    } else {
      this.counts.lateUnknown++;
    }
  }

  #judgeRepeat(entry: Entry, side: string): void {
    const { disturbances, group, begunAt } = this.options;
    const firstAt = this.#firstAt.get(entry) + begunAt;
    const why = disturbances.some(
      (one) =>
        one.from <= entry.at &&
        one.to >= firstAt &&
        (one.group ?? group) === group &&
        (one.producer ?? entry.producer) === entry.producer,
    );
    if (why) this.counts.redelivered++;
    else this.#found('repeated', entry, `from ${side} at ${Math.round(firstAt)} and at ${Math.round(entry.at)} ms`);
  }

  #found(kind: Parameters<Anomalies['add']>[0], name: MessageName, detail: string): void {
    const { anomalies, group } = this.options;
    anomalies.add(kind, `${group} ${wordsOf(name)}`, detail);
  }
}

export function wordsOf({ producer, start, serial }: MessageName): string {
  return `${producer}.${start}.${serial}`;
}
