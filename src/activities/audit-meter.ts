import { metricMeter } from '@temporalio/activity';
import type { MetricCounter, MetricGauge } from '@temporalio/common';
import type { ForwardFigures } from '@owlmq/kafka-bridge/operations';
import { addFigures, noAuditFigures } from '../workflows/audit-figures.js';
import type { AuditFigures } from './migration-activities.js';

/**
 * What an audit counts of one topic, whichever way it goes. A two-way audit counts no inversions; checkpoints of earlier
 * versions lack what was forwarded.
 */
export type TopicFigures = Pick<ForwardFigures, 'kafka' | 'owlmq' | 'missing' | 'repaired' | 'foreign'> &
  Partial<Pick<ForwardFigures, 'inversions' | 'forwarded'>>;

const PREFIX = 'kafka_to_owlmq_audit';

/**
 * Puts what an audit counts into the worker's metrics, a step at a time, and knows how long ago the last foreign record
 * came. Metrics are counters over the life of a worker, so that their rate is what one looks at; an attempt that takes
 * over may count a second of work twice.
 */
export class AuditMeter {
  readonly #begun: Record<string, number>;
  readonly #foreignAt = new Map<string, number>();
  readonly #counters: Record<'messages' | 'bytes' | Single, MetricCounter>;
  readonly #gauges: { unproven: MetricGauge; age: MetricGauge };
  #last: Readonly<Record<string, TopicFigures>>;

  /**
   * @param since figures at the begin of the activity.
   * @param now figures at the begin of this attempt.
   */
  constructor(
    migration: string,
    way: 'to-owlmq' | 'both-ways',
    since: Readonly<Record<string, TopicFigures>>,
    now: Readonly<Record<string, TopicFigures>>,
  ) {
    const meter = metricMeter.withTags({ migration, audit: way });
    const counter = (name: string, unit: string, what: string): MetricCounter =>
      meter.createCounter(`${PREFIX}_${name}_total`, unit, what);
    this.#counters = {
      messages: counter('messages', 'messages', 'Records that the audit has passed, by leg.'),
      bytes: counter('bytes', 'bytes', 'Bytes of their keys and values, by leg.'),
      missing: counter('missing', 'messages', 'Copies that were not there after the grace.'),
      repaired: counter('repaired', 'messages', 'Copies that the audit wrote.'),
      inversions: counter('inversions', 'messages', 'Copies behind a later one of their key.'),
      foreign: counter('foreign', 'messages', 'Records of producers without the library.'),
      forwarded: counter('forwarded', 'messages', 'Records of Kafka that the bridge copied to OwlMQ.'),
    };
    this.#gauges = {
      unproven: meter.createGauge(
        `${PREFIX}_unproven_records`,
        'int',
        'messages',
        'Records that the audit has still to pass.',
      ),
      age: meter.createGauge(
        `${PREFIX}_oldest_unproven_seconds`,
        'float',
        's',
        'Age of the oldest record without its copy.',
      ),
    };
    this.#begun = Object.fromEntries(Object.entries(since).map(([topic, { foreign }]) => [topic, foreign]));
    this.#last = now;
  }

  /** Takes what a step of the audit has to tell. */
  record(report: {
    checkpoint: { figures: Readonly<Record<string, TopicFigures>> };
    unchecked: number;
    oldestUnprovenMs?: number;
  }): void {
    const { figures } = report.checkpoint;
    for (const [topic, now] of Object.entries(figures)) {
      const before = this.#last[topic];
      for (const leg of ['kafka', 'owlmq'] as const) {
        add(this.#counters.messages, now[leg].messages, before?.[leg].messages, { topic, leg });
        add(this.#counters.bytes, now[leg].bytes, before?.[leg].bytes, { topic, leg });
      }
      for (const name of singles) add(this.#counters[name], now[name], before?.[name], { topic });
      if (now.foreign > (before?.foreign ?? 0)) this.#foreignAt.set(topic, performance.now());
    }
    this.#last = figures;
    this.#gauges.unproven.set(report.unchecked);
    this.#gauges.age.set((report.oldestUnprovenMs ?? 0) / 1_000);
  }

  /** By topic, how long ago the activity passed the last foreign record. Seen by an attempt before this: just now. */
  get foreignAgoMs(): Record<string, number> {
    const now = performance.now();
    const topics = Object.entries(this.#last).filter(([topic, { foreign }]) => foreign > (this.#begun[topic] ?? 0));
    return Object.fromEntries(topics.map(([topic]) => [topic, Math.round(now - (this.#foreignAt.get(topic) ?? now))]));
  }
}

const singles = ['missing', 'repaired', 'inversions', 'foreign', 'forwarded'] as const;
type Single = (typeof singles)[number];

function add(
  counter: MetricCounter,
  now: number | undefined,
  before: number | undefined,
  tags: Record<string, string>,
): void {
  // Also nothing: a counter that is not there yet has no first increase.
  counter.add(Math.max(0, (now ?? 0) - (before ?? 0)), tags);
}

/** Figures of all topics together. */
export function totals(topics: Readonly<Record<string, TopicFigures>>): AuditFigures {
  return Object.entries(topics).reduce(
    (sum, [topic, { kafka, owlmq, missing, repaired, inversions = 0, foreign, forwarded = 0 }]) =>
      addFigures(sum, {
        ...{ kafkaMessages: kafka.messages, kafkaBytes: kafka.bytes },
        ...{ owlmqMessages: owlmq.messages, owlmqBytes: owlmq.bytes },
        ...{ missing, repaired, inversions },
        ...{ foreign: { [topic]: foreign }, forwarded: { [topic]: forwarded } },
      }),
    noAuditFigures,
  );
}
