import { asError, bounded } from '../async/bounded.js';
import { Pulse } from '../async/pulse.js';
import type { Leg } from '../message/headers.js';
import type { OwlmqApi, PartitionOffset } from '../owlmq/owlmq-api.js';
import { OwlmqUnreachableError } from '../owlmq/owlmq-errors.js';
import { BatchLimits } from './batch-limits.js';
import { isCopied } from './copy-decision.js';
import { CopyBacklog } from './copy-backlog.js';
import { Fifo } from './fifo.js';
import { HoldClock } from './hold-clock.js';
import type { KafkaEntry, KafkaLane, KafkaOutcome } from './kafka-lane.js';
import { LatencyWindow } from './latency-window.js';
import { KafkaMirror } from './mirror.js';
import { MemoryBound } from './memory-bound.js';
import { kafkaMessage, owlmqRecord, resultOf, type Outgoing, type Routing } from './outgoing.js';
import { OwlmqLane, type LaneEntry, type LaneError, type RecalledEntry } from './owlmq-lane.js';
import { partitionOfKey, RoundRobin } from './partitioner.js';
import {
  PublishAbortedError,
  PublishFailedError,
  PublishHeldTimeoutError,
  PublishOutcomeUnknownError,
  type PublishError,
} from './publisher-errors.js';
import type { PublisherEvent } from './publisher-events.js';
import type { PublisherMeter } from './publisher-meter.js';
import type { PublisherSettings } from './publisher-options.js';
import type { Route } from './route.js';
import type { TopicPartitions } from './topic-partitions.js';

export interface DispatcherOptions {
  instance: string;
  settings: PublisherSettings;
  kafka: KafkaLane;
  /** Asked when the first message needs it. */
  owlmq: () => OwlmqApi;
  partitions: TopicPartitions;
  routeOf: (topic: string) => Route;
  /** Whether the route may be acted on now; asked right before each write. */
  mayWrite: () => boolean;
  /** Whether what was routed under an epoch, the present one or an earlier one, may be written now. */
  mayWriteUnder: (epoch: number) => boolean;
  /** The applied epoch, the state or a figure that others wait for may have changed. */
  onChange: () => void;
  onEvent: (event: PublisherEvent) => void;
  /** Where nobody wants metrics there is none. */
  meter: PublisherMeter | undefined;
}

/** Messages of one topic that were accepted and not routed yet. */
interface TopicQueue {
  readonly topic: string;
  readonly messages: Fifo<Outgoing>;
  readonly roundRobin: RoundRobin;
  /** Numbers given to messages, by partition. */
  readonly sequences: Map<number, number>;
  lane: OwlmqLane | undefined;
  learning: boolean;
  /** Whether OwlMQ is being asked for what it may have of it: what comes later must not overtake that. */
  lookingUp: boolean;
}

/** A fence waits for OwlMQ this long without a single acknowledgement, … */
const DRAIN_STALL_MS = 2_000;
/** … and this long over all, before what is left is given up. */
const DRAIN_TOTAL_MS = 5_000;
const LEARN_TIMEOUT_MS = 10_000;
const OWLMQ_REQUEST_TIMEOUT_MS = 5_000;
/** Calls of the topic are held meanwhile. */
const LOOKUP_TIMEOUT_MS = 2_000;

