import { setMaxListeners } from 'node:events';
import type { FetchResult, GroupOffset, Membership, OwlmqApi } from '../owlmq/owlmq-api.js';
import { OwlmqStaleGenerationError } from '../owlmq/owlmq-errors.js';
import { asError, pause } from '../async/bounded.js';
import { Slots } from '../async/slots.js';
import type { Standing } from './apply-gate.js';
import { BeatingStanding } from './beating-standing.js';
import { fromOwlmq } from './consumed-message.js';
import { allDrained, Backoff, type ConsumingSide, type SideOptions } from './consuming-side.js';
import { PartitionProgress } from './partition-progress.js';
import { workThrough, type ReceivedAt } from './partition-work.js';

export interface OwlmqSideOptions extends SideOptions {
  owlmq: OwlmqApi;
  /** Where to begin on a partition without a commit. */
  offsetReset: 'earliest' | 'latest';
}

const FETCH_WAIT_MS = 300;
const JOIN_AGAIN_MS = 50;
const LEAVE_TIMEOUT_MS = 2_000;

/** A member of an OwlMQ group: the live side after cutover, or a shadow. */
export class OwlmqSide implements ConsumingSide {
  readonly #options: OwlmqSideOptions;
  readonly #stop = new AbortController();
  readonly #slots: Slots;
  /** Commits go one after the other, so that a lower position never comes behind a higher one. */
  #committing: Promise<void> = Promise.resolve();
  #finished: Promise<void> = Promise.resolve();
  #membership: Membership | undefined;
  #partitions: PartitionProgress[] = [];
  #joined = false;
  #lastError: Error | undefined;
  /** When the last request that renewed the lease was sent, on the monotonic clock. */
  #renewedAt = 0;
  /** Ends a wait early when the routing changed. */
  #wake = new AbortController();

  constructor(options: OwlmqSideOptions) {
    this.#options = options;
    this.#slots = new Slots(Math.max(options.concurrency, options.partitionsAtOnce));
    // As many as there are partitions in hand.
    setMaxListeners(0, this.#stop.signal);
  }

  get joined(): boolean {
    return this.#joined;
  }

  get lastError(): Error | undefined {
    return this.#lastError;
  }

  get memberId(): string | undefined {
    return this.#membership?.memberId;
  }

  get partitions(): readonly PartitionProgress[] {
    return this.#joined ? this.#partitions : [];
  }

  get drained(): boolean {
    // Partitions are dropped after the message in hand, and none is taken on while the side is to stop: out of its group
    // it applies nothing. With OwlMQ gone it would never come back to say so.
    if (!this.#joined) return this.#options.stopping() && !this.#options.busy();
    return allDrained(this.#partitions, this.#options);
  }

  start(): void {
    this.#finished = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#finished;
  }

  routingChanged(): void {
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  #isStopping(): boolean {
    return this.#stop.signal.aborted;
  }

  async #run(): Promise<void> {
    const backoff = new Backoff({ initialMs: 200, maxMs: 5_000 });
    while (!this.#isStopping()) {
      try {
        await this.#join();
        await this.#consume(backoff);
      } catch (error) {
        this.#dropPartitions();
        if (error instanceof OwlmqStaleGenerationError) {
          // The group went on without this member: it joins as a new one.
          this.#membership = undefined;
        } else if (!this.#isStopping()) {
          this.#lastError = asError(error);
          this.#options.onError(this.#lastError);
        }
        await backoff.wait(this.#stop.signal);
      }
    }
    this.#dropPartitions();
    await this.#leave();
  }

  /** Joins, or joins again, until the group is stable. */
  async #join(): Promise<void> {
    const { owlmq, groupId, clientId, topics, sessionTimeoutMs, offsetReset } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const sentAt = performance.now();
      const membership = await owlmq.joinGroup(
        groupId,
        {
          topics: [...topics],
          clientId,
          sessionTimeoutMs,
          offsetReset,
          ...(this.#membership === undefined ? {} : { memberId: this.#membership.memberId }),
        },
        { timeoutMs: sessionTimeoutMs, signal },
      );
      this.#renew(membership, sentAt);
      if (membership.state === 'stable') {
        this.#partitions = membership.assignment.map(
          ({ topic, partition, offset }) =>
            new PartitionProgress(topic, partition, { next: offset, committed: offset }),
        );
        this.#joined = true;
        this.#lastError = undefined;
        this.#options.changed();
        return;
      }
      await pause(JOIN_AGAIN_MS, signal);
    }
  }

  /** Fetches, handles and commits until a rebalance is announced. */
  async #consume(backoff: Backoff): Promise<void> {
    const { owlmq, groupId, limit, paused } = this.#options;
    while (!this.#isStopping()) {
      const membership = this.#membership;
      if (membership === undefined) return;
      if (membership.state === 'rebalancing') {
        this.#dropPartitions();
        return;
      }
      const positions = this.#partitions
        .filter(({ topic, partition, next, failed }) => !failed && !paused() && next < limit(topic, partition))
        .map(({ topic, partition, next }): GroupOffset => ({ topic, partition, offset: next }));
      if (positions.length === 0) {
        await pause(FETCH_WAIT_MS, AbortSignal.any([this.#stop.signal, this.#wake.signal]));
        await this.#heartbeat(membership);
        continue;
      }
      const fetchedAt = Date.now();
      const sentAt = performance.now();
      let result: FetchResult;
      try {
        result = await owlmq.fetch(groupId, membership.memberId, membership.generation, {
          positions,
          waitMs: FETCH_WAIT_MS,
          signal: this.#stop.signal,
        });
      } catch (error) {
        if (this.#isStopping()) return;
        throw error;
      }
      backoff.reset();
      this.#renew(result.membership, sentAt);
      await this.#handle(result, fetchedAt);
    }
  }

  async #handle(result: FetchResult, fetchedAt: number): Promise<void> {
    const { sessionTimeoutMs, interrupt, abandon } = this.#options;
    const standing = new BeatingStanding({
      intervalMs: sessionTimeoutMs / 4,
      beat: async () => {
        await this.#heartbeat(result.membership);
        if (this.#membership?.state === 'rebalancing') standing.revoke();
      },
      owned: () => performance.now() < this.#renewedAt + sessionTimeoutMs,
      stop: this.#stop.signal,
      interrupt,
      abandon,
    });
    try {
      await Promise.all(
        result.partitions.map(async (slice) => {
          const progress = this.#partitions.find(
            ({ topic, partition }) => topic === slice.topic && partition === slice.partition,
          );
          if (progress === undefined) return;
          await this.#handleSlice(slice, progress, standing).catch((error: unknown) => {
            // The others end too, and are waited for.
            standing.lose(asError(error));
          });
        }),
      );
    } finally {
      try {
        // A lost generation may not commit, and has nothing to commit that the next owner would not handle again.
        if (standing.lost === undefined) await this.#commit();
      } finally {
        await standing.end();
      }
    }
    if (standing.lost !== undefined) throw standing.lost;
    for (const { topic, partition, endOffset } of result.partitions) {
      const progress = this.#partitions.find((one) => one.topic === topic && one.partition === partition);
      if (progress !== undefined && progress.next >= endOffset) progress.atEnd(fetchedAt);
    }
    this.#options.changed();
  }

  async #handleSlice(
    slice: FetchResult['partitions'][number],
    progress: PartitionProgress,
    standing: Standing,
  ): Promise<void> {
    await workThrough(received(slice), {
      side: this.#options,
      slots: this.#slots,
      progress,
      standing,
      mayGoOn: () => this.#membership?.state !== 'rebalancing',
      commit: () => this.#commit(),
    });
  }

