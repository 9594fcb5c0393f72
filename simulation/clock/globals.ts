import { AsyncLocalStorage } from 'node:async_hooks';
import type { World } from './world.js';

const storages: WorkflowStorage[] = [];

/**
 * Follows the promises of workflow code while that runs, and of nothing else: the hooks that it takes would make all
 * others several times as dear.
 */
class WorkflowStorage extends AsyncLocalStorage<unknown> {
  constructor() {
    super();
    storages.push(this);
  }
}

/** Ends the following until the next `run` of a storage. */
export function followNoPromises(): void {
  for (const storage of storages) storage.disable();
}

/** Begins it again: what was followed before is known. */
export function followPromises(): void {
  for (const storage of storages) storage.run(storage, () => undefined);
}

/**
 * Time and chance that production code finds in the globals are those of the running world. To be imported before
 * anything else: Temporal's workflow library takes its storage from the globals when it is loaded.
 */
Object.assign(globalThis, { AsyncLocalStorage: WorkflowStorage });

const RealDate = Date;
const realNow = performance.now.bind(performance);
const realRandom = Math.random.bind(Math);
const realSetTimeout = globalThis.setTimeout;
const realClearTimeout = globalThis.clearTimeout;

/** Milliseconds of the machine's own clock. */
export function wallClock(): number {
  return realNow();
}

/** Runs work whose clock, timers and chance are the world's. One world at a time. */
export async function inWorld<T>(world: World, work: () => Promise<T>): Promise<T> {
  class SimulatedDate extends RealDate {
    constructor(...given: [] | [number | string]) {
      super(...((given.length === 0 ? [world.now] : given) as [number]));
    }

    static override now(): number {
      return world.now;
    }
  }
  const setTimer = (run: () => void, ms = 0) => {
    const event = world.timer(world.current, ms, run);
    const timer = {
      cancel: () => (event.cancelled = true),
      unref: () => timer,
    };
    return timer;
  };
  const replaced = {
    Date: SimulatedDate,
    setTimeout: setTimer,
    clearTimeout: (timer: { cancel?: () => void } | undefined) => timer?.cancel?.(),
  };
  Object.assign(globalThis, replaced);
  performance.now = () => world.now;
  Math.random = () => world.random.next();
  try {
    return await work();
  } finally {
    Object.assign(globalThis, { Date: RealDate, setTimeout: realSetTimeout, clearTimeout: realClearTimeout });
    performance.now = realNow;
    Math.random = realRandom;
  }
}
