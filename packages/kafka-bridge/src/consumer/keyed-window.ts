import type { Slots } from '../async/slots.js';

/** How far messages may be handled ahead of the first that is not done: less than the ids remembered of a partition. */
const MAX_AHEAD = 500;

export interface KeyedWindowOptions<Item, Result> {
  /** Messages of the partition in hand at once; with 1 they are handled in their order, whatever their keys. */
  concurrency: number;
  /** Places of the side that the partition belongs to. */
  slots: Slots;
  /** Messages with the same one are handled one after the other; undefined: in no order with others. */
  keyOf: (item: Item) => string | undefined;
  /** Asked right before a message is handled; once false, no other is begun. */
  admit: (item: Item) => boolean;
  /** Handles a message; `undefined`: it is not done, and no other is begun. */
  run: (item: Item) => Promise<Result | undefined>;
  /** Told of messages that are done, in their order, one at a time: never past one that is not. */
  pass: (item: Item, result: Result) => Promise<void>;
}

interface Entry<Item, Result> {
  readonly item: Item;
  done?: { result: Result };
}

/**
 * Handles messages of a partition, several at a time and those of one key in their order. Resolves when nothing is in
 * hand any more, with the first message that is not done; undefined when all are.
 *
 * @throws what `run` or `pass` throws, when nothing is in hand any more.
 */
export async function handleByKey<Item, Result>(
  items: Iterable<Item>,
  options: KeyedWindowOptions<Item, Result>,
): Promise<Item | undefined> {
  return await new KeyedWindow(items, options).run();
}

class KeyedWindow<Item, Result> {
  readonly #source: Iterator<Item>;
  readonly #options: KeyedWindowOptions<Item, Result>;
  /** Taken and not passed, in order. */
  readonly #entries: Entry<Item, Result>[] = [];
  /** Keys that have a message in hand, with those that wait for it. */
  readonly #queues = new Map<string, Entry<Item, Result>[]>();
  #inHand = 0;
  #passing = false;
  /** Nothing is begun any more. */
  #closed = false;
  #failure: { error: unknown } | undefined;
  #settled: { resolve: (first: Item | undefined) => void; reject: (error: unknown) => void } | undefined;

  constructor(items: Iterable<Item>, options: KeyedWindowOptions<Item, Result>) {
    this.#source = items[Symbol.iterator]();
    this.#options = options;
  }

  async run(): Promise<Item | undefined> {
    return await new Promise((resolve, reject) => {
      this.#settled = { resolve, reject };
      this.#advance();
    });
  }

  /** Begins what may be begun, passes what may be passed, and ends when there is neither. */
  #advance(): void {
    while (!this.#closed && this.#inHand < this.#options.concurrency && this.#entries.length < MAX_AHEAD) {
      const next = this.#source.next();
      if (next.done === true) break;
      const entry: Entry<Item, Result> = { item: next.value };
      this.#entries.push(entry);
      const key = this.#options.keyOf(entry.item);
      const queue = key === undefined ? undefined : this.#queues.get(key);
      if (queue === undefined) this.#begin(entry, key);
      else queue.push(entry);
    }
    if (!this.#passing && this.#entries[0]?.done !== undefined && this.#failure === undefined) {
      this.#passing = true;
      this.#pass()
        .catch((error: unknown) => {
          this.#fail(error);
        })
        .finally(() => {
          this.#passing = false;
          this.#advance();
        });
    }
    if (this.#inHand > 0 || this.#passing) return;
    if (this.#failure === undefined) this.#settled?.resolve(this.#entries[0]?.item);
    else this.#settled?.reject(this.#failure.error);
  }

  #begin(entry: Entry<Item, Result>, key: string | undefined): void {
    this.#inHand += 1;
    if (key !== undefined && !this.#queues.has(key)) this.#queues.set(key, []);
    this.#handle(entry)
      .catch((error: unknown) => {
        this.#fail(error);
      })
      .finally(() => {
        this.#inHand -= 1;
        if (key !== undefined) {
          const following = this.#closed ? undefined : this.#queues.get(key)?.shift();
          if (following === undefined) this.#queues.delete(key);
          else this.#begin(following, key);
        }
        this.#advance();
      });
  }

  async #handle(entry: Entry<Item, Result>): Promise<void> {
    const { slots, admit, run } = this.#options;
    const giveBack = await slots.take();
    try {
      const result = !this.#closed && admit(entry.item) ? await run(entry.item) : undefined;
      if (result === undefined) this.#closed = true;
      else entry.done = { result };
    } finally {
      giveBack();
    }
  }

  async #pass(): Promise<void> {
    for (let first = this.#entries[0]; first?.done !== undefined; first = this.#entries[0]) {
      await this.#options.pass(first.item, first.done.result);
      this.#entries.shift();
    }
  }

  #fail(error: unknown): void {
    this.#closed = true;
    this.#failure ??= { error };
  }
}
