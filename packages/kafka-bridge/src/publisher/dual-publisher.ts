import { asError, bounded } from '../async/bounded.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, UnknownTopicError } from '../kafka/log-reader.js';
import { newInstanceId } from '../members/instance-id.js';
import { MEMBERS_TOPIC, type PublisherReport } from '../members/member-report.js';
import { MemberReporter } from '../members/member-reporter.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
import { RoutingFollower } from '../routing/routing-follower.js';
import { RoutingUnavailableError } from '../routing/routing-errors.js';
import { finalStateToStartBy, NO_KAFKA } from '../routing/final-state.js';
import { DEFAULT_LEASE_MS, type RoutingState } from '../routing/routing-state.js';
import { AbortWatch } from './abort-watch.js';
import { Dispatcher } from './dispatcher.js';
import { KafkaConnectError } from '../kafka/replaceable-producer.js';
import { KafkaLane } from './kafka-lane.js';
import { newOutgoing, type PublishOptions, type PublishResult } from './outgoing.js';
import {
  PublishAbortedError,
  PublishBatchError,
  PublishFailedError,
  PublisherClosedError,
  PublisherConfigError,
  PublisherFlushTimeoutError,
} from './publisher-errors.js';
import type { PublisherEvent, PublisherStatus } from './publisher-events.js';
import { PublisherMeter } from './publisher-meter.js';
import { checkedSettings, owlmqClientOf, ratioProblem, type DualPublisherOptions } from './publisher-options.js';
import type { PublisherSettings } from './publisher-options.js';
import { routeOf, staticRoute, type Route } from './route.js';
import { TopicPartitions } from './topic-partitions.js';

/** A message of `publishBatch`. */
export interface BatchMessage extends PublishOptions {
  value: unknown;
}

const DEFAULT_FLUSH_TIMEOUT_MS = 30_000;
const LOOK_TIMEOUT_MS = 5_000;
const DISCONNECT_TIMEOUT_MS = 5_000;

/**
 * Publishes to Kafka and OwlMQ.
 *
 * Without a `migration`: to Kafka, with copies to OwlMQ of the share `ratio`. With one: as the migration's routing
 * state says, through its whole course, without a restart.
 *
 * Before cutover Kafka's acknowledgement resolves `publish()`; a slow or dead OwlMQ neither fails nor delays it. After
 * cutover OwlMQ's acknowledgement does, and Kafka's mirror write unless Kafka is dead. Messages of one key keep the
 * order of the calls, on each leg; copies that were dropped are put in later by the audit, out of order.
 */
export class DualPublisher {
  /** Name of this instance among the members of its migration. */
  readonly instance = newInstanceId();
  readonly #options: DualPublisherOptions;
  readonly #settings: PublisherSettings;
  readonly #kafka: KafkaLane;
  readonly #partitions: TopicPartitions;
  readonly #dispatcher: Dispatcher;
  readonly #aborts: AbortWatch;
  readonly #meter: PublisherMeter | undefined;
  /** Of the last attempt to connect; a follower that has stopped does not start again. */
  #follower: RoutingFollower | undefined;
  #reporter: MemberReporter | undefined;
  #owlmq: { api: OwlmqApi; own: boolean } | undefined;
  #ratio: number;
  /** By topic, as of the present ratio or state. */
  readonly #routes = new Map<string, Route>();
  /** Kafka was gone at the start, and OwlMQ keeps the state that nothing follows: no lease is needed, and nobody told. */
  #startedByFinal = false;
  /** Newest state of the migration. */
  #state: RoutingState | undefined;
  #connecting: Promise<void> | undefined;
  #connected = false;
  #closing: Promise<void> | undefined;
  #left = false;
  /** What was reported last of that which others wait for. */
  #announced = '';