/**
 * Takes messages in the order of the calls, routes each when it enters a lane, and settles it when the leg that must
 * acknowledge it has. The next batch of a lane leaves when the last one returned: no timer, small batches at low load
 * and large ones at high load.
 *
 * A message has an epoch from the moment it enters a lane; those that wait go by whatever state there is then.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #bound: MemoryBound;
  readonly #backlog: CopyBacklog;
  readonly #mirror: KafkaMirror;
  readonly #queues = new Map<string, TopicQueue>();
  /** Unsettled messages of the migration by the epoch they were routed under. */
  readonly #routed = new Map<number, number>();
  readonly #holds = new HoldClock();
  readonly #settled = new Pulse();
  readonly #figures = { kafka: { messages: 0, bytes: 0 }, owlmq: { messages: 0, bytes: 0 } };
  readonly #owlmqLatency = new LatencyWindow();
  #dropped = 0;
  #copyErrors = 0;
  #open = false;
  /** Set while closing: what is not in a lane, or is taken back from one, is rejected with it. */
  #closed: PublishError | undefined;
  #pumpQueued = false;
  #kafkaBatch: readonly Outgoing[] | undefined;
  /** Lowest epoch in it. */
  #kafkaEpoch = 0;
  /** Resolves when the last batch was answered; never rejects. */
  #kafkaSent: Promise<void> = Promise.resolve();
  /** Of lookups, which nobody waits for once this is closed. */
  readonly #closing = new AbortController();
  #rotation = 0;
  #expiry: NodeJS.Timeout | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    const { settings } = options;
    this.#bound = new MemoryBound({
      maxCount: settings.maxBufferedMessages,
      maxBytes: settings.maxBufferedBytes,
      timeoutMs: settings.bufferTimeoutMs,
    });
    this.#backlog = new CopyBacklog({ maxCount: settings.maxBacklogMessages, maxBytes: settings.maxBacklogBytes });
    this.#mirror = new KafkaMirror({
      timeoutMs: settings.mirrorTimeoutMs,
      onDone: (message) => {
        this.#resolve(message);
      },
      onDropped: ({ topic }) => {
        this.#drop(topic, 'kafka');
      },
      onDegraded: (degraded, cause) => {
        options.onEvent({ type: 'mirror-degraded', degraded, cause });
      },
    });
  }

  /** Accepts a message, now or when there is room for it. Its `settle` is called later, once. */
  accept(message: Outgoing): void {
    if (this.#bound.take(message.bytes)) {
      this.#enter(message);
      return;
    }
    const enter = (): void => {
      message.leaveLine = undefined;
      this.#enter(message);
    };
    const refuse = (error: PublishError): void => {
      message.settled = true;
      message.settle.reject(error);
    };
    message.leaveLine = this.#bound.await(message.bytes, enter, refuse);
  }

  /** Ends a call, and takes back its message when no leg was handed it. */
  abort(message: Outgoing, reason: unknown): void {
    if (message.settled) return;
    const { id, topic, routing, leaveLine } = message;
    const aborted = new PublishAbortedError(id, topic, { cause: reason });
    if (leaveLine !== undefined) {
      message.settled = true;
      leaveLine();
      message.settle.reject(aborted);
    } else if (routing === undefined) {
      this.#queue(topic).messages.remove(message);
      this.#reject(message, aborted);
      this.#holdsEnded();
    } else {
      // The write goes on, is waited for at a fence, and has its copy; the call hears of none of it.
      const { settle } = message;
      message.settle = nobody;
      // Only the mirror write is still due.
      if (message.owlmq !== undefined) settle.resolve(resultOf(message));
      else settle.reject(new PublishOutcomeUnknownError(id, topic, routing.primary, { cause: aborted }));
    }
    this.#settled.fire();
  }

  /** Lets messages leave, from the first time on that routes are known. */
  open(): void {
    this.#open = true;
    this.routesChanged();
  }

  /** Routes or the right to act on them changed: holds or releases calls, and sees a fence through. */
  routesChanged(): void {
    const held = [...this.#queues.values()].some((queue) => queue.messages.length > 0 && this.#isHeld(queue));
    if (held) {
      this.#holds.held();
    } else {
      const heldMs = this.#holds.released();
      if (heldMs > 0) this.#options.onEvent({ type: 'released', heldMs });
    }
    for (const lane of this.#lanes()) lane.retryNow();
    this.#pumpSoon();
  }

  /** A higher epoch is obeyed: what was dropped under the last one is not held against it. */
  epochChanged(): void {
    this.#backlog.forgetDrops();
  }

  /** Forgets holds of before this fence. */
  resetHolds(): void {
    this.#holds.reset();
  }

  /**
   * Completes what is in flight, or gives it up: what waits for a dead OwlMQ is taken back after two seconds, copies
   * for the audit, calls to go by the next state. Ends early when `goOn` says so.
   */
  async settleInFlight(goOn: () => boolean): Promise<void> {
    while (goOn() && !this.isQuiet()) {
      await Promise.all(this.#lanes().map((lane) => lane.drain(DRAIN_STALL_MS, DRAIN_TOTAL_MS)));
      if (!this.isQuiet()) await this.#settled.wait(500);
    }
  }

  /** Resolves true when nothing is unsettled and no copy waits; false when that is not so after `timeoutMs`. */
  async flush(timeoutMs: number, copiesToo: boolean): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (this.unsettled > 0 || (copiesToo && this.#backlog.count > 0)) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) return false;
      await this.#settled.wait(leftMs);
    }
    return true;
  }

  /** Rejects what was not routed yet, and sees to the rest as a fence does; with a dead Kafka too. */
  async close(error: PublishError): Promise<void> {
    this.#closed = error;
    this.#closing.abort();
    this.rejectWaiting(() => error);
    const kafkaSent = bounded(this.#kafkaSent, DRAIN_STALL_MS, () => error).catch(() => {
      this.#options.kafka.abandon();
    });
    await Promise.all(this.#lanes().map((lane) => lane.drain(DRAIN_STALL_MS, 2 * DRAIN_TOTAL_MS)));
    await kafkaSent;
    await this.#kafkaSent;
    clearTimeout(this.#expiry);
    this.#mirror.close();
  }

  /** Rejects what waits, and what waits for room, for a reason that holds for all of it. */
  rejectWaiting(errorOf: (message: Outgoing) => PublishError): void {
    for (const { messages } of this.#queues.values()) {
      // Each makes room for another, which is pushed meanwhile.
      for (let next = messages.shift(); next !== undefined; next = messages.shift()) this.#reject(next, errorOf(next));
    }
  }

  /**
   * Nothing may leave before the lease is back. What Kafka has not answered goes on then, if no other epoch has come.
   * Calls that wait for OwlMQ's answer are taken back: they must not wait for ever.
   */
  async leaseLost(): Promise<void> {
    if (this.#kafkaBatch !== undefined) this.#options.kafka.cut();
    for (const lane of this.#lanes()) lane.interrupt();
    const lanes = this.#lanes((topic) => this.#options.routeOf(topic).primary === 'owlmq');
    await Promise.all(lanes.map((lane) => lane.drain(DRAIN_STALL_MS, DRAIN_TOTAL_MS)));
  }

  /**
   * The lease of an earlier epoch is over: others may count on it that nothing of it is written any more. `unwatched`:
   * it was over before a higher epoch was seen, so that there may have been a fence in between.
   */
  async epochOver(epoch: number, unwatched: boolean): Promise<void> {
    if (this.#kafkaBatch !== undefined && this.#kafkaEpoch <= epoch) this.#options.kafka.abandon();
    const lanes = this.#lanes((topic) => unwatched || this.#options.routeOf(topic).fenced);
    await Promise.all(lanes.map((lane) => lane.recall()));
  }

  /** Lowest epoch of an unsettled message of the migration. */
  get lowestEpoch(): number | undefined {
    let lowest: number | undefined;
    for (const epoch of this.#routed.keys()) lowest = Math.min(epoch, lowest ?? epoch);
    return lowest;
  }

  get inFlight(): number {
    let count = 0;
    for (const ofEpoch of this.#routed.values()) count += ofEpoch;
    // Calls that no longer wait for their mirror write, which is under way all the same.
    for (const message of this.#kafkaBatch ?? []) {
      if (message.settled && message.routing?.migrated === true) count++;
    }
    return count + this.#mirror.due;
  }

  /** Nothing of the migration is in flight on either leg, copies included. */
  isQuiet(): boolean {
    return this.inFlight === 0 && this.#backlog.count === 0;
  }

  get unsettled(): number {
    return this.#bound.count + this.#bound.waiting;
  }

  get status() {
    let held = this.#bound.waiting;
    let anyHeld = false;
    for (const queue of this.#queues.values()) {
      if (!this.#isHeld(queue)) continue;
      anyHeld = true;
      held += queue.messages.length;
    }
    return {
      inFlight: this.inFlight,
      held: anyHeld ? held : 0,
      longestHoldMs: Math.round(this.#holds.longestMs),
      unsettled: this.unsettled,
      backlog: this.#backlog.count,
      dropped: this.#dropped,
      copyErrors: this.#copyErrors,
      owlmqLatencyMs: this.#owlmqLatency.quantile(0.99),
      oldestCopyMs: this.#oldestCopyMs(),
      kafka: { ...this.#figures.kafka },
      owlmq: { ...this.#figures.owlmq },
      mirrorDegraded: this.#mirror.degraded || this.#backlog.degraded,
      topics: [...this.#queues.keys()],
    };
  }

  #oldestCopyMs(): number {
    let since: number | undefined;
    for (const { oldest } of this.#lanes()) {
      if (oldest?.role === 'copy') since = Math.min(oldest.message.copyDueAt, since ?? Infinity);
    }
    return since === undefined ? 0 : Math.round(performance.now() - since);
  }

  #enter(message: Outgoing): void {
    if (this.#closed !== undefined) {
      this.#reject(message, this.#closed);
      return;
    }
    const queue = this.#queue(message.topic);
    queue.messages.push(message);
    this.#watchExpiry();
    if (this.#isHeld(queue)) this.#holds.held();
    this.#pumpSoon();
  }

  #queue(topic: string): TopicQueue {
    const present = this.#queues.get(topic);
    if (present !== undefined) return present;
    const queue: TopicQueue = {
      topic,
      messages: new Fifo(),
      roundRobin: new RoundRobin(),
      sequences: new Map(),
      lane: undefined,
      learning: false,
      lookingUp: false,
    };
    this.#queues.set(topic, queue);
    return queue;
  }

  #lanes(ofTopic: (topic: string) => boolean = () => true): OwlmqLane[] {
    return [...this.#queues.values()].flatMap(({ topic, lane }) =>
      lane !== undefined && ofTopic(topic) ? [lane] : [],
    );
  }

  #isHeld(queue: TopicQueue): boolean {
    if (!this.#open) return false;
    const route = this.#options.routeOf(queue.topic);
    return !this.#options.mayWrite() || route.fenced || queue.lookingUp || isLookupDue(queue, route);
  }

  #pumpSoon(): void {
    if (this.#pumpQueued) return;
    this.#pumpQueued = true;
    // Calls of one turn go together.
    queueMicrotask(() => {
      this.#pumpQueued = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (!this.#open || !this.#options.mayWrite()) return;
    const ready: { queue: TopicQueue; route: Route; leaders: readonly number[] }[] = [];
    for (const queue of this.#queues.values()) {
      if (queue.messages.length === 0 || queue.lane?.recalling === true || queue.lookingUp) continue;
      const leaders = this.#options.partitions.leaders(queue.topic);
      if (leaders === undefined) {
        this.#learn(queue);
        continue;
      }
      const route = this.#options.routeOf(queue.topic);
      if (route.fenced) continue;
      if (isLookupDue(queue, route)) this.#lookUp(queue, route.inKafkaBefore ?? []);
      else ready.push({ queue, route, leaders });
    }
    for (const { queue, route, leaders } of ready) {
      if (route.primary === 'owlmq') this.#pumpOwlmq(queue, route, leaders.length);
    }
    this.#pumpKafka(ready.filter(({ route }) => route.primary === 'kafka'));
  }

  #learn(queue: TopicQueue): void {
    if (queue.learning) return;
    queue.learning = true;
    const timeoutMs = Math.min(LEARN_TIMEOUT_MS, this.#options.settings.deliveryTimeoutMs);
    this.#options.partitions
      .learn(queue.topic, timeoutMs)
      .catch((cause: unknown) => {
        const reason = cause instanceof Error ? cause.message : String(cause);
        for (const message of queue.messages.clear()) {
          const { id, topic } = message;
          this.#reject(message, new PublishFailedError(id, topic, reason, { cause, retriable: 'safe' }));
        }
      })
      .finally(() => {
        queue.learning = false;
        this.#pumpSoon();
      });
  }

  /**
   * Calls that OwlMQ may have, at the head of a queue that goes to Kafka now: those that it has, and that the rollback
   * made sure are in Kafka, are done, since Kafka would have them twice. The others are written to Kafka, as all are where
   * OwlMQ does not answer. They stay in the queue meanwhile.
   */
  #lookUp(queue: TopicQueue, inKafkaBefore: readonly number[]): void {
    const { topic, messages } = queue;
    queue.lookingUp = true;
    const asked = messages.headWhile(isUnclear);
    const ids = asked.map(({ id }) => id);
    const { signal } = this.#closing;
    const lookup = this.#options.owlmq().lookup(topic, ids, { timeoutMs: LOOKUP_TIMEOUT_MS, attempts: 1, signal });
    bounded(lookup, LOOKUP_TIMEOUT_MS, () => new OwlmqUnreachableError('OwlMQ did not say what it has.', 'timeout'))
      .catch((error: unknown) => {
        if (!signal.aborted) this.#options.onEvent({ type: 'error', error: asError(error) });
        return [];
      })
      .then((places) => {
        queue.lookingUp = false;
        for (const [index, message] of asked.entries()) {
          message.lookedUp = true;
          const place = places[index];
          if (place === undefined || place.offset >= (inKafkaBefore[place.partition] ?? 0)) continue;
          if (!this.#end(message)) continue;
          messages.remove(message);
          message.routing = message.attempted;
          message.owlmq = place;
          message.settle.resolve(resultOf(message));
        }
        this.routesChanged();
        this.#progressed();
      })
      .catch((error: unknown) => {
        this.#options.onEvent({ type: 'error', error: asError(error) });
      });
  }

  /** Takes what fits from the head of a queue; refuses messages whose partition does not exist. */
  #take(queue: TopicQueue, partitions: number, limits: BatchLimits): Outgoing[] {
    const taken: Outgoing[] = [];
    for (let next = queue.messages.peek(); next !== undefined; next = queue.messages.peek()) {
      next.partition ??= next.wantedPartition ?? choosePartition(next, queue, partitions);
      if (next.partition >= partitions) {
        queue.messages.shift();
        const reason = `partition ${next.partition} does not exist, there are ${partitions}.`;
        this.#reject(next, new PublishFailedError(next.id, next.topic, reason, { retriable: 'no' }));
        continue;
      }
      if (!limits.add(next)) break;
      queue.messages.shift();
      taken.push(next);
    }
    return taken;
  }

  /** Routes messages: from here on they belong to this epoch. */
  #route(messages: readonly Outgoing[], queue: TopicQueue, route: Route): void {
    const { epoch, migrated, primary } = route;
    const copied: Routing = { epoch, migrated, primary, copied: true };
    const single: Routing = { epoch, migrated, primary, copied: false };
    for (const message of messages) {
      message.routing = isToBeCopied(message, route) ? copied : single;
      if (message.sequence !== 0) continue;
      const partition = message.partition ?? 0;
      message.sequence = (queue.sequences.get(partition) ?? 0) + 1;
      queue.sequences.set(partition, message.sequence);
    }
    if (migrated && messages.length > 0) this.#routed.set(epoch, (this.#routed.get(epoch) ?? 0) + messages.length);
  }

  #unroute(message: Outgoing): void {
    const { routing } = message;
    message.routing = undefined;
    if (routing?.migrated !== true) return;
    const left = (this.#routed.get(routing.epoch) ?? 0) - 1;
    if (left > 0) this.#routed.set(routing.epoch, left);
    else this.#routed.delete(routing.epoch);
  }

  // Kafka: as primary, and as the mirror of what OwlMQ has acknowledged.

  #pumpKafka(ready: readonly { queue: TopicQueue; route: Route; leaders: readonly number[] }[]): void {
    if (this.#kafkaBatch !== undefined) return;
    const limits = new BatchLimits();
    const mirrored: Outgoing[] = [];
    for (let next = this.#mirror.peek(); next !== undefined; next = this.#mirror.peek()) {
      if (!this.#options.mayWriteUnder(next.routing?.epoch ?? 0)) {
        this.#mirror.take();
        this.#mirror.leave(next);
        continue;
      }
      if (!limits.add(next)) break;
      this.#mirror.take();
      mirrored.push(next);
    }
    const primary: Outgoing[] = [];
    // Another topic is first each time, so that a busy one does not starve the others.
    const first = ready.length === 0 ? 0 : this.#rotation++ % ready.length;
    for (const { queue, route, leaders } of [...ready.slice(first), ...ready.slice(0, first)]) {
      const messages = this.#take(queue, leaders.length, limits);
      this.#route(messages, queue, route);
      for (const message of messages) primary.push(message);
    }
    if (limits.count === 0) return;
    const batch = [...mirrored, ...primary];
    this.#kafkaBatch = batch;
    const epoch = batch.reduce((lowest, { routing }) => Math.min(lowest, routing?.epoch ?? 0), Infinity);
    this.#kafkaEpoch = epoch;
    const entries = batch.map((message) => this.#kafkaEntry(message));
    const sentAt = performance.now();
    this.#kafkaSent = this.#options.kafka
      .send(entries, () => this.#options.mayWriteUnder(epoch))
      .then(() => {
        this.#kafkaBatch = undefined;
        const now = performance.now();
        this.#options.meter?.request({
          ...{ leg: 'kafka', topic: undefined, messages: batch.length, ms: now - sentAt },
          outcome: entries.some(({ outcome }) => typeof outcome !== 'object' || outcome instanceof Error)
            ? 'failed'
            : 'answered',
        });
        const notSent: Outgoing[] = [];
        for (const [index, message] of batch.entries()) {
          const outcome = entries[index]?.outcome ?? new PublishOutcomeUnknownError(message.id, message.topic, 'kafka');
          if (index < mirrored.length) this.#mirrorAnswered(message, outcome);
          else if (outcome === 'not-sent') notSent.push(message);
          else this.#kafkaAnswered(message, outcome, now);
        }
        this.#requeue(notSent);
        for (const lane of this.#lanes()) lane.gather();
      })
      .catch((error: unknown) => {
        // A lane answers for each entry and throws nothing: this is a defect, and no call may hang on it.
        this.#kafkaBatch = undefined;
        for (const message of batch) {
          this.#reject(message, new PublishOutcomeUnknownError(message.id, message.topic, 'kafka', { cause: error }));
        }
      })
      .finally(() => {
        this.#progressed();
      });
  }

  #kafkaEntry(message: Outgoing): KafkaEntry {
    const { id, topic, partition = 0 } = message;
    return {
      id,
      topic,
      partition,
      message: kafkaMessage(message, this.#options.instance, sourceOf('owlmq', message.owlmq)),
      outcome: undefined,
    };
  }

  /** Puts messages back in front of those that came later, to go by the state that comes. */
  #requeue(messages: readonly Outgoing[]): void {
    for (const message of messages) this.#unroute(message);
    if (this.#closed !== undefined) {
      // Not back to the queue, from where they would be sent again.
      for (const message of messages) this.#reject(message, this.#closed);
      return;
    }
    for (const topic of new Set(messages.map((message) => message.topic))) {
      this.#queue(topic).messages.unshift(messages.filter((message) => message.topic === topic));
    }
    if (messages.length === 0) return;
    // They are older than those that the timer was set for.
    clearTimeout(this.#expiry);
    this.#expiry = undefined;
    this.#watchExpiry();
  }

  #kafkaAnswered(message: Outgoing, outcome: Exclude<KafkaOutcome, 'not-sent'>, now: number): void {
    if (outcome instanceof Error) {
      this.#reject(message, outcome);
      return;
    }
    message.kafka = outcome;
    message.copyDueAt = now;
    this.#count('kafka', message);
    this.#mirror.recovered();
    if (message.routing?.copied === true) this.#copy(message);
    this.#resolve(message);
  }

  #mirrorAnswered(message: Outgoing, outcome: KafkaOutcome): void {
    if (outcome === 'not-sent') {
      this.#mirror.leave(message);
      return;
    }
    if (outcome instanceof Error) {
      this.#mirror.failed(message, outcome);
      return;
    }
    // Told to a caller that still waits.
    if (!message.settled) message.kafka = outcome;
    this.#count('kafka', message);
    this.#options.meter?.copies({ topic: message.topic, leg: 'kafka', outcome: 'written', count: 1 });
    this.#mirror.written(message);
  }

  // OwlMQ: as primary, and copies of what Kafka has acknowledged.

  #pumpOwlmq(queue: TopicQueue, route: Route, partitions: number): void {
    const lane = this.#lane(queue);
    // One batch at a time: what is not in a lane can still go by another state.
    if (lane.size > 0) return;
    const messages = this.#take(queue, partitions, new BatchLimits());
    this.#route(messages, queue, route);
    for (const message of messages) lane.push(message, 'primary');
    lane.kick();
  }

  /** The lane is started by the caller, once a batch. */
  #copy(message: Outgoing): void {
    const lane = this.#lane(this.#queue(message.topic));
    const room = this.#backlog.take(message.topic, message.bytes, lane.size);
    if (room === 'taken') {
      lane.push(message, 'copy');
      return;
    }
    this.#drop(message.topic, 'owlmq');
    this.#backlog.dropped();
    if (room === 'overflow') {
      this.#options.onEvent({
        type: 'copies-dropped',
        topic: message.topic,
        count: 1,
        reason: 'OwlMQ is slow or unreachable and the backlog is full; copies are dropped until it is written.',
      });
    }
  }

  #lane(queue: TopicQueue): OwlmqLane {
    queue.lane ??= new OwlmqLane({
      api: this.#options.owlmq(),
      topic: queue.topic,
      deliveryTimeoutMs: this.#options.settings.deliveryTimeoutMs,
      requestTimeoutMs: Math.min(OWLMQ_REQUEST_TIMEOUT_MS, this.#options.settings.deliveryTimeoutMs),
      mayWrite: this.#options.mayWrite,
      recordOf: ({ message, role }) => {
        const source = role === 'copy' ? sourceOf('kafka', message.kafka) : undefined;
        return owlmqRecord(message, this.#options.instance, source);
      },
      onStored: (entry, place) => {
        this.#stored(entry, place);
      },
      onGivenUp: (entry, error) => {
        this.#givenUp(entry, error);
      },
      onTakenBack: (entries) => {
        this.#takenBack(queue.topic, entries);
      },
      onRequest: ({ entries, ms, answered, failed }) => {
        if (answered) this.#owlmqLatency.add(ms);
        if (failed) this.#copyErrors++;
        const outcome = failed ? 'failed' : 'answered';
        this.#options.meter?.request({ leg: 'owlmq', topic: queue.topic, messages: entries, ms, outcome });
      },
      onError: (error) => {
        this.#options.onEvent({ type: 'error', error });
      },
      onProgress: () => {
        this.#progressed();
      },
    });
    return queue.lane;
  }

  #stored({ message, role }: LaneEntry, { partition, offset }: PartitionOffset): void {
    this.#count('owlmq', message);
    if (role === 'copy') {
      this.#backlog.stored(message.bytes);
      this.#options.meter?.copies({ topic: message.topic, leg: 'owlmq', outcome: 'written', count: 1 });
      return;
    }
    message.owlmq = { partition, offset };
    if (message.routing?.copied === true) this.#mirror.add(message);
    else this.#resolve(message);
  }

  #givenUp({ message, role }: LaneEntry, error: LaneError): void {
    if (role === 'primary') {
      this.#reject(message, error);
      return;
    }
    this.#backlog.givenUp(message.bytes);
    this.#drop(message.topic, 'owlmq');
    this.#options.onEvent({ type: 'copies-dropped', topic: message.topic, count: 1, reason: error.message });
  }

  /** Copies for the audit, calls to go by the next state. */
  #takenBack(topic: string, left: readonly RecalledEntry[]): void {
    const copies = left.filter(({ role }) => role === 'copy');
    for (const { message } of copies) this.#backlog.givenUp(message.bytes);
    if (copies.length > 0) {
      this.#drop(topic, 'owlmq', copies.length);
      const reason = 'OwlMQ did not take them in time.';
      this.#options.onEvent({ type: 'copies-dropped', topic, count: copies.length, reason });
    }
    const calls = left.filter(({ role }) => role === 'primary');
    for (const { message, outcomeUnknown } of calls) {
      if (!outcomeUnknown) continue;
      message.attempted = message.routing;
      message.lookedUp = false;
    }
    this.#requeue(calls.map(({ message }) => message));
    this.#progressed();
  }

  // Ends of messages.

  #count(leg: Leg, message: Outgoing): void {
    this.#figures[leg].messages++;
    this.#figures[leg].bytes += (message.key?.length ?? 0) + (message.value?.length ?? 0);
  }

  /** Leaves copies to the audit. */
  #drop(topic: string, leg: Leg, count = 1): void {
    this.#dropped += count;
    this.#options.meter?.copies({ topic, leg, outcome: 'dropped', count });
  }

  #resolve(message: Outgoing): void {
    if (!this.#end(message)) return;
    message.settle.resolve(resultOf(message));
  }

  #reject(message: Outgoing, error: PublishError): void {
    if (!this.#end(message)) return;
    const { id, topic, attempted } = message;
    // Whatever ended it: who is told that it was not sent may send it again under another id.
    const unknown = attempted !== undefined && !(error instanceof PublishOutcomeUnknownError);
    message.settle.reject(unknown ? new PublishOutcomeUnknownError(id, topic, 'owlmq', { cause: error }) : error);
  }

  #end(message: Outgoing): boolean {
    if (message.settled) return false;
    const { routing } = message;
    this.#unroute(message);
    // Copies and mirror writes that go on are still known by it.
    message.routing = routing;
    message.settled = true;
    this.#bound.release(message.bytes);
    return true;
  }

  #progressed(): void {
    this.#settled.fire();
    this.#options.onChange();
    this.#pumpSoon();
  }

  /** Rejects messages that waited unsent for too long. */
  #watchExpiry(): void {
    if (this.#expiry !== undefined) return;
    let oldest: number | undefined;
    for (const { messages } of this.#queues.values()) {
      const acceptedAt = messages.peek()?.acceptedAt;
      if (acceptedAt !== undefined) oldest = Math.min(acceptedAt, oldest ?? acceptedAt);
    }
    if (oldest === undefined) return;
    const { holdTimeoutMs } = this.#options.settings;
    this.#expiry = setTimeout(
      () => {
        this.#expiry = undefined;
        this.#expire(performance.now() - holdTimeoutMs);
        this.#watchExpiry();
      },
      Math.max(1, oldest + holdTimeoutMs - performance.now()),
    );
  }

  #expire(acceptedBefore: number): void {
    const { holdTimeoutMs } = this.#options.settings;
    for (const { topic, messages } of this.#queues.values()) {
      for (
        let next = messages.peek();
        next !== undefined && next.acceptedAt <= acceptedBefore;
        next = messages.peek()
      ) {
        messages.shift();
        this.#reject(next, new PublishHeldTimeoutError(next.id, topic, this.#holdReason(topic), holdTimeoutMs));
      }
    }
    this.#holdsEnded();
    this.#settled.fire();
  }

  /** Held calls were ended: no longer hold than that of a call is told. */
  #holdsEnded(): void {
    let oldest: number | undefined;
    for (const queue of this.#queues.values()) {
      const acceptedAt = queue.messages.peek()?.acceptedAt;
      if (acceptedAt !== undefined && this.#isHeld(queue)) oldest = Math.min(acceptedAt, oldest ?? acceptedAt);
    }
    this.#holds.ended(oldest);
  }

  #holdReason(topic: string): PublishHeldTimeoutError['reason'] {
    if (!this.#options.mayWrite()) return 'lease-lost';
    return this.#options.routeOf(topic).fenced ? 'fence' : 'backlog';
  }
}

