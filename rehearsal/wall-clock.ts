import { setTimeout as wait } from 'node:timers/promises';
import type { ModelClock } from './fleet-model.js';

/** Time as it is, for models on a server that skips none. */
export const wallClock: ModelClock = {
  now: () => Promise.resolve(Date.now()),
  sleep: async (durationMs, signal) => {
    await wait(durationMs, undefined, { signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  },
};
