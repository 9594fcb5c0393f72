/** An OwlMQ record that was read and is not behind the proven position yet. */
export interface WindowEntry {
  id: string;
  /** On OwlMQ. */
  offset: number;
  bytes: number;
  /** `from kafka`: it came from there and needs no copy. `missing`: it has none, and is passed without. */
  state: 'waiting' | 'copied' | 'from kafka' | 'missing';
  /** Kafka offset of its copy, where known. */
  copyOffset: number | undefined;
  page: KafkaPage | undefined;
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
  /** OwlMQ records from the low mark on, by id, in the order of their offsets. */
  readonly #entries = new Map<string, WindowEntry>();
  /** Kafka copies of OwlMQ records that were not read yet, by id. */
  readonly #ahead = new Map<string, { copyOffset: number; page: KafkaPage }>();
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

  /** Takes the next OwlMQ record. */
  addOwlmq(record: { id: string; offset: number; bytes: number; fromKafka: boolean }): void {
    const copy = this.#ahead.get(record.id);
    this.#ahead.delete(record.id);
    this.#entries.set(record.id, {
      id: record.id,
      offset: record.offset,
      bytes: record.bytes,
      state: record.fromKafka ? 'from kafka' : copy === undefined ? 'waiting' : 'copied',
      copyOffset: copy?.copyOffset,
      // Its record stays open until the low mark has passed it.
      page: copy?.page,
    });
    this.owlmqNext = record.offset + 1;
  }

  addPage(page: KafkaPage): void {
    this.#pages.push(page);
    this.kafkaNext = page.end;
  }

  /** Takes a Kafka record that has an OwlMQ counterpart at `owlmqOffset`. */
  addCopy(id: string, owlmqOffset: number, kafkaOffset: number, page: KafkaPage): void {
    if (owlmqOffset < this.owlmqLow) return;
    const entry = this.#entries.get(id);
    if (entry !== undefined) {
      if (entry.state === 'waiting') {
        entry.state = 'copied';
        entry.copyOffset = kafkaOffset;
        entry.page = page;
        page.open++;
      } else if (entry.state === 'copied' && entry.copyOffset !== kafkaOffset) {
        page.duplicates++;
      }
    } else if (owlmqOffset >= this.owlmqNext) {
      if (this.#ahead.has(id)) {
        page.duplicates++;
      } else {
        this.#ahead.set(id, { copyOffset: kafkaOffset, page });
        page.open++;
      }
    }
  }

  /** Notes that a waiting record's copy is in Kafka, at an offset where that is known. */
  markCopied(id: string, copyOffset?: number): void {
    const entry = this.#entries.get(id);
    if (entry?.state !== 'waiting') return;
    entry.state = 'copied';
    entry.copyOffset = copyOffset;
  }

  /** Notes that a waiting record has no copy in Kafka and gets none. */
  markMissing(id: string): void {
    const entry = this.#entries.get(id);
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
      this.#entries.delete(entry.id);
      if (entry.page !== undefined) entry.page.open--;
      entries.push(entry);
    }
    const open = this.#pages.findIndex((page) => page.open > 0);
    const pages = this.#pages.splice(0, open === -1 ? this.#pages.length : open);
    this.kafkaLow = pages.at(-1)?.end ?? this.kafkaLow;
    return { entries, pages };
  }
}
