import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { ConsumerStatus } from '../consumer/consumer-status.js';
import type { PublisherStatus } from '../publisher/publisher-events.js';
import type { PublisherMetrics } from '../publisher/publisher-metrics.js';

/** A `DualPublisher`, as far as its metrics are concerned. */
interface WatchedPublisher {
  status(): PublisherStatus;
}

/** A `DualConsumer`, as far as its metrics are concerned. */
interface WatchedConsumer {
  status(): ConsumerStatus;
}

const PUBLISHER = 'owlmq_bridge_publisher';
const CONSUMER = 'owlmq_bridge_consumer';
const SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10, 30];
const MESSAGES = [1, 3, 10, 30, 100, 300, 1_000];

/**
 * The metrics of the publishers and consumers of one process, as docs/metrics.md names them. Gauges are read at each
 * scrape: of several publishers the sum, or the worst where that is what matters; of consumers by their group.
 */
export class BridgeMetrics {
  /** For the option `metrics` of a `DualPublisher`. */
  readonly publisher: PublisherMetrics;
  readonly #registry: Registry;
  readonly #publishers = new Set<WatchedPublisher>();
  readonly #consumers = new Map<WatchedConsumer, string>();
  /** By group, what consumers have counted that are watched no more. */
  readonly #stopped = new Map<string, { applied: number; failed: number }>();

  /** @throws {Error} of prom-client when the registry has metrics of these names already: one instance a registry. */
  constructor(registry: Registry) {
    this.#registry = registry;
    this.publisher = this.#publisherMetrics();
    this.#registerPublisherGauges();
    this.#registerConsumerFigures();
  }

  /** Shows what a publisher's `status()` says. @returns ends that: to be called once it is closed. */
  watchPublisher(publisher: WatchedPublisher): () => void {
    this.#publishers.add(publisher);
    return () => {
      this.#publishers.delete(publisher);
    };
  }