/** Who hears of a call that was ended already. */
const nobody: Outgoing['settle'] = { resolve: () => undefined, reject: () => undefined };

function choosePartition(message: Outgoing, queue: TopicQueue, partitions: number): number {
  return message.key === null ? queue.roundRobin.partition(partitions) : partitionOfKey(message.key, partitions);
}

/** Whether OwlMQ may have a message, and was not asked since. */
function isUnclear({ attempted, lookedUp }: Outgoing): boolean {
  return attempted !== undefined && !lookedUp;
}

/** Such messages are at the head of a queue: what is sent first is taken back first. */
function isLookupDue({ messages }: TopicQueue, { primary, inKafkaBefore }: Route): boolean {
  if (primary !== 'kafka' || inKafkaBefore === undefined) return false;
  const next = messages.peek();
  return next !== undefined && isUnclear(next);
}

/** After cutover every message is on both legs; before it those whose key the ratio takes. */
function isToBeCopied(message: Outgoing, route: Pick<Route, 'primary' | 'mirror' | 'ratio'>): boolean {
  if (!route.mirror) return false;
  return route.primary === 'owlmq' || isCopied(message.key ?? Buffer.from(message.id), route.ratio);
}

function sourceOf(leg: Leg, place: PartitionOffset | undefined) {
  return place === undefined ? undefined : { leg, ...place };
}