  /** Commits all positions, after the observations of what is before them. */
  async #commit(): Promise<void> {
    const commit = this.#committing.then(() => this.#commitNow());
    // Who waits for this one hears of its failure.
    this.#committing = commit.catch(() => undefined);
    await commit;
  }

  async #commitNow(): Promise<void> {
    const { owlmq, groupId, flush } = this.#options;
    const membership = this.#membership;
    const moved = this.#partitions.filter(({ next, committed }) => next !== committed);
    if (moved.length === 0 || membership === undefined) return;
    const raises = moved.map((progress) => progress.mark());
    const offsets = moved.map(({ topic, partition, next }): GroupOffset => ({ topic, partition, offset: next }));
    await flush();
    for (const raise of raises) raise();
    await owlmq.commit(groupId, membership.memberId, membership.generation, offsets);
    for (const [index, progress] of moved.entries()) progress.committed = offsets[index]?.offset ?? progress.committed;
  }

  async #heartbeat({ memberId, generation }: Membership): Promise<void> {
    const sentAt = performance.now();
    this.#renew(await this.#options.owlmq.heartbeat(this.#options.groupId, memberId, generation), sentAt);
  }

  #renew(membership: Membership, sentAt: number): void {
    this.#membership = membership;
    this.#renewedAt = sentAt;
  }

  #dropPartitions(): void {
    if (!this.#joined) return;
    this.#joined = false;
    this.#partitions = [];
    this.#options.changed();
  }

  async #leave(): Promise<void> {
    const { owlmq, groupId, onError } = this.#options;
    const memberId = this.#membership?.memberId;
    if (memberId === undefined) return;
    const waiting = new AbortController();
    try {
      // With OwlMQ away the lease ends the membership.
      await Promise.race([owlmq.leaveGroup(groupId, memberId), pause(LEAVE_TIMEOUT_MS, waiting.signal)]);
    } catch (error) {
      onError(asError(error));
    } finally {
      waiting.abort();
    }
  }
}

function* received({ topic, records }: FetchResult['partitions'][number]): Iterable<ReceivedAt> {
  for (const record of records) yield { ...fromOwlmq(topic, record), offset: record.offset };
}