  /** Shows what a consumer's `status()` says. @returns ends that: to be called once it has stopped. */
  watchConsumer(groupId: string, consumer: WatchedConsumer): () => void {
    this.#consumers.set(consumer, groupId);
    return () => {
      if (!this.#consumers.delete(consumer)) return;
      // What it has counted stays counted: a counter that falls would look like a restart.
      const { applied, failed } = consumer.status();
      const before = this.#stopped.get(groupId) ?? { applied: 0, failed: 0 };
      this.#stopped.set(groupId, { applied: before.applied + applied, failed: before.failed + failed });
    };
  }

  #publisherMetrics(): PublisherMetrics {
    const registers = [this.#registry];
    const calls = new Histogram({
      ...{ name: `${PUBLISHER}_call_duration_seconds`, labelNames: ['topic', 'leg', 'outcome'] as const },
      ...{ help: 'Time of publish() calls, by the leg that had to acknowledge and the outcome.', registers },
      buckets: SECONDS,
    });
    const requests = new Histogram({
      ...{ name: `${PUBLISHER}_request_duration_seconds`, labelNames: ['leg', 'outcome'] as const },
      ...{ help: 'Time of requests to a leg.', buckets: SECONDS, registers },
    });
    const batches = new Histogram({
      ...{ name: `${PUBLISHER}_request_messages`, labelNames: ['leg'] as const },
      ...{ help: 'Messages in a request to a leg.', buckets: MESSAGES, registers },
    });
    const copies = new Counter({
      ...{ name: `${PUBLISHER}_copies_total`, labelNames: ['topic', 'leg', 'outcome'] as const },
      ...{ help: 'Writes to the leg that need not acknowledge; the audit writes what was dropped.', registers },
    });
    return {
      settled: (settled) => {
        for (const { topic, leg = 'none', outcome, ms } of settled) calls.observe({ topic, leg, outcome }, ms / 1_000);
      },
      request: ({ leg, outcome, messages, ms }) => {
        requests.observe({ leg, outcome }, ms / 1_000);
        batches.observe({ leg }, messages);
      },
      copies: ({ topic, leg, outcome, count }) => {
        copies.inc({ topic, leg, outcome }, count);
      },
    };
  }

  #registerPublisherGauges(): void {
    const gauge = (
      name: string,
      help: string,
      join: (values: number[]) => number,
      read: (status: PublisherStatus) => number,
    ): void => {
      const statuses = (): PublisherStatus[] => [...this.#publishers].map((publisher) => publisher.status());
      new Gauge({
        ...{ name: `${PUBLISHER}_${name}`, help, registers: [this.#registry] },
        collect() {
          this.set(join(statuses().map(read)));
        },
      });
    };
    gauge('epoch', 'Epoch that every publisher has applied in full.', smallest, ({ epoch }) => epoch);
    gauge('unsettled_calls', 'publish() calls that are not settled.', sum, ({ unsettled }) => unsettled);
    gauge('held_calls', 'publish() calls that wait for a fence or a lease.', sum, ({ held }) => held);
    gauge('longest_hold_seconds', 'Longest hold since the last fence.', largest, (of) => of.longestHoldMs / 1_000);
    gauge('backlog_copies', 'Copies that wait for OwlMQ.', sum, ({ backlog }) => backlog);
    gauge('oldest_copy_seconds', 'Age of the oldest of them.', largest, ({ oldestCopyMs }) => oldestCopyMs / 1_000);
    gauge('mirror_degraded', 'Publishers whose other leg lacks copies while they do not reach it.', sum, (of) =>
      Number(of.mirrorDegraded),
    );
  }

  #registerConsumerFigures(): void {
    const byGroup = (read: (status: ConsumerStatus) => number): Map<string, number> => {
      const sums = new Map<string, number>();
      for (const [consumer, group] of this.#consumers) {
        sums.set(group, (sums.get(group) ?? 0) + read(consumer.status()));
      }
      return sums;
    };
    const registers = [this.#registry];
    const labelNames = ['group'] as const;
    const stopped = this.#stopped;
    const counter = (name: string, help: string, of: 'applied' | 'failed'): void => {
      new Counter({
        ...{ name: `${CONSUMER}_${name}_total`, help, labelNames, registers },
        collect() {
          // Counted by the consumers themselves.
          this.reset();
          for (const [group, count] of byGroup((status) => status[of])) this.inc({ group }, count);
          for (const [group, counted] of stopped) this.inc({ group }, counted[of]);
        },
      });
    };
    const gauge = (name: string, help: string, read: (status: ConsumerStatus) => number): void => {
      new Gauge({
        ...{ name: `${CONSUMER}_${name}`, help, labelNames, registers },
        collect() {
          this.reset();
          for (const [group, value] of byGroup(read)) this.set({ group }, value);
        },
      });
    };
    counter('applied_messages', 'Messages for which apply returned.', 'applied');
    counter('failed_messages', 'Messages that failed for good.', 'failed');
    gauge('in_hand_messages', 'Messages that handlers have in hand.', ({ inHand }) => inHand);
    gauge('live_on_owlmq', 'Consumers whose live side is OwlMQ.', ({ live }) => Number(live === 'owlmq'));
    gauge('joined', 'Consumers whose live side is in its group.', ({ joined }) => Number(joined));
    gauge('shadows', 'Consumers that run a shadow.', ({ shadow }) => Number(shadow === 'running'));
    gauge('leases_lost', 'Consumers that apply nothing since their routing may be outdated.', ({ leaseValid }) =>
      Number(!leaseValid),
    );
    gauge('stopped_partitions', 'Partitions that stand at a message on which a handler failed for good.', (status) =>
      sum(status.partitions.map(({ stopped }) => Number(stopped))),
    );
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function largest(values: readonly number[]): number {
  return Math.max(0, ...values);
}

function smallest(values: readonly number[]): number {
  return values.length === 0 ? 0 : Math.min(...values);
}
