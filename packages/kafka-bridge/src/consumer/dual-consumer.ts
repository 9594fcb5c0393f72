import { setMaxListeners } from 'node:events';
import { Kafka, logLevel } from 'kafkajs';
import { asError, bounded } from '../async/bounded.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader } from '../kafka/log-reader.js';
import { newInstanceId } from '../members/instance-id.js';
import type { ConsumerReport } from '../members/member-report.js';
import { MemberReporter } from '../members/member-reporter.js';
import type { Leg } from '../message/headers.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
import { OwlmqClient } from '../owlmq/owlmq-client.js';
import { ensureBridgeTopics } from '../routing/bridge-topics.js';
import { finalStateToStartBy, NO_KAFKA, type Decommissioned } from '../routing/final-state.js';
import { RoutingFollower } from '../routing/routing-follower.js';
import { DEFAULT_LEASE_MS, shadowLeg, type RoutingState } from '../routing/routing-state.js';
import { ApplyGate } from './apply-gate.js';
import type { ConsumingSide, SideOptions } from './consuming-side.js';
import type { ConsumerStatus, PartitionStatus } from './consumer-status.js';
import { DeadLetters } from './dead-letters.js';
import { HandlerInterruptedError } from './handler-interrupted.js';
import { MessagesInHand } from './handler-turn.js';
import { KafkaSide, type KafkaConsumerOptions } from './kafka-side.js';
import {
  LiveRunner,
  ShadowRunner,
  type ApplyHandler,
  type Counters,
  type FailureDecision,
  type HandlerFailure,
  type MessageRunner,
  type ProcessHandler,
  type RetryLimits,
} from './message-runner.js';
import { ObservationProducer } from './observation-producer.js';
import { Observer } from './observer.js';
import { OutputDigester } from './output-digest.js';
import { OwlmqSide } from './owlmq-side.js';
import { RecentIds } from './recent-ids.js';
import { rotatedAssigner } from './rotated-assigner.js';
import { SideSlot } from './side-slot.js';

export interface DualConsumerOptions<Output> {
  /**
   * As in `new Kafka(...)` of kafkajs. `decommissioned`, with a migration, once that is over and Kafka is gone: then
   * OwlMQ has to keep the migration's final routing state, else nothing starts.
   */
  kafka: KafkaConnection | Decommissioned;
  /** Default: `OWLMQ_URL` and `OWLMQ_API_KEY` of the environment. Not needed without `migration`. */
  owlmq?: { url?: string; apiKey?: string };
  groupId: string;
  topics: string[];
  /** Name of the migration whose routing is obeyed. Without one this is a consumer of Kafka. */
  migration?: string;
  /** Free of side effects: it runs on the live side and, while shadows run, on the shadow as well. */
  process: ProcessHandler<Output>;
  /** The effects. Runs on the live side only, at least once a message. */
  apply: ApplyHandler<Output>;
  /** JSON pointers (RFC 6901) of parts of the output that may differ; `*` means each item or property. */
  ignore?: string[];
  /** Form of the output that the sides are compared by, for outputs that differ without meaning (default: itself). */
  comparable?: (output: Output) => unknown;
  /**
   * Whether observations hold the output itself, as canonical JSON of at most 8,192 characters, next to its digests
   * (default false: no payload leaves the service).
   */
  capture?: boolean;
  /** Key of the digests (default: `OWLMQ_BRIDGE_DIGEST_KEY`); the same in every instance of the group. */
  digestKey?: string;
  /** Options of the Kafka consumer, as kafkajs has them. `sessionTimeout` (default 10 s) is OwlMQ's too. */
  consumer?: KafkaConsumerOptions;
  /**
   * Messages of a partition in hand at once, on each side (default 1: one after the other). With more, those of one key
   * stay in order, and no commit passes one that is not done.
   */
  concurrency?: number;
  /** Version of the handler, told in observations: at most 100 characters. */
  handlerVersion?: string;
  /** Where to begin on a partition without a commit (default false: at the end). */
  fromBeginning?: boolean;
  /**
   * Attempts of `process` and `apply` on a message before it counts as failed, and of `process` on the shadow. Default:
   * 5, 100 ms to 5 s apart.
   */
  retry?: { attempts?: number; initialDelayMs?: number; maxDelayMs?: number };
  /** What to do about a message that failed (default: `stop`). */
  onFailure?: (failure: HandlerFailure) => FailureDecision | Promise<FailureDecision>;
  /** Topic for messages that `onFailure` answers `dead-letter` to; has to exist on the leg that is live. */
  deadLetterTopic?: string;
  /** Told of everything that goes wrong while running; consuming goes on where it can. Default: a process warning. */
  onError?: (error: Error) => void;
  /** Bound on `start()`, ms (default 60,000). */
  startTimeoutMs?: number;
}

