import { setTimeout as realTime } from 'node:timers/promises';
import type { TestWorkflowEnvironment } from '@temporalio/testing';

/** How long, in real time, a follower waits for somebody to follow. */
const ALONE_AFTER_MS = 2_000;
const POLL_MS = 3;
/** In real time: a server that skips answers at once. */
const ANSWER_WITHIN_MS = 5_000;

interface Sleeper {
  follows: boolean;
  until: number;
  /** Longest stretch at a time: whoever is woken in the middle of one leaves the clock to run on to its end. */
  stretchMs: number;
}

/**
 * The time-skipping server's clock for several activities that sleep at a time. The server skips only while every
 * running activity asks it to, so all ask for the same stretch. An activity that runs beside others follows them: while
 * the workflow is about to start or to end something it must not be the one that skips an hour on.
 */
export class SkippedClock {
  readonly #sleepers = new Set<Sleeper>();
  readonly #asked = new Set<Promise<void>>();
  /** Whether followers have found nobody to follow since the last one whom they could. */
  #alone = false;

  constructor(private readonly env: TestWorkflowEnvironment) {}

  async now(): Promise<number> {
    return await this.env.currentTimeMs();
  }

  /** Resolves once the time is over, or at once when aborted. */
  async sleep(durationMs: number, signal: AbortSignal, follows: boolean): Promise<void> {
    const sleeper = { follows, until: (await this.now()) + durationMs, stretchMs: durationMs / 4 + 1 };
    this.#sleepers.add(sleeper);
    if (!follows) this.#alone = false;
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => {
        resolve();
      });
    });
    try {
      for (;;) {
        if (follows) await this.#leaderOrAlone(signal);
        const now = await this.now();
        if (isAborted(signal) || now >= sleeper.until) break;
        // The one to follow may have slept enough meanwhile.
        if (follows && !this.#alone && !this.#hasLeader()) continue;
        const ends = [...this.#sleepers].map(({ until, stretchMs }) => Math.min(until - now, stretchMs));
        const asked = this.env.sleep(Math.max(1, Math.min(...ends)));
        this.#await(asked);
        await Promise.race([asked, aborted]);
        if (isAborted(signal)) await this.#lockUntil(asked);
      }
    } finally {
      this.#sleepers.delete(sleeper);
    }
  }

  /** Waits until the server has answered all that it was asked: before its end. Gives up on one that skips no more. */
  async drain(): Promise<void> {
    for (let attempt = 0; this.#asked.size > 0 && attempt < 10; attempt += 1) {
      await Promise.race([Promise.allSettled(this.#asked), realTime(200)]);
      if (this.#asked.size > 0) await Promise.race([this.env.sleep('1 hour'), realTime(ANSWER_WITHIN_MS)]);
    }
  }

  /**
   * While the server answers an activity that asks for time, it counts that activity's lock on the clock as released.
   * An activity that ended meanwhile would have it released twice: the server fails at that, and keeps one lock too
   * many from then on, so that it never skips again (temporalio/sdk-java, pull request 3092). Another lock takes its place.
   */
  async #lockUntil(asked: Promise<void>): Promise<void> {
    const { testService } = this.env.connection;
    if (testService === undefined) throw new Error('this server does not skip time');
    await testService.lockTimeSkipping({});
    this.#await(
      asked.then(async () => {
        await testService.unlockTimeSkipping({});
      }),
    );
  }

  #await(asked: Promise<void>): void {
    this.#asked.add(asked);
    const forget = () => this.#asked.delete(asked);
    asked.then(forget, forget);
  }

  #hasLeader(): boolean {
    return [...this.#sleepers].some(({ follows }) => !follows);
  }

  async #leaderOrAlone(signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + ALONE_AFTER_MS;
    while (!this.#hasLeader() && !this.#alone && !signal.aborted) {
      if (Date.now() > deadline) this.#alone = true;
      else await realTime(POLL_MS);
    }
  }
}

/** As a call, so that nobody takes it for unchanged over an await. */
function isAborted({ aborted }: AbortSignal): boolean {
  return aborted;
}
