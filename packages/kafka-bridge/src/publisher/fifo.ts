/** First in, first out, in constant time. Items can be taken out wherever they stand. */
export class Fifo<T> {
  #items: T[] = [];
  #head = 0;
  /** Items that were taken out and are passed over. */
  readonly #removed = new Set<T>();

  get length(): number {
    return this.#items.length - this.#head - this.#removed.size;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  peek(): T | undefined {
    if (this.#removed.size > 0) this.#passOver();
    return this.#items[this.#head];
  }

  shift(): T | undefined {
    if (this.#removed.size > 0) this.#passOver();
    if (this.length === 0) return undefined;
    const item = this.#items[this.#head++];
    // Let go of what was taken, at a cost that each item bears once.
    if (this.#head >= 1_024 && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Those at the head of which something holds, in their order. They stay. */
  headWhile(holds: (item: T) => boolean): T[] {
    const found: T[] = [];
    for (let at = this.#head; at < this.#items.length; at++) {
      const item = this.#items[at] as T;
      if (this.#removed.has(item)) continue;
      if (!holds(item)) break;
      found.push(item);
    }
    return found;
  }

  /** Puts items before all others, in their order. */
  unshift(items: readonly T[]): void {
    this.#items = [...items, ...this.#items.slice(this.#head)];
    this.#head = 0;
  }

  /** Takes all. */
  clear(): T[] {
    const items = this.#kept();
    this.#items = [];
    return items;
  }

  /** Takes out an item that is there, once, and wherever it stands. */
  remove(item: T): void {
    this.#removed.add(item);
    // Let go of what was taken out, at a cost that each removal bears once.
    if (this.#removed.size * 2 > this.#items.length - this.#head) this.#items = this.#kept();
  }

  #passOver(): void {
    for (let head = this.#items[this.#head]; head !== undefined && this.#removed.delete(head);) {
      head = this.#items[++this.#head];
    }
  }

  /** What is left; the head and what was taken out are forgotten. */
  #kept(): T[] {
    const items = this.#items.slice(this.#head).filter((item) => !this.#removed.has(item));
    this.#head = 0;
    this.#removed.clear();
    return items;
  }
}