/** Messages were still in hand when the time of `stop()` was over: their handlers did not end at the signal. */
export class ConsumerStopTimeoutError extends Error {
  override readonly name = 'ConsumerStopTimeoutError';
  constructor(
    /** `TOPIC/PARTITION ID` of each. */
    readonly inHand: readonly string[],
    ms: number,
  ) {
    super(
      `After ${Math.round(ms)} ms ${inHand.length} messages are still in hand, the first ${inHand[0] ?? 'unknown'}: end the process. They were not committed and are delivered again.`,
    );
  }
}

export interface StopOptions {
  /** How long messages in hand may take before their handlers' signals abort, ms (default 30,000). */
  graceMs?: number;
}

/** The consumer did not get into its group in time; the cause says why, where it is known. */
export class ConsumerStartError extends Error {
  override readonly name = 'ConsumerStartError';
}

/**
 * A routing state does not name the consumer's group or one of its topics, so that nothing would be prepared for it on
 * the other side: the consumer stays where it is, and reports the older epoch.
 */
export class RoutingDoesNotCoverError extends Error {
  override readonly name = 'RoutingDoesNotCoverError';
}

const DEFAULT_SESSION_TIMEOUT_MS = 10_000;
const DEFAULT_START_TIMEOUT_MS = 60_000;
const DEFAULT_STOP_GRACE_MS = 30_000;
/** From the abort of the handlers' signals to giving them up, ms. */
const INTERRUPTED_GRACE_MS = 5_000;
const MAX_VERSION_CHARS = 100;
const MAX_CONCURRENCY = 1_000;

/**
 * Consumes topics on the side that the routing names live: Kafka before the cutover, OwlMQ after it. While shadows run
 * it consumes OwlMQ as well, or Kafka a second time, in the group `GROUP.shadow`, with `process` alone.
 */
export class DualConsumer<Output> {
  /** Unique name of this instance in member reports. */
  readonly instance = newInstanceId();
  readonly #options: DualConsumerOptions<Output>;
  readonly #connection: KafkaConnection;
  readonly #kafka: Kafka;
  readonly #reader: LogReader;
  readonly #counters: Counters = { applied: 0, failed: 0 };
  readonly #recent = new RecentIds();
  readonly #inHand = new MessagesInHand();
  /** Aborts when what is in hand is to end, because the consumer stops. */
  readonly #interrupt = new AbortController();
  /** Aborts when what is in hand is not waited for any more. */
  readonly #abandon = new AbortController();
  #paused = false;
  #stopping: Promise<void> | undefined;
  #lastError: Error | undefined;
  readonly #gate: ApplyGate;
  /** The live sides, and the shadows on both legs. */
  readonly #slots: Record<'kafka' | 'owlmq' | 'kafkaShadow' | 'owlmqShadow', SideSlot>;
  readonly #migration: Migration | undefined;
  readonly #deadLetters: DeadLetters;
  /** The newest state that covers this consumer. */
  #state: RoutingState | undefined;
  #appliedEpoch = 0;
  /** What the last report showed, to report changes at once. */
  #shown = '';
  readonly #onChange = new Set<() => void>();
  #phase: 'new' | 'running' | 'stopped' = 'new';

