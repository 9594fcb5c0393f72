import { Context } from '@temporalio/activity';

const INTERVAL_MS = 1_000;
/** What a worker with many watches does a second in all, at the most: heartbeats, and looks that found nothing to do. */
const BEATS_A_SECOND = 100;
const LOOKS_A_SECOND = 250;
/** Heartbeats within the time after which an attempt counts as lost. */
const BEATS_WITHIN_TIMEOUT = 4;

/** Work under a heartbeat in this process. */
let underWay = 0;

/** What work under a heartbeat gets: its end by cancellation, and the details that a next attempt resumes from. */
export interface Pulse<D> {
  /** Aborted when the workflow cancels the activity, or the worker shuts down. */
  signal: AbortSignal;
  /** What an earlier attempt last recorded; undefined in the first. */
  resumed: D | undefined;
  /** Records where the work is. */
  record: (details: D) => void;
}

/**
 * Runs work that sends a heartbeat each second, with what it last recorded. A heartbeat is also how a cancellation
 * arrives, so its interval is the time a pause or a rollback takes to reach the work: longer where a worker has hundreds
 * of watches, and never more than a fourth of the heartbeat timeout, which is short where publishers may be held.
 */
export async function withHeartbeat<T, D>(work: (pulse: Pulse<D>) => Promise<T>): Promise<T> {
  const context = Context.current();
  let details = context.info.heartbeatDetails as D | undefined;
  const beat = (): void => {
    context.heartbeat(details);
  };
  const { heartbeatTimeoutMs = INTERVAL_MS } = context.info;
  let timer: NodeJS.Timeout | undefined;
  const beatAgain = (): void => {
    beat();
    const crowded = Math.min(heartbeatTimeoutMs / BEATS_WITHIN_TIMEOUT, (underWay * 1_000) / BEATS_A_SECOND);
    timer = setTimeout(beatAgain, Math.max(INTERVAL_MS, crowded));
  };
  underWay += 1;
  beatAgain();
  try {
    return await work({
      signal: context.cancellationSignal,
      resumed: details,
      record: (next) => {
        details = next;
      },
    });
  } finally {
    clearTimeout(timer);
    underWay -= 1;
  }
}

/**
 * How long a watch that found nothing to do waits before it looks again, ms: longer than it would like where a worker
 * has hundreds of them, so that they leave time to steps that are waited for.
 */
export function untilNextLook(preferredMs: number): number {
  return Math.max(preferredMs, (underWay * 1_000) / LOOKS_A_SECOND);
}

/** Monotonic time at which the running attempt ends by its start-to-close timeout, less a margin to say why. */
export function attemptDeadline(marginMs = 3_000): number {
  const { startToCloseTimeoutMs } = Context.current().info;
  return performance.now() + Math.max(1_000, startToCloseTimeoutMs - marginMs);
}

/**
 * Wall-clock time at which a slice of a watch ends. Counted from the first attempt, so that an attempt that takes over
 * does not begin the slice again. A worker whose clock is ahead of the server's still watches for a moment, instead of
 * completing in a hot loop.
 */
export function sliceEnd(sliceMs: number): number {
  return Math.max(Context.current().info.scheduledTimestampMs + sliceMs, Date.now() + Math.min(sliceMs, 500));
}
