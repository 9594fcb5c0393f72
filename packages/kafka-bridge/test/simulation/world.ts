import { AsyncLocalStorage } from 'node:async_hooks';
import { vi } from 'vitest';

/** Real ones, taken before any is replaced. */
const realSetImmediate = setImmediate;

interface Event {
  at: number;
  owner: string | undefined;
  kind: 'timer' | 'io';
  run: () => void;
  cancelled: boolean;
}

/** Whose code runs: timers that it sets are its own, and stand still while it is frozen. */
const running = new AsyncLocalStorage<string>();

let present: World | undefined;

/** The world of the running test case; what the doubles of Kafka and OwlMQ live in. */
export function world(): World {
  if (present === undefined) throw new Error('No world is running.');
  return present;
}

/**
 * Time, timers and chance of one test case, so that it repeats exactly from its seed. Whatever a process does is owned
 * by it: a frozen one (SIGSTOP) gets neither timers nor input while the clock goes on, and when it is continued the
 * input comes before the timers, as it does with libuv.
 */
export class World {
  now = 1_000;
  readonly #events: Event[] = [];
  readonly #frozen = new Map<string, Event[]>();
  readonly #dead = new Set<string>();
  #random: number;

  constructor(seed: number) {
    this.#random = seed >>> 0;
  }

  /** Runs a case in a world of its own; time and chance are the world's until it ends. */
  static async run(seed: number, work: (world: World) => Promise<void>): Promise<void> {
    const created = new World(seed);
    present = created;
    vi.stubGlobal('setTimeout', (run: () => void, ms = 0) => created.#setTimer(run, ms));
    vi.stubGlobal('clearTimeout', (timer: { cancel?: () => void } | undefined) => timer?.cancel?.());
    const now = vi.spyOn(performance, 'now').mockImplementation(() => created.now);
    const random = vi.spyOn(Math, 'random').mockImplementation(() => created.chance());
    try {
      await work(created);
    } finally {
      present = undefined;
      vi.unstubAllGlobals();
      now.mockRestore();
      random.mockRestore();
    }
  }

  /** From 0 to 1, exclusive. */
  chance(): number {
    this.#random = (this.#random + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#random ^ (this.#random >>> 15), 1 | this.#random);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  between(low: number, high: number): number {
    return low + Math.floor(this.chance() * (high - low + 1));
  }

  /** Runs code as a process. */
  as<T>(owner: string, work: () => T): T {
    return running.run(owner, work);
  }

  /** Input of a process, or what happens outside of all (no owner), in `ms`. */
  later(owner: string | undefined, ms: number, run: () => void): void {
    this.#push({ owner, kind: 'io', at: this.now + ms, run });
  }

  freeze(owner: string): void {
    if (!this.#frozen.has(owner)) this.#frozen.set(owner, []);
  }

  thaw(owner: string): void {
    const kept = this.#frozen.get(owner) ?? [];
    this.#frozen.delete(owner);
    for (const kind of ['io', 'timer'] as const) {
      for (const event of kept) {
        if (event.kind === kind) this.#insert(Object.assign(event, { at: this.now }));
      }
    }
  }

  isFrozen(owner: string): boolean {
    return this.#frozen.has(owner);
  }

  /** Ends a process at once. */
  kill(owner: string): void {
    this.#dead.add(owner);
    this.#frozen.delete(owner);
  }

  isDead(owner: string): boolean {
    return this.#dead.has(owner);
  }

  /** Lets time go on; `look` is called after each event. */
  async advance(ms: number, look: () => void = () => undefined): Promise<void> {
    const end = this.now + ms;
    await settled();
    for (let next = this.#events[0]; next !== undefined && next.at <= end; next = this.#events[0]) {
      this.#events.shift();
      this.now = Math.max(this.now, next.at);
      if (next.cancelled || (next.owner !== undefined && this.#dead.has(next.owner))) continue;
      const kept = next.owner === undefined ? undefined : this.#frozen.get(next.owner);
      if (kept !== undefined) {
        kept.push(next);
        continue;
      }
      if (next.owner === undefined) next.run();
      else this.as(next.owner, next.run);
      await settled();
      look();
    }
    this.now = end;
  }

  #setTimer(run: () => void, ms: number) {
    const event = this.#push({ owner: running.getStore(), kind: 'timer', at: this.now + Math.max(1, ms), run });
    const timer = {
      cancel: () => (event.cancelled = true),
      unref: () => timer,
    };
    return timer;
  }

  #push(event: Omit<Event, 'order' | 'cancelled'>): Event {
    return this.#insert({ ...event, cancelled: false });
  }

  #insert(event: Event): Event {
    // Few wait at any time, and most are due late: a search from the end is short.
    let index = this.#events.length;
    while (index > 0 && (this.#events[index - 1]?.at ?? 0) > event.at) index--;
    this.#events.splice(index, 0, event);
    return event;
  }
}

/** Lets everything run that waits for nothing but its turn. */
async function settled(): Promise<void> {
  await new Promise((resolve) => realSetImmediate(resolve));
}
