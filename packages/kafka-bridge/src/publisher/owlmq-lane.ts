import { asError, backoffMs } from '../async/bounded.js';
import { Pulse } from '../async/pulse.js';
import type { OwlmqApi, OwlmqRecord, PartitionOffset, PublishResult } from '../owlmq/owlmq-api.js';
import { OwlmqProblemError, OwlmqThrottledError } from '../owlmq/owlmq-errors.js';
import { BatchLimits } from './batch-limits.js';
import { Fifo } from './fifo.js';
import type { Outgoing } from './outgoing.js';
import { PublishFailedError, PublishOutcomeUnknownError } from './publisher-errors.js';

/** A message for OwlMQ. */
export interface LaneEntry {
  readonly message: Outgoing;
  /**
   * `copy`: the message is acknowledged already; tried until it is written or refused.
   * `primary`: the caller waits for it; given up after `deliveryTimeoutMs`.
   */
  readonly role: 'copy' | 'primary';
}

/** Why an entry was given up. */
export type LaneError = PublishFailedError | PublishOutcomeUnknownError;

export interface OwlmqLaneOptions {
  api: OwlmqApi;
  topic: string;
  /** Bound on the attempts for one primary entry, ms. */
  deliveryTimeoutMs: number;
  /** Bound on one request, ms. */
  requestTimeoutMs: number;
  /** Asked before each request; while false nothing is sent. `retryNow()` when it may be true again. */
  mayWrite: () => boolean;
  /** The record to write of an entry; asked for right before each request, so that what waits stays small. */
  recordOf: (entry: LaneEntry) => OwlmqRecord;
  onStored: (entry: LaneEntry, place: PartitionOffset) => void;
  onGivenUp: (entry: LaneEntry, error: LaneError) => void;
  /** Told of entries that were taken back, in their order. */
  onTakenBack: (entries: RecalledEntry[]) => void;
  /** Told of each request that OwlMQ answered, or did not; not of those that were taken back. */
  onRequest: (request: LaneRequest) => void;
  /** Told of what failed; it is repeated. */
  onError: (error: Error) => void;
  /** Called after each request, when its outcomes were told. */
  onProgress: () => void;
}

/** A request that is over. */
export interface LaneRequest {
  /** Entries in it. */
  entries: number;
  /** How long it took, ms. */
  ms: number;
  /** Whether OwlMQ answered with the outcomes of its entries. */
  answered: boolean;
  /** Whether any entry has to be sent again. */
  failed: boolean;
}

/** An entry that was taken back. */
export interface RecalledEntry extends LaneEntry {
  /** Whether OwlMQ may have it although it did not say so. */
  outcomeUnknown: boolean;
}

interface Tracked extends RecalledEntry {
  firstTriedAt: number | undefined;
}

/** How long copies gather for a request, ms, … */
const GATHER_MS = 10;
/** … unless there are so many. */
const GATHER_COUNT = 500;
const LEAST_REQUEST_MS = 100;
const MOST_RETRY_AFTER_MS = 10_000;

/**
 * Writes to one OwlMQ topic, a batch at a time, so that the order of each key is kept: what failed and may be repeated
 * goes before everything else, with the same id.
 */
export class OwlmqLane {
  readonly #options: OwlmqLaneOptions;
  readonly #queue = new Fifo<Tracked>();
  readonly #news = new Pulse();
  /** Cuts a backoff short. */
  readonly #wake = new Pulse();
  #sent: Tracked[] = [];
  #running = false;
  #request: AbortController | undefined;
  #recalled = false;
  #progressAt = 0;
  #failures = 0;
  #gathering: NodeJS.Timeout | undefined;

  constructor(options: OwlmqLaneOptions) {
    this.#options = options;
  }

  /** Entries that are neither written nor given up. */
  get size(): number {
    return this.#queue.length + this.#sent.length;
  }

  /** The one that has waited for longest. */
  get oldest(): LaneEntry | undefined {
    return this.#sent[0] ?? this.#queue.peek();
  }

