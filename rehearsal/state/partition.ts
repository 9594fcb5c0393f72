export type Leg = 'kafka' | 'owlmq';

export const LEGS: readonly Leg[] = ['kafka', 'owlmq'];

/** Nowhere: the offset of a message that is not on a leg. */
const ABSENT = -1;

const INTENDED = 1;
const FOREIGN = 2;
const ACKNOWLEDGED: Record<Leg, number> = { kafka: 4, owlmq: 8 };

/** A growing list of whole numbers, four bytes each. */
class Numbers {
  #items = new Int32Array(1_024);
  length = 0;

  at(index: number): number {
    return this.#items[index] ?? ABSENT;
  }

  push(value: number): void {
    if (this.length === this.#items.length) {
      const larger = new Int32Array(2 * this.length);
      larger.set(this.#items);
      this.#items = larger;
    }
    this.#items[this.length] = value;
    this.length += 1;
  }

  set(index: number, value: number): void {
    while (this.length <= index) this.push(0);
    this.#items[index] = value;
  }
}

/** A partition as it is on both legs, message by message. Messages are numbered in the order in which they are written. */
export class Partition {
  readonly #logs: Record<Leg, Numbers> = { kafka: new Numbers(), owlmq: new Numbers() };
  readonly #offsets: Record<Leg, Numbers> = { kafka: new Numbers(), owlmq: new Numbers() };
  readonly #flags = new Numbers();

  constructor(
    readonly topic: string,
    readonly index: number,
  ) {}

  get messages(): number {
    return this.#flags.length;
  }

  /** @returns its number. It is on no leg yet. */
  add({ intended = false, foreign = false }: { intended?: boolean; foreign?: boolean } = {}): number {
    this.#flags.push((intended ? INTENDED : 0) | (foreign ? FOREIGN : 0));
    for (const leg of LEGS) this.#offsets[leg].push(ABSENT);
    return this.messages - 1;
  }

  append(leg: Leg, message: number): void {
    this.#offsets[leg].set(message, this.#logs[leg].length);
    this.#logs[leg].push(message);
  }

  acknowledge(leg: Leg, message: number): void {
    this.#flags.set(message, this.#flags.at(message) | ACKNOWLEDGED[leg]);
  }

  end(leg: Leg): number {
    return this.#logs[leg].length;
  }

  messageAt(leg: Leg, offset: number): number {
    return this.#logs[leg].at(offset);
  }

  /** -1: it is not on this leg. */
  offsetOf(leg: Leg, message: number): number {
    return this.#offsets[leg].at(message);
  }

  has(leg: Leg, message: number): boolean {
    return this.offsetOf(leg, message) !== ABSENT;
  }

  /** Whether a copy on the other leg was intended when it was published. */
  isIntended(message: number): boolean {
    return (this.#flags.at(message) & INTENDED) !== 0;
  }

  isForeign(message: number): boolean {
    return (this.#flags.at(message) & FOREIGN) !== 0;
  }

  /** Whether `publish()` has resolved, by the acknowledgement of that leg. */
  isAcknowledged(leg: Leg, message: number): boolean {
    return (this.#flags.at(message) & ACKNOWLEDGED[leg]) !== 0;
  }
}

/** How often a group has run `apply` for each message of a partition. */
export class Applied {
  readonly #times = new Numbers();

  count(message: number): void {
    this.#times.set(message, this.timesOf(message) + 1);
  }

  timesOf(message: number): number {
    return message < this.#times.length ? this.#times.at(message) : 0;
  }
}