  /** @throws {PublisherConfigError} with all that is wrong with the options. Nothing is connected yet. */
  constructor(options: DualPublisherOptions) {
    this.#options = options;
    this.#settings = checkedSettings(options);
    this.#ratio = options.ratio ?? 0;
    const { migration, metrics } = options;
    this.#meter = metrics === undefined ? undefined : new PublisherMeter(metrics);
    const kafka = options.kafka === 'decommissioned' ? NO_KAFKA : options.kafka;
    const clientId = kafka.clientId ?? 'owlmq-dual-publisher';
    const connection = { ...kafka, clientId };
    const onError = (error: Error): void => {
      this.#emit({ type: 'error', error });
    };
    this.#kafka = new KafkaLane({
      connection,
      clientId,
      producer: options.producer,
      compression: options.compression,
      acks: options.acks,
      deliveryTimeoutMs: this.#settings.deliveryTimeoutMs,
      onError,
    });
    this.#partitions = new TopicPartitions({
      connection,
      clientId,
      owlmq: () => (this.#state?.primary === 'owlmq' ? this.#owlmqApi() : undefined),
      withoutKafka: () => options.kafka === 'decommissioned' || this.#startedByFinal,
      onError,
    });
    this.#dispatcher = new Dispatcher({
      instance: this.instance,
      settings: this.#settings,
      kafka: this.#kafka,
      owlmq: () => this.#owlmqApi(),
      partitions: this.#partitions,
      routeOf: (topic) => this.#routeOf(topic),
      mayWrite: () => this.#mayWrite,
      mayWriteUnder: (epoch) =>
        migration === undefined ||
        this.#startedByFinal ||
        performance.now() < (this.#follower?.leaseEndOf(epoch) ?? -Infinity),
      onChange: () => {
        this.#announce();
      },
      onEvent: (event) => {
        this.#emit(event);
      },
      meter: this.#meter,
    });
    this.#aborts = new AbortWatch((message, reason) => {
      this.#dispatcher.abort(message, reason);
    });
    if (migration !== undefined || this.#ratio > 0) this.#owlmqApi();
  }

  /**
   * Connects; the first `publish()` does so by itself. With a migration: registers this instance, then reads the
   * routing state, and only then lets messages leave. Where Kafka does not answer and OwlMQ keeps the final state of a
   * migration that was decommissioned, that is all it takes.
   *
   * @throws {RoutingUnavailableError} when the routing state cannot be read, or nobody has made the topics for it yet.
   * May be called again.
   * @throws {KafkaConnectError} when Kafka cannot be reached. May be called again.
   * @throws {PublisherClosedError}
   */
  async connect(): Promise<void> {
    if (this.#closing !== undefined) throw new PublisherClosedError();
    this.#connecting ??= this.#connect().catch((error: unknown) => {
      this.#connecting = undefined;
      throw error;
    });
    await this.#connecting;
  }

  /**
   * Publishes a message. Bytes and text are written as they are, null as a tombstone, everything else as JSON.
   *
   * @throws {PublishInputError} when the arguments cannot be a message; nothing was sent.
   * @throws {PublishFailedError} when it was refused or could not be sent; it is on no leg.
   * @throws {PublishHeldTimeoutError} when it was held, or waited unsent, for longer than `holdTimeoutMs`.
   * @throws {PublishBufferFullError} when there was no room for it within `bufferTimeoutMs`.
   * @throws {PublishAbortedError} when `options.signal` was aborted before the message was handed to a leg.
   * @throws {PublishOutcomeUnknownError} when it may or may not be on the leg that did not answer, or had not when
   * `options.signal` was aborted.
   * @throws {PublisherClosedError}
   * @throws {RoutingUnavailableError} and {KafkaConnectError} as `connect()` does.
   */
  async publish(topic: string, value: unknown, options: PublishOptions = {}): Promise<PublishResult> {
    if (this.#closing !== undefined) throw new PublisherClosedError();
    if (!this.#connected) this.#connectForPublish();
    return await new Promise<PublishResult>((resolve, reject) => {
      const message = newOutgoing(topic, value, options, { resolve, reject });
      this.#meter?.watch(message);
      const { signal } = options;
      if (signal?.aborted === true) {
        message.settle.reject(new PublishAbortedError(message.id, topic, { cause: signal.reason }));
        return;
      }
      if (signal !== undefined) this.#aborts.watch(message, signal);
      this.#dispatcher.accept(message);
    });
  }

  /**
   * Publishes messages, in their order, and resolves when all are published. One that fails keeps none of the others.
   * `signal` is that of the messages that have none of their own.
   *
   * @throws {PublishBatchError} when some failed, with the outcome of each.
   */
  async publishBatch(
    topic: string,
    messages: readonly BatchMessage[],
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<PublishResult[]> {
    const outcomes = await Promise.allSettled(
      messages.map(({ value, ...options }) => this.publish(topic, value, { signal, ...options })),
    );
    const results = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    if (results.length < outcomes.length) throw new PublishBatchError(outcomes);
    return results;
  }

  /**
   * Changes the share of messages copied to OwlMQ, from the next message on. Only without a migration.
   *
   * @throws {PublisherConfigError} for a ratio that is none, with a migration, or without an OwlMQ to copy to.
   */
  setRatio(ratio: number): void {
    const problem = ratioProblem(ratio);
    if (problem !== undefined) throw new PublisherConfigError([problem]);
    if (this.#options.migration !== undefined) {
      throw new PublisherConfigError([`The migration ${this.#options.migration} sets the ratio.`]);
    }
    if (ratio > 0) this.#owlmqApi();
    this.#ratio = ratio;
    this.#routes.clear();
  }

  /** Counters and gauges, as of now. */
  status(): PublisherStatus {
    const { state, epoch } = this.#condition();
    return { instance: this.instance, epoch, state, ...this.#dispatcher.status };
  }

  /**
   * Resolves once everything published so far is settled and its copies are on OwlMQ or given up.
   *
   * @throws {PublisherFlushTimeoutError} when that is not so after `timeoutMs` (default 30 s). All goes on then.
   */
  async flush(options: { timeoutMs?: number } = {}): Promise<void> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_FLUSH_TIMEOUT_MS;
    if (await this.#dispatcher.flush(timeoutMs, true)) return;
    const { unsettled, backlog } = this.#dispatcher.status;
    throw new PublisherFlushTimeoutError(timeoutMs, unsettled, backlog);
  }

  /**
   * Takes no more messages, settles those it has, tells the migration that it leaves, and disconnects. Calls that are
   * still held after `timeoutMs` (default 30 s) fail with `PublisherClosedError`. Copies that a dead OwlMQ does not
   * take within two seconds are left to the audit.
   */
  async close(options: { timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? DEFAULT_FLUSH_TIMEOUT_MS);
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #connect(): Promise<void> {
    const { migration } = this.#options;
    if (migration === undefined) {
      await this.#kafka.connect();
    } else {
      const final = await finalStateToStartBy({
        ...{ kafka: this.#options.kafka, owlmq: this.#owlmqApi(), migration, clientId: this.instance },
      });
      if (final === undefined) {
        await this.#join(migration);
      } else {
        this.#startedByFinal = true;
        this.#obey(final);
      }
    }
    this.#connected = true;
    this.#dispatcher.open();
  }

  /** The order matters: who reads the members after writing a fence knows of all who could have missed it. */
  async #join(migration: string): Promise<void> {
    const onError = (error: Error): void => {
      this.#emit({ type: 'error', error });
    };
    const { kafka } = this.#options;
    const connection = { clientId: this.instance, ...(kafka === 'decommissioned' ? NO_KAFKA : kafka) };
    const follower = new RoutingFollower({ connection, migration, clientId: this.instance, onError });
    const reporter = new MemberReporter({
      connection,
      instance: this.instance,
      report: () => this.#report(migration),
      onDelivered: (report) => {
        follower.reported(report);
      },
      onError,
    });
    try {
      await reporter.start();
    } catch (error) {
      throw await whyUnregistered(connection, this.instance, migration, asError(error));
    }
    this.#reporter = reporter;
    this.#follower = follower;
    follower.onChange((state) => {
      this.#obey(state);
    });
    follower.onLease((valid) => {
      if (!valid) {
        this.#emit({ type: 'held', reason: 'lease-lost' });
        this.#inBackground(this.#dispatcher.leaseLost());
      }
      this.#dispatcher.routesChanged();
      this.#announce();
    });
    try {
      await follower.start();
    } catch (error) {
      this.#reporter = undefined;
      await reporter.stop({ ...this.#report(migration), state: 'left' });
      throw error;
    }
  }

  #connectForPublish(): void {
    this.connect().catch((thrown: unknown) => {
      const cause = asError(thrown);
      this.#dispatcher.rejectWaiting(({ id, topic }) => {
        const typed =
          cause instanceof KafkaConnectError ||
          cause instanceof RoutingUnavailableError ||
          cause instanceof PublisherClosedError;
        return typed ? cause : new PublishFailedError(id, topic, cause.message, { cause, retriable: 'safe' });
      });
    });
  }

  #obey(state: RoutingState): void {
    // A follower of another attempt to connect knows nothing of the earlier one's epochs.
    if (state.epoch <= (this.#state?.epoch ?? 0)) return;
    const wasFenced = this.#state?.fence !== undefined;
    const superseded = this.#state?.epoch ?? 0;
    this.#state = state;
    this.#routes.clear();
    this.#endEpoch(superseded);
    this.#dispatcher.epochChanged();
    this.#emit({ type: 'routing', state });
    if (state.fence !== undefined) {
      if (!wasFenced) this.#dispatcher.resetHolds();
      this.#emit({ type: 'held', reason: 'fence' });
      this.#inBackground(this.#dispatcher.settleInFlight(() => this.#state === state));
    }
    this.#dispatcher.routesChanged();
    this.#announce();
  }

  /** Sees to it that nothing of an earlier epoch is written past its lease. */
  #endEpoch(epoch: number): void {
    const leftMs = (this.#follower?.leaseEndOf(epoch) ?? 0) - performance.now();
    if (leftMs <= 0) {
      this.#inBackground(this.#dispatcher.epochOver(epoch, true));
      return;
    }
    setTimeout(() => {
      this.#inBackground(this.#dispatcher.epochOver(epoch, false));
    }, leftMs + 1).unref();
  }

  /** Without a migration always; with one while its state is known and the lease lasts. */
  get #mayWrite(): boolean {
    if (this.#options.migration === undefined || this.#startedByFinal) return true;
    return this.#follower?.leaseValid === true;
  }

  #routeOf(topic: string): Route {
    let route = this.#routes.get(topic);
    if (route === undefined) {
      route =
        this.#options.migration === undefined
          ? staticRoute(this.#ratio)
          : routeOf(topic, this.#state, this.#follower?.inKafkaBefore);
      this.#routes.set(topic, route);
    }
    return route;
  }

  #owlmqApi(): OwlmqApi {
    this.#owlmq ??= owlmqClientOf(this.#options);
    return this.#owlmq.api;
  }

  /** The epoch applied in full, and what this instance does. */
  #condition(): Pick<PublisherStatus, 'epoch' | 'state'> {
    const known = this.#state?.epoch ?? 0;
    const epoch = Math.min(known, this.#dispatcher.lowestEpoch ?? known);
    if (this.#left) return { epoch, state: 'left' };
    if (!this.#mayWrite) return { epoch, state: 'lease-lost' };
    const fenced = this.#state?.fence !== undefined && this.#dispatcher.isQuiet();
    return { epoch, state: fenced ? 'fenced' : 'publishing' };
  }

  #report(migration: string): PublisherReport {
    const { unsettled: _, ...figures } = this.#dispatcher.status;
    return {
      version: 1,
      role: 'publisher',
      migration,
      instance: this.instance,
      ...this.#condition(),
      leaseMs: this.#state?.leaseMs ?? DEFAULT_LEASE_MS,
      at: new Date().toISOString(),
      ...figures,
    };
  }

  /** Reports at once when the epoch or the state is another than the last reported. */
  #announce(): void {
    const { epoch, state } = this.#condition();
    const now = `${epoch} ${state}`;
    if (now === this.#announced || this.#reporter === undefined) return;
    this.#announced = now;
    this.#inBackground(this.#reporter.now());
  }

  #inBackground(work: Promise<void>): void {
    work
      .catch((error: unknown) => {
        this.#emit({ type: 'error', error: asError(error) });
      })
      .finally(() => {
        this.#announce();
      });
  }

  async #close(timeoutMs: number): Promise<void> {
    if (this.#connecting !== undefined) {
      // Whoever waits for it hears of a failure.
      await this.#connecting.catch(() => undefined);
      await this.#dispatcher.flush(timeoutMs, false);
    }
    await this.#dispatcher.close(new PublisherClosedError());
    this.#left = true;
    const { migration } = this.#options;
    const left = migration === undefined ? undefined : this.#reporter?.stop(this.#report(migration));
    await Promise.all([left, this.#follower?.stop()]);
    const closed = Promise.all([this.#kafka.close(), this.#partitions.close()]);
    await bounded(closed, DISCONNECT_TIMEOUT_MS, () => new Error('Kafka was not disconnected in time.')).catch(
      (error: unknown) => {
        this.#emit({ type: 'error', error: asError(error) });
      },
    );
    if (this.#owlmq?.own === true) {
      const ended = this.#owlmq.api.close();
      await bounded(ended, DISCONNECT_TIMEOUT_MS, () => new Error('The OwlMQ client did not close in time.'));
    }
  }

  #emit(event: PublisherEvent): void {
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      process.emitWarning(asError(error));
    }
  }
}

/** Why an instance could not register: often, that nobody has made the bridge's topics yet. */
async function whyUnregistered(
  connection: KafkaConnection,
  clientId: string,
  migration: string,
  error: Error,
): Promise<Error> {
  const reader = new LogReader(connection, { clientId });
  try {
    const looked = reader.partitionCount(MEMBERS_TOPIC);
    await bounded(looked, LOOK_TIMEOUT_MS, () => new Error(`Kafka did not describe ${MEMBERS_TOPIC} in time.`));
    return error;
  } catch (cause) {
    if (!(cause instanceof UnknownTopicError)) return error;
    return new RoutingUnavailableError(migration, `this instance could not register: ${cause.message}`, cause);
  } finally {
    await reader.close();
  }
}
