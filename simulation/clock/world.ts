import { Random } from './random.js';

/** Real one, taken before any is replaced. */
const realSetImmediate = setImmediate;

/** Something of the simulation that can die or stand still: a publisher, a consumer, the worker. */
export interface Process {
  readonly name: string;
  state: 'running' | 'frozen' | 'dead';
  /** What came due while it stood still: input first when it goes on, as libuv has it. */
  readonly kept: Event[];
}

export interface Event {
  at: number;
  order: number;
  owner: Process | undefined;
  kind: 'timer' | 'input';
  run: () => void | Promise<void>;
  cancelled: boolean;
}

/**
 * Time, timers and chance of one run, so that it repeats exactly from its seed. What a process does is owned by it: a
 * frozen one (SIGSTOP) gets neither timers nor input while the clock goes on, a dead one never does again.
 */
export class World {
  /** Ms since an arbitrary start; what `Date.now()` and `performance.now()` say in the simulation. */
  now = 1_000_000;
  readonly random: Random;
  /** Whose code runs: timers that it sets are its own. */
  current: Process | undefined;
  events = 0;
  readonly #heap: Event[] = [];
  #order = 0;
  #trace: ((line: string) => void) | undefined;

  constructor(seed: number, trace?: (line: string) => void) {
    this.random = new Random(seed);
    this.#trace = trace;
  }

  get traced(): boolean {
    return this.#trace !== undefined;
  }

  /** Tells what happens, for a person who reads the trace of a seed. */
  say(line: () => string): void {
    this.#trace?.(`${((this.now - 1_000_000) / 1_000).toFixed(3).padStart(9)}  ${line()}`);
  }

  process(name: string): Process {
    return { name, state: 'running', kept: [] };
  }

  /** Input of a process, or what happens outside of all of them (no owner), in `ms`. */
  later(owner: Process | undefined, ms: number, run: () => void | Promise<void>): Event {
    return this.#push(owner, 'input', ms, run);
  }

  /** A timer that the process sets, at least a millisecond. */
  timer(owner: Process | undefined, ms: number, run: () => void): Event {
    return this.#push(owner, 'timer', Math.max(1, ms), run);
  }

  async sleep(owner: Process | undefined, ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.timer(owner, ms, resolve));
  }

  freeze(process: Process): void {
    if (process.state === 'running') process.state = 'frozen';
  }

  thaw(process: Process): void {
    if (process.state !== 'frozen') return;
    process.state = 'running';
    const kept = process.kept.splice(0);
    for (const kind of ['input', 'timer'] as const) {
      for (const event of kept) {
        if (event.kind === kind && !event.cancelled) this.#insert(Object.assign(event, { at: this.now }));
      }
    }
  }

  kill(process: Process): void {
    process.state = 'dead';
    process.kept.length = 0;
  }

  /** Runs what is due until `until` says so, or the time is over. */
  async run(endsAt: number, until: () => boolean): Promise<void> {
    await settled();
    while (!until()) {
      const [next] = this.#heap;
      if (next === undefined || next.at > endsAt) {
        this.now = endsAt;
        return;
      }
      const event = this.#pop() ?? next;
      this.now = Math.max(this.now, event.at);
      const { owner } = event;
      if (event.cancelled || owner?.state === 'dead') continue;
      if (owner?.state === 'frozen') {
        owner.kept.push(event);
        continue;
      }
      this.events++;
      this.current = owner;
      const work = event.run();
      if (work !== undefined) await work;
      await settled();
      this.current = undefined;
    }
  }

  #push(owner: Process | undefined, kind: Event['kind'], ms: number, run: Event['run']): Event {
    return this.#insert({ owner, kind, at: this.now + ms, order: 0, run, cancelled: false });
  }

  #insert(event: Event): Event {
    event.order = this.#order++;
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const above = (index - 1) >> 1;
      const other = heap[above];
      if (other === undefined || !isBefore(event, other)) break;
      heap[index] = other;
      index = above;
    }
    heap[index] = event;
    return event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (last === undefined || last === first) return first;
    let index = 0;
    for (;;) {
      let below = 2 * index + 1;
      let least = heap[below];
      const right = heap[below + 1];
      if (least !== undefined && right !== undefined && isBefore(right, least)) {
        below += 1;
        least = right;
      }
      if (least === undefined || !isBefore(least, last)) break;
      heap[index] = least;
      index = below;
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(one: Event, other: Event): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}

/** Lets everything run that waits for nothing but its turn. */
export async function settled(): Promise<void> {
  await new Promise((resolve) => realSetImmediate(resolve));
}