  /**
   * @throws {TypeError} when `ignore` holds something that is no JSON pointer, or `deadLetterTopic` is consumed as well.
   * @throws {RangeError} when `concurrency` is not a whole number from 1 to 1,000, or `handlerVersion` is too long.
   */
  constructor(options: DualConsumerOptions<Output>) {
    const { concurrency = 1, handlerVersion = '' } = options;
    if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > MAX_CONCURRENCY) {
      throw new RangeError(`concurrency must be a whole number from 1 to ${MAX_CONCURRENCY}, not ${concurrency}.`);
    }
    if (handlerVersion.length > MAX_VERSION_CHARS) {
      throw new RangeError(`handlerVersion must have at most ${MAX_VERSION_CHARS} characters.`);
    }
    if (options.deadLetterTopic !== undefined && options.topics.includes(options.deadLetterTopic)) {
      throw new TypeError(`deadLetterTopic ${options.deadLetterTopic} is one of the topics consumed: name another.`);
    }
    if (options.kafka === 'decommissioned' && options.migration === undefined) {
      throw new TypeError("kafka: 'decommissioned' needs the migration that it was.");
    }
    setMaxListeners(0, this.#interrupt.signal);
    this.#options = options;
    this.#connection = options.kafka === 'decommissioned' ? NO_KAFKA : options.kafka;
    this.#kafka = new Kafka({ logLevel: logLevel.NOTHING, clientId: this.instance, ...this.#connection });
    this.#reader = new LogReader(this.#connection, { clientId: this.instance });
    this.#migration = this.#openMigration();
    this.#deadLetters = new DeadLetters({
      topic: options.deadLetterTopic,
      group: options.groupId,
      handlerVersion: options.handlerVersion,
      kafka: this.#kafka,
      owlmq: this.#migration?.owlmq,
    });
    const state = (): RoutingState | undefined => this.#state;
    const leaseValid = (): boolean => this.#leaseValid;
    this.#gate = new ApplyGate({
      get state() {
        return state();
      },
      get leaseValid() {
        return leaseValid();
      },
    });
    const changed = (): void => {
      this.#evaluate();
    };
    this.#slots = {
      kafka: new SideSlot(() => this.#kafkaSide(), changed),
      owlmq: new SideSlot(() => this.#owlmqSide(), changed),
      kafkaShadow: new SideSlot(() => this.#kafkaShadow(), changed),
      owlmqShadow: new SideSlot(() => this.#owlmqShadow(), changed),
    };
  }

  /**
   * Registers the instance, reads the routing to its end, and joins the group of the live side.
   *
   * @throws {RoutingUnavailableError} when the routing topic cannot be read, and OwlMQ keeps no final state either.
   * @throws {ConsumerStartError} when the group could not be joined within `startTimeoutMs`.
   */
  async start(): Promise<void> {
    if (this.#phase !== 'new') throw new ConsumerStartError('A DualConsumer is started once: make a new one.');
    this.#phase = 'running';
    const timeoutMs = this.#options.startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS;
    const deadline = performance.now() + timeoutMs;
    try {
      await this.#startMigration(timeoutMs);
      this.#reconcile();
      await this.#joined(deadline);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /**
   * Takes no message on any more, waits for those in hand, commits, leaves the groups and reports so. Handlers that take
   * longer than `graceMs` are told by their signal; those that go on for 5 s more are given up.
   *
   * @throws {ConsumerStopTimeoutError} when handlers were given up. Their messages are delivered again.
   */
  async stop(options: StopOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(options.graceMs ?? DEFAULT_STOP_GRACE_MS);
    await this.#stopping;
  }

  /**
   * Takes no message on until `resume()`, on any side. Those in hand are finished; the consumer stays in its groups. A
   * paused consumer does not drain: a migration waits for it, and its soak clock stands.
   */
  pause(): void {
    this.#setPaused(true);
  }

  /** Goes on after `pause()`. */
  resume(): void {
    this.#setPaused(false);
  }

  /** How the consumer stands now. */
  status(): ConsumerStatus {
    const { kafka, owlmq } = this.#slots;
    const shadow = this.#shadow;
    const now = performance.now();
    const live = this.#live();
    const oldest = Math.min(...this.#inHand.list.map(({ since }) => since));
    return {
      phase: this.#phase,
      paused: this.#paused,
      epoch: this.#state?.epoch ?? 0,
      live: this.#state?.live ?? 'kafka',
      joined: live?.joined === true,
      shadow: shadow.current?.joined === true ? 'running' : shadow.wanted ? 'joining' : 'off',
      leaseValid: this.#leaseValid,
      inHand: this.#inHand.list.length,
      oldestInHandMs: Number.isFinite(oldest) ? now - oldest : 0,
      partitions: [
        ...partitionStatuses('kafka', kafka.current),
        ...partitionStatuses('owlmq', owlmq.current),
        ...partitionStatuses('shadow', shadow.current),
      ],
      applied: this.#counters.applied,
      failed: this.#counters.failed,
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
    };
  }

  #setPaused(paused: boolean): void {
    if (this.#paused === paused) return;
    this.#paused = paused;
    for (const { current } of Object.values(this.#slots)) current?.routingChanged();
  }

  async #stop(graceMs: number): Promise<void> {
    this.#phase = 'stopped';
    const begun = performance.now();
    let givenUp: ConsumerStopTimeoutError | undefined;
    const sides = Promise.all(Object.values(this.#slots).map((slot) => slot.stop()));
    const interrupting = setTimeout(() => {
      this.#interrupt.abort(new HandlerInterruptedError('stopping'));
    }, graceMs);
    try {
      await bounded(
        sides,
        graceMs + INTERRUPTED_GRACE_MS,
        () =>
          new ConsumerStopTimeoutError(
            this.#inHand.list.map(({ topic, partition, id }) => `${topic}/${partition} ${id}`),
            performance.now() - begun,
          ),
      );
    } catch (error) {
      if (!(error instanceof ConsumerStopTimeoutError)) throw error;
      givenUp = error;
      // Its effects may still come: it falls silent instead of saying that it has left.
      this.#abandon.abort();
    } finally {
      clearTimeout(interrupting);
    }
    if (this.#migration !== undefined) {
      if (this.#migration.final === undefined) {
        await this.#migration.producer.stop();
        await this.#migration.reporter.stop(this.#report());
        await this.#migration.follower.stop();
      }
      await this.#migration.owlmq.close();
    }
    await this.#deadLetters.close();
    await this.#reader.close();
    if (givenUp !== undefined) throw givenUp;
  }

  #openMigration(): Migration | undefined {
    const { migration, groupId, ignore, comparable, capture, handlerVersion } = this.#options;
    const kafka = this.#connection;
    if (migration === undefined) return undefined;
    const onError = (error: Error): void => {
      this.#onError(error);
    };
    const producer = new ObservationProducer(this.#kafka, onError);
    const digestKey = this.#options.digestKey ?? process.env.OWLMQ_BRIDGE_DIGEST_KEY;
    const follower = new RoutingFollower({ connection: kafka, migration, clientId: this.instance, onError });
    return {
      producer,
      owlmq: new OwlmqClient(this.#options.owlmq ?? {}),
      follower,
      reporter: new MemberReporter({
        connection: kafka,
        instance: this.instance,
        report: () => this.#report(),
        onDelivered: (report) => {
          follower.reported(report);
        },
        onError,
      }),
      observer: new Observer({
        migration,
        group: groupId,
        handlerVersion,
        producer,
        digester: new OutputDigester({
          migration,
          ...(digestKey === undefined ? {} : { digestKey }),
          ...(ignore === undefined ? {} : { ignore }),
          ...(capture === undefined ? {} : { capture }),
        }),
        comparable: comparable === undefined ? undefined : (output) => comparable(output as Output),
        state: () => this.#state,
        onError,
      }),
    };
  }

  async #startMigration(timeoutMs: number): Promise<void> {
    if (this.#migration === undefined) return;
    const { follower, reporter, producer, owlmq } = this.#migration;
    const { kafka, migration = '' } = this.#options;
    const final = await finalStateToStartBy({ kafka, owlmq, migration, clientId: this.instance });
    if (final !== undefined) {
      this.#migration.final = final;
      this.#takeState();
      return;
    }
    try {
      await ensureBridgeTopics(this.#connection, this.instance, 'consumer');
    } catch (error) {
      // It may not be allowed to create topics: then they must be there, which the next step shows.
      this.#onError(asError(error));
    }
    await producer.start();
    // Registered before the routing is read: whoever writes an epoch and then reads the members knows of this one.
    await reporter.start();
    await follower.start({ timeoutMs });
    this.#takeState();
    follower.onChange(() => {
      this.#takeState();
      this.#reconcile();
    });
    follower.onLease(() => {
      this.#routingChanged();
    });
  }

  /** Always without a migration, and by a final state that nothing follows. */
  get #leaseValid(): boolean {
    if (this.#migration === undefined || this.#migration.final !== undefined) return true;
    return this.#migration.follower.leaseValid;
  }

  /** Takes the newest state, if it speaks of this consumer. */
  #takeState(): void {
    const state = this.#migration?.final ?? this.#migration?.follower.state;
    if (state === undefined) return;
    const { groupId, topics } = this.#options;
    const uncovered = topics.filter((topic) => !state.topics.includes(topic));
    if (state.groups.includes(groupId) && uncovered.length === 0) {
      this.#state = state;
      return;
    }
    const lacking = uncovered.length === 0 ? `group ${groupId}` : `topic ${uncovered.join(', ')}`;
    this.#onError(
      new RoutingDoesNotCoverError(
        `Epoch ${state.epoch} of migration ${state.migration} does not name ${lacking}: this consumer does not follow it. Start the migration with it, or give the consumer another migration.`,
      ),
    );
  }

  /** Sets the sides going that the state wants. */
  #reconcile(): void {
    if (this.#phase !== 'running') return;
    const live = this.#state?.live ?? 'kafka';
    this.#slots.kafka.set(live === 'kafka');
    this.#slots.owlmq.set(live === 'owlmq');
    const shadow = shadowLeg(this.#state);
    this.#slots.kafkaShadow.set(shadow === 'kafka');
    this.#slots.owlmqShadow.set(shadow === 'owlmq');
    this.#routingChanged();
  }

  #routingChanged(): void {
    this.#gate.notify();
    for (const { current } of Object.values(this.#slots)) current?.routingChanged();
    this.#evaluate();
  }

  /** Looks whether the state is applied in full by now, and reports at once what has changed. */
  #evaluate(): void {
    const report = this.#report();
    for (const listener of [...this.#onChange]) listener();
    const shown = JSON.stringify([report.state, report.epoch, report.shadow, report.memberId]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    if (this.#phase !== 'running') return;
    // By the final state alone there is nobody to tell.
    if (this.#migration === undefined || this.#migration.final !== undefined) return;
    this.#migration.reporter.now().catch((error: unknown) => {
      this.#onError(asError(error));
    });
  }

  #live(): ConsumingSide | undefined {
    return this.#slots[this.#state?.live ?? 'kafka'].current;
  }

  /** The slot of the shadow that runs, or is to; any where none is. */
  get #shadow(): SideSlot {
    const { kafkaShadow, owlmqShadow } = this.#slots;
    return kafkaShadow.wanted ? kafkaShadow : owlmqShadow;
  }

  #appliedInFull(state: RoutingState): boolean {
    const { kafka, kafkaShadow, owlmqShadow } = this.#slots;
    const shadow = shadowLeg(state);
    if (kafka.wanted !== (state.live === 'kafka')) return false;
    if (kafkaShadow.wanted !== (shadow === 'kafka') || owlmqShadow.wanted !== (shadow === 'owlmq')) return false;
    const drained = state.drain !== undefined && this.#live()?.drained === true;
    // A side that is drained need not be in its group.
    const live = this.#slots[state.live];
    if (!Object.values(this.#slots).every((slot) => slot.settled || (slot === live && drained))) return false;
    return state.drain === undefined || drained;
  }

  #report(): ConsumerReport {
    const state = this.#state;
    if (this.#phase === 'running' && state !== undefined && state.epoch > this.#appliedEpoch) {
      if (this.#appliedInFull(state)) this.#appliedEpoch = state.epoch;
    }
    const side = this.#live();
    const memberId = side?.memberId;
    const positions: ConsumerReport['live'] = {};
    for (const { topic, partition, next } of side?.partitions ?? []) (positions[topic] ??= []).push([partition, next]);
    return {
      version: 1,
      migration: this.#options.migration ?? '',
      instance: this.instance,
      epoch: this.#appliedEpoch,
      leaseMs: state?.leaseMs ?? DEFAULT_LEASE_MS,
      at: new Date().toISOString(),
      role: 'consumer',
      group: this.#options.groupId,
      ...(memberId === undefined ? {} : { memberId }),
      state: this.#shownState(),
      shadow: this.#shadow.current?.joined === true,
      live: positions,
      watermarks: { live: watermarks(side), shadow: watermarks(this.#shadow.current) },
      applied: this.#counters.applied,
      failed: this.#counters.failed,
    };
  }

  #shownState(): ConsumerReport['state'] {
    if (this.#phase === 'stopped' && !this.#abandon.signal.aborted) return 'left';
    const side = this.#live();
    if (this.#state?.drain !== undefined && side?.drained === true) return 'drained';
    if (!this.#leaseValid) return 'lease-lost';
    if (side?.joined !== true) return 'idle';
    return this.#state?.live === 'owlmq' ? 'live-owlmq' : 'live-kafka';
  }

  async #joined(deadline: number): Promise<void> {
    while (this.#live()?.joined !== true) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) {
        const cause = this.#live()?.lastError;
        throw new ConsumerStartError(
          `Group ${this.#options.groupId} was not joined on ${this.#state?.live ?? 'kafka'} in time: ${cause?.message ?? 'no answer'}`,
          { cause },
        );
      }
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          this.#onChange.delete(done);
          resolve();
        };
        const timer = setTimeout(done, leftMs);
        this.#onChange.add(done);
      });
    }
  }

  #kafkaSide(): ConsumingSide {
    const { groupId, consumer, fromBeginning } = this.#options;
    return new KafkaSide({
      ...this.#sideOptions('kafka'),
      groupId,
      kafka: this.#kafka,
      reader: this.#reader,
      fromBeginning: fromBeginning ?? false,
      consumer: consumer ?? {},
      runner: this.#liveRunner('kafka'),
    });
  }

  /** The same records once more, to see what handlers do differently by themselves. */
  #kafkaShadow(): ConsumingSide {
    return new KafkaSide({
      ...this.#sideOptions('shadow'),
      groupId: this.#shadowGroup,
      kafka: this.#kafka,
      reader: this.#reader,
      fromBeginning: true,
      // Commits of an earlier measurement lie before it.
      from: (topic, partition) => this.#state?.shadowFrom?.[topic]?.[partition] ?? 0,
      consumer: { ...this.#options.consumer, partitionAssigners: [rotatedAssigner] },
      runner: this.#shadowRunner('kafka', new RecentIds()),
    });
  }

  #owlmqShadow(): ConsumingSide {
    return new OwlmqSide({
      ...this.#sideOptions('shadow'),
      owlmq: this.#ofMigration.owlmq,
      groupId: this.#shadowGroup,
      offsetReset: 'earliest',
      runner: this.#shadowRunner('owlmq'),
    });
  }

  get #shadowGroup(): string {
    return `${this.#options.groupId}.shadow`;
  }

  get #ofMigration(): Migration {
    if (this.#migration === undefined) throw new Error('Without a migration there is Kafka alone, and no shadow.');
    return this.#migration;
  }

  #shadowRunner(leg: Leg, recent?: RecentIds): MessageRunner {
    const { groupId, process } = this.#options;
    return new ShadowRunner({
      leg,
      group: groupId,
      process,
      gate: this.#gate,
      observer: this.#ofMigration.observer,
      inHand: this.#inHand,
      retry: this.#retryLimits(),
      ...(recent === undefined ? {} : { recent }),
    });
  }

  #owlmqSide(): ConsumingSide {
    return new OwlmqSide({
      ...this.#sideOptions('owlmq'),
      owlmq: this.#ofMigration.owlmq,
      groupId: this.#options.groupId,
      // The cutover imports an offset for every partition; where one lacks all the same, nothing is skipped.
      offsetReset: 'earliest',
      runner: this.#liveRunner('owlmq'),
    });
  }

  #liveRunner(side: Leg): MessageRunner {
    const { process, apply, onFailure, groupId } = this.#options;
    return new LiveRunner({
      side,
      group: groupId,
      process,
      apply,
      gate: this.#gate,
      observer: this.#migration?.observer,
      recent: this.#recent,
      inHand: this.#inHand,
      counters: this.#counters,
      retry: this.#retryLimits(),
      deadLetters: this.#deadLetters,
      onFailure: onFailure ?? (() => 'stop'),
      onError: (error) => {
        this.#onError(error);
      },
    });
  }

  #retryLimits(): RetryLimits {
    const { attempts = 5, initialDelayMs = 100, maxDelayMs = 5_000 } = this.#options.retry ?? {};
    return { attempts: Math.max(1, attempts), initialDelayMs, maxDelayMs };
  }

  #sideOptions(role: Leg | 'shadow'): Omit<SideOptions, 'groupId' | 'runner'> {
    const observer = this.#migration?.observer;
    const { concurrency = 1, consumer } = this.#options;
    return {
      concurrency,
      partitionsAtOnce: consumer?.partitionsConsumedConcurrently ?? concurrency,
      paused: () => this.#paused,
      interrupt: this.#interrupt.signal,
      abandon: this.#abandon.signal,
      clientId: this.instance,
      topics: this.#options.topics,
      sessionTimeoutMs: consumer?.sessionTimeout ?? DEFAULT_SESSION_TIMEOUT_MS,
      limit: (topic, partition) => (role === 'shadow' ? Infinity : this.#gate.limit(role, topic, partition)),
      stopping: () => role !== 'shadow' && this.#state?.drain === 'stop',
      busy: () => role !== 'shadow' && this.#gate.busy(role),
      observing: () => observer?.observing(role === 'shadow' ? 'shadow' : 'live') ?? false,
      flush: async () => {
        await observer?.flush();
      },
      changed: () => {
        this.#evaluate();
      },
      onError: (error) => {
        this.#onError(error);
      },
    };
  }

  #onError(error: Error): void {
    this.#lastError = error;
    if (this.#options.onError === undefined) process.emitWarning(error);
    else this.#options.onError(error);
  }
}

/** What belongs to a migration, and is absent without one. */
interface Migration {
  /** What the consumer goes by that has started without Kafka. */
  final?: RoutingState;
  owlmq: OwlmqApi;
  follower: RoutingFollower;
  reporter: MemberReporter;
  producer: ObservationProducer;
  observer: Observer;
}

function watermarks(side: ConsumingSide | undefined): Record<string, number> {
  const entries = (side?.partitions ?? []).flatMap(({ name, watermark }): [string, number][] =>
    watermark === undefined ? [] : [[name, watermark]],
  );
  return Object.fromEntries(entries);
}

function partitionStatuses(side: PartitionStatus['side'], consuming: ConsumingSide | undefined): PartitionStatus[] {
  return (consuming?.partitions ?? []).map(({ topic, partition, next, committed, failed }) => ({
    side,
    topic,
    partition,
    next,
    committed,
    stopped: failed,
  }));
}
