import { setTimeout as sleep } from 'node:timers/promises';
import { attemptDeadline, withHeartbeat } from './heartbeat.js';

const POLL_MS = 20;

/** The fleet, or a group, did not do what was asked in the time of the attempt. Says who and what. */
class FleetNotReadyError extends Error {
  override readonly name = 'FleetNotReadyError';
}

/** What a look has found: what was waited for, or what is still missing, in words. */
export type Judgement<T> = { ready: T } | { waitFor: string[] };

/** Asks until it is ready, for as long as the attempt may take. */
export async function untilReady<T>(ask: () => Promise<Judgement<T>>): Promise<T> {
  return await withHeartbeat<T, string[]>(async ({ signal, record }) => {
    const deadline = attemptDeadline();
    for (;;) {
      signal.throwIfAborted();
      const judgement = await ask();
      if ('ready' in judgement) return judgement.ready;
      // Shown in the UI with the pending activity.
      record(judgement.waitFor.slice(0, 20));
      if (performance.now() > deadline)
        throw new FleetNotReadyError(`Still waiting for ${judgement.waitFor.join('; ')}`);
      await sleep(POLL_MS, undefined, { signal });
    }
  });
}