  push(message: Outgoing, role: LaneEntry['role']): void {
    this.#queue.push({ message, role, firstTriedAt: undefined, outcomeUnknown: false });
  }

  /**
   * Starts sending soon: copies that nobody waits for gather for a few milliseconds, so that a request has many of
   * them. A request costs a publisher as much as many records do.
   */
  gather(): void {
    if (this.#running || this.#gathering !== undefined || this.size === 0) return;
    if (this.#queue.length >= GATHER_COUNT) {
      this.kick();
      return;
    }
    this.#gathering = setTimeout(() => {
      this.kick();
    }, GATHER_MS);
  }

  /** Sends at once, also what waits for its next attempt. */
  retryNow(): void {
    this.#wake.fire();
    this.kick();
  }

  /** Starts sending. What failed keeps its time for the next attempt. */
  kick(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    if (this.#running || this.size === 0 || !this.#mayRun()) return;
    this.#running = true;
    this.#run()
      .catch((error: unknown) => {
        this.#options.onError(asError(error));
      })
      .finally(() => {
        this.#running = false;
        this.#news.fire();
        // Something may have come in since the last look at the queue.
        if (this.#mayRun()) this.gather();
      });
  }

  /** Whether entries are being taken back: what comes later must not overtake them. */
  get recalling(): boolean {
    return this.#recalled;
  }

  /**
   * Waits until all is written or given up. When nothing was written for `stallMs`, or all is not after `totalMs`,
   * what is left is taken back; a request under way is ended, so those entries may be written all the same.
   */
  async drain(stallMs: number, totalMs: number): Promise<void> {
    const start = performance.now();
    this.retryNow();
    while (this.size > 0) {
      const limit = Math.min(start + totalMs, Math.max(start, this.#progressAt) + stallMs);
      const leftMs = limit - performance.now();
      if (leftMs <= 0) {
        await this.recall();
        return;
      }
      await this.#news.wait(leftMs);
    }
  }

  /** Ends a request under way: what it carried may be written all the same, and is repeated when the lane may write. */
  interrupt(): void {
    this.#request?.abort();
  }

  /** Takes back what is left, at once; see {@link drain}. Nothing more is sent after the call. */
  async recall(): Promise<void> {
    this.#recalled = true;
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    this.#request?.abort();
    this.#wake.fire();
    while (this.#running) await this.#news.wait(1_000);
    this.#recalled = false;
    const left = this.#queue.clear();
    if (left.length > 0) this.#options.onTakenBack(left);
  }

  async #run(): Promise<void> {
    do {
      this.#sent = this.#takeBatch();
      let waitMs = 0;
      try {
        waitMs = await this.#publish(this.#sent);
      } finally {
        // Only what an unforeseen error left.
        if (this.#sent.length > 0) this.#queue.unshift(this.#sent);
        this.#sent = [];
      }
      this.#options.onProgress();
      this.#news.fire();
      if (waitMs > 0 && !this.#recalled) await this.#wake.wait(waitMs);
    } while (this.#mayRun() && this.#isUrgent());
  }

  /** Whether what waits should not gather any longer: it is much, somebody waits for it, or it was tried already. */
  #isUrgent(): boolean {
    const next = this.#queue.peek();
    if (next === undefined) return false;
    return next.role === 'primary' || next.firstTriedAt !== undefined || this.#queue.length >= GATHER_COUNT;
  }

  #mayRun(): boolean {
    return !this.#recalled && this.#options.mayWrite();
  }

  #takeBatch(): Tracked[] {
    const limits = new BatchLimits();
    const batch: Tracked[] = [];
    for (let next = this.#queue.peek(); next !== undefined; next = this.#queue.peek()) {
      if (!limits.add(next.message)) break;
      batch.push(next);
      this.#queue.shift();
    }
    return batch;
  }

  /** Sends a batch and tells its outcomes; returns how long to wait before the next attempt, ms. */
  async #publish(batch: readonly Tracked[]): Promise<number> {
    const now = performance.now();
    for (const entry of batch) entry.firstTriedAt ??= now;
    const request = new AbortController();
    this.#request = request;
    const records = batch.map((entry) => this.#options.recordOf(entry));
    const options = { timeoutMs: this.#requestTimeoutMs(batch, now), attempts: 1, signal: request.signal };
    try {
      const results = await this.#options.api.publish(this.#options.topic, records, options);
      return this.#take(batch, results, performance.now() - now);
    } catch (thrown) {
      const error = asError(thrown);
      if (!request.signal.aborted) {
        const ms = performance.now() - now;
        this.#options.onRequest({ entries: batch.length, ms, answered: false, failed: true });
      }
      for (const entry of batch) entry.outcomeUnknown ||= !(error instanceof OwlmqProblemError) || error.outcomeUnknown;
      if (!request.signal.aborted) this.#options.onError(error);
      return this.#keep(batch, error, isFinal(error));
    } finally {
      this.#request = undefined;
    }
  }

  /** No longer than the oldest call may wait. */
  #requestTimeoutMs([oldest]: readonly Tracked[], now: number): number {
    const { requestTimeoutMs, deliveryTimeoutMs } = this.#options;
    if (oldest?.role !== 'primary') return requestTimeoutMs;
    const leftMs = deliveryTimeoutMs - (now - (oldest.firstTriedAt ?? now));
    return Math.min(requestTimeoutMs, Math.max(LEAST_REQUEST_MS, leftMs));
  }

  #take(batch: readonly Tracked[], results: readonly PublishResult[], ms: number): number {
    const again: Tracked[] = [];
    let reason: Error | undefined;
    for (const [index, entry] of batch.entries()) {
      const result = results[index];
      if (result?.ok === true) {
        this.#progressAt = performance.now();
        this.#failures = 0;
        this.#options.onStored(entry, result);
      } else if (result?.retriable === false) {
        this.#giveUp(entry, new Error(`${result.type}: ${result.detail}`), 'no');
      } else {
        reason ??= new Error(result === undefined ? 'OwlMQ gave no result.' : `${result.type}: ${result.detail}`);
        again.push(entry);
      }
    }
    this.#sent = [];
    this.#options.onRequest({ entries: batch.length, ms, answered: true, failed: reason !== undefined });
    if (reason === undefined) return 0;
    this.#options.onError(reason);
    return this.#keep(again, reason, false);
  }

  /** Puts entries back in front, but for primary ones whose error is final or that have no time for another attempt. */
  #keep(entries: readonly Tracked[], reason: Error, final: boolean): number {
    const now = performance.now();
    const asked = reason instanceof OwlmqThrottledError ? Math.min(reason.retryAfterMs ?? 0, MOST_RETRY_AFTER_MS) : 0;
    const waitMs = Math.max(asked, backoffMs(this.#failures++, 50, 2_000));
    const kept: Tracked[] = [];
    for (const entry of entries) {
      const lateness = now - (entry.firstTriedAt ?? now);
      const over = entry.role === 'primary' && (final || lateness + waitMs >= this.#options.deliveryTimeoutMs);
      // Those that were recalled go back to who recalls them.
      if (over && !this.#recalled) this.#giveUp(entry, reason, final ? 'no' : 'safe');
      else kept.push(entry);
    }
    this.#sent = [];
    this.#queue.unshift(kept);
    return waitMs;
  }

  #giveUp(entry: Tracked, cause: Error, retriable: 'safe' | 'no'): void {
    const { id, topic } = entry.message;
    const error = entry.outcomeUnknown
      ? new PublishOutcomeUnknownError(id, topic, 'owlmq', { cause })
      : new PublishFailedError(id, topic, cause.message, { cause, retriable });
    this.#options.onGivenUp(entry, error);
  }
}

/** OwlMQ answered that it will not: another attempt would get the same answer. */
function isFinal(error: Error): boolean {
  return error instanceof OwlmqProblemError && !(error instanceof OwlmqThrottledError) && error.status < 500;
}
