/** An OwlMQ record that was read and is not behind the proven position yet. */
export interface WindowEntry {
  id: string;
  /** On OwlMQ. */
  offset: number;
  /** Message time, Unix ms. */
  timestamp: number;
  /** Of key and value together. */
  bytes: number;
  /** `from kafka`: it came from there and needs no copy. `missing`: it has none, and is passed without. */
  state: 'waiting' | 'copied' | 'from kafka' | 'missing';
  /** Kafka offset of its copy, where known. */
  copyOffset: number | undefined;
  page: KafkaPage | undefined;
}

/** A Kafka record that says to be the copy of an OwlMQ record. */
export interface ClaimedCopy {
  id: string;
  /** On Kafka. */
  offset: number;
  /** Message time, Unix ms; undefined where Kafka sets times itself, or it is known to be the same message. */
  timestamp?: number | undefined;
  /** Of key and value; undefined where it is known to be the same message. */
  bytes?: number;
}

/** What one read of Kafka brought: passed when nothing in it is open any more. */
export interface KafkaPage {
  /** Next offset behind the page. */
  end: number;
  /** Records whose counterpart is not proven yet, or whose OwlMQ record is not behind the proven position. */
  open: number;
  messages: number;
  bytes: number;
  foreign: number;
  forwarded: number;
  duplicates: number;
  /** Records of the library that OwlMQ lacks, and that are passed without. */
  missing: number;
}

/**
 * The join of one partition of OwlMQ and Kafka: what was read of either side and is not proven yet. Holds ids and
 * places, no payloads. Both low marks only rise; reading again from them after a crash comes to the same result.
 */
export class MirrorWindow {
  /** OwlMQ records from the low mark on, by offset, in its order. */
  readonly #entries = new Map<number, WindowEntry>();
  /** Kafka copies of OwlMQ records that were not read yet, by their offset. */
  readonly #ahead = new Map<number, { copy: ClaimedCopy; page: KafkaPage }>();
  readonly #pages: KafkaPage[] = [];

  constructor(
    /** Every OwlMQ record before it is proven to be in Kafka. */
    public owlmqLow: number,
    /** Every Kafka record before it is a copy of a proven OwlMQ record, or proven to be on OwlMQ. */
    public kafkaLow: number,
    public owlmqNext: number = owlmqLow,
    public kafkaNext: number = kafkaLow,
  ) {}

  /** OwlMQ records held. */
  get held(): number {
    return this.#entries.size;
  }

  /** Kafka copies held whose OwlMQ record is still to be read. */
  get ahead(): number {
    return this.#ahead.size;
  }

  get pages(): number {
    return this.#pages.length;
  }

  /**
   * Takes the next OwlMQ record. Gives back the Kafka record that said to be its copy and is not; its page stays open.
   */
  addOwlmq(
    record: Pick<WindowEntry, 'id' | 'offset' | 'timestamp' | 'bytes'> & { fromKafka: boolean },
  ): { offset: number; page: KafkaPage } | undefined {
    const { fromKafka, ...told } = record;
    const claimed = this.#ahead.get(record.offset);
    this.#ahead.delete(record.offset);
    const copied = claimed !== undefined && isCopyOf(claimed.copy, record);
    this.#entries.set(record.offset, {
      ...told,
      state: fromKafka ? 'from kafka' : copied ? 'copied' : 'waiting',
      copyOffset: copied ? claimed.copy.offset : undefined,
      // Its record stays open until the low mark has passed it.
      page: copied ? claimed.page : undefined,
    });
    this.owlmqNext = record.offset + 1;
    return claimed === undefined || copied ? undefined : { offset: claimed.copy.offset, page: claimed.page };
  }

  addPage(page: KafkaPage): void {
    this.#pages.push(page);
    this.kafkaNext = page.end;
  }

  /**
   * Takes a Kafka record that says to be the copy of the OwlMQ record at `owlmqOffset`. Says whether it is, as far as
   * can be told now; `passed` when that record is behind the low mark.
   */
  addCopy(copy: ClaimedCopy, owlmqOffset: number, page: KafkaPage): boolean | 'passed' {
    if (owlmqOffset < this.owlmqLow) return 'passed';
    const entry = this.#entries.get(owlmqOffset);
    if (entry !== undefined) {
      if (!isCopyOf(copy, entry)) return false;
      if (entry.state === 'waiting') {
        entry.state = 'copied';
        entry.copyOffset = copy.offset;
        entry.page = page;
        page.open++;
      } else if (entry.state === 'copied' && entry.copyOffset !== copy.offset) {
        page.duplicates++;
      }
      return true;
    }
    const known = this.#ahead.get(owlmqOffset);
    if (known === undefined) {
      this.#ahead.set(owlmqOffset, { copy, page });
      page.open++;
      return true;
    }
    if (!isCopyOf(copy, known.copy)) return false;
    page.duplicates++;
    return true;
  }

  /** Notes that a waiting record's copy is in Kafka, at an offset where that is known. */
  markCopied(owlmqOffset: number, copyOffset?: number): void {
    const entry = this.#entries.get(owlmqOffset);
    if (entry?.state !== 'waiting') return;
    entry.state = 'copied';
    entry.copyOffset = copyOffset;
  }

  /** Notes that a waiting record has no copy in Kafka and gets none. */
  markMissing(owlmqOffset: number): void {
    const entry = this.#entries.get(owlmqOffset);
    if (entry?.state === 'waiting') entry.state = 'missing';
  }

  /** Waiting records in the order of OwlMQ. */
  *waiting(): Generator<WindowEntry> {
    for (const entry of this.#entries.values()) if (entry.state === 'waiting') yield entry;
  }

  /** Raises the low marks over all that is proven, and hands out what they passed. */
  advance(): { entries: WindowEntry[]; pages: KafkaPage[] } {
    const entries: WindowEntry[] = [];
    this.owlmqLow = this.owlmqNext;
    for (const entry of this.#entries.values()) {
      if (entry.state === 'waiting') {
        this.owlmqLow = entry.offset;
        break;
      }
      this.#entries.delete(entry.offset);
      if (entry.page !== undefined) entry.page.open--;
      entries.push(entry);
    }
    const open = this.#pages.findIndex((page) => page.open > 0);
    const pages = this.#pages.splice(0, open === -1 ? this.#pages.length : open);
    this.kafkaLow = pages.at(-1)?.end ?? this.kafkaLow;
    return { entries, pages };
  }
}

/**
 * Whether a record can be the copy of another: it has its id, size and time. An application that takes over the headers
 * of an old message for a new one gives that another time.
 */
export function isCopyOf(copy: Claim, record: Claim): boolean {
  const agree = (one: number | undefined, other: number | undefined): boolean =>
    one === undefined || other === undefined || one === other;
  return copy.id === record.id && agree(copy.bytes, record.bytes) && agree(copy.timestamp, record.timestamp);
}

/** What is compared. */
export type Claim = Omit<ClaimedCopy, 'offset'>;
