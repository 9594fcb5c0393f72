import { expect, it } from 'vitest';
import { anomalyKinds, type AnomalyKind } from '../../chaos/publishers/checker/anomalies.js';
import { check, type Evidence } from '../../chaos/publishers/checker/check.js';
import type { StoredRecord } from '../../chaos/publishers/checker/stored-record.js';
import type { Route, StandingFence } from '../../chaos/publishers/control/route-history.js';
import { incarnationOf, valueOf } from '../../chaos/publishers/fleet/message.js';
import type { Publication } from '../../chaos/publishers/fleet/publications.js';

const TOPIC = 'orders';
const routes: Route[] = [
  { epoch: 1, primary: 'kafka', ratio: 0, fenced: false },
  { epoch: 2, primary: 'kafka', ratio: 1, fenced: false },
  { epoch: 3, primary: 'kafka', ratio: 1, fenced: true },
  { epoch: 4, primary: 'owlmq', ratio: 1, fenced: false },
  { epoch: 5, primary: 'owlmq', ratio: 1, fenced: true },
  { epoch: 6, primary: 'kafka', ratio: 0, fenced: false },
];

/** A run without defects, which a test then damages. */
class Trace {
  readonly publications = new Map<string, Publication>();
  readonly closed = new Set<string>();
  readonly fences: StandingFence[] = [];
  readonly kafka: StoredRecord[] = [];
  readonly owlmq: StoredRecord[] = [];
  #serial = 0;
  readonly #numbers = new Map<string, number>();

  get evidence(): Evidence {
    const { publications, closed, fences, kafka, owlmq } = this;
    return {
      publications,
      closed,
      fences,
      kafka,
      owlmq,
      routes: new Map(routes.map((route) => [route.epoch, route])),
    };
  }

  get kinds(): AnomalyKind[] {
    return Object.keys(check(this.evidence).anomalies) as AnomalyKind[];
  }

  call(key: string | null, outcome: Publication['outcome'], epoch?: number, incarnation = 'p0.1'): Publication {
    const n = (this.#numbers.get(`${incarnation}/${key ?? ''}`) ?? 0) + 1;
    this.#numbers.set(`${incarnation}/${key ?? ''}`, n);
    const open = { kafka: undefined, owlmq: undefined, error: undefined, calledAt: 0, settledAt: 1 };
    // Behind every fence.
    const sentAt = { kafka: 200, owlmq: 200 };
    const publication = {
      id: `${incarnation}.${++this.#serial}`,
      topic: TOPIC,
      key,
      n,
      outcome,
      epoch,
      sentAt,
      ...open,
    };
    this.publications.set(publication.id, publication);
    return publication;
  }

  store(leg: 'kafka' | 'owlmq', publication: Publication, change: Partial<StoredRecord> = {}): StoredRecord {
    const { id, topic, epoch = 0 } = publication;
    const record: StoredRecord = {
      ...{ leg, topic, partition: 0, offset: this[leg].length, id, value: valueOf(publication), epoch },
      ...{ instance: incarnationOf(id), copied: epoch > 1 && epoch < 6, byAudit: false, ...change },
    };
    this[leg].push(record);
    if (publication.outcome === 'ok') publication[leg] ??= [record.partition, record.offset];
    return record;
  }

  /** Acknowledged, and on all legs of its epoch. */
  published(epoch: number, key: string | null = 'k', incarnation?: string): Publication {
    const publication = this.call(key, 'ok', epoch, incarnation);
    if (epoch < 4 || epoch === 6) this.store('kafka', publication);
    if (epoch > 1 && epoch < 6) this.store('owlmq', publication);
    if (epoch >= 4 && epoch < 6) this.store('kafka', publication);
    return publication;
  }

  fence(epoch: number, silent: string[] = []): void {
    const ends = (records: readonly StoredRecord[]) => ({ [TOPIC]: [records.length] });
    const waits = { acknowledged: 1, silent, waitedMs: 1, longestHoldMs: 1 };
    this.fences.push({ epoch, stoodAt: 100, kafka: ends(this.kafka), owlmq: ends(this.owlmq), ...waits });
  }

  static clean(): Trace {
    const trace = new Trace();
    for (const epoch of [1, 1, 2, 2]) trace.published(epoch);
    trace.published(2, null);
    trace.fence(3);
    trace.published(4);
    trace.published(4, null);
    trace.fence(5);
    trace.published(6);
    trace.call('k', 'failed');
    trace.call('k', 'unknown');
    // Unknown ones may be stored, whole.
    trace.store('kafka', { ...trace.call('k', 'none'), epoch: 6 });
    return trace;
  }
}

it('finds nothing in a run without defects', () => {
  const { anomalies, counts } = check(Trace.clean().evidence);
  expect(anomalies).toEqual({});
  expect(counts).toMatchObject({ ok: 8, failed: 1, unknown: 2, unknownPresent: 1, duplicatesOnKafka: 0 });
});

it('counts repeated records on Kafka, and what audits wrote, apart', () => {
  const trace = Trace.clean();
  const [first, second] = [trace.call('k', 'ok', 2, 'p1.1'), trace.call('k', 'ok', 2, 'p1.1')];
  for (const publication of [first, second, first]) trace.store('kafka', publication);
  trace.store('owlmq', second);
  trace.store('owlmq', first, { byAudit: true });
  const { anomalies, counts } = check({ ...trace.evidence, fences: [] });
  expect(anomalies).toEqual({});
  expect(counts).toMatchObject({ duplicatesOnKafka: 1, repairedOnOwlmq: 1, repairedOnKafka: 0, repairedOutOfOrder: 1 });
});

it('does not blame a publisher for what the network held back', () => {
  const trace = Trace.clean();
  const publication = trace.call('k', 'unknown', undefined, 'p1.1');
  trace.store('owlmq', { ...publication, epoch: 4 });
  publication.sentAt.owlmq = 50;
  const held = check(trace.evidence);
  expect(held.anomalies).toEqual({});
  expect(held.counts).toMatchObject({ heldBack: 1, heldBackOnOneLeg: 1 });
  // Sent again behind the fence, or by nobody that is known.
  for (const sentAt of [150, -Infinity]) {
    publication.sentAt.owlmq = sentAt;
    const stale = { 'write-past-acknowledged-fence': 1, 'missing-copy': 1 };
    expect(check(trace.evidence).anomalies).toEqual(stale);
  }
});

/** For each anomaly, the defect that must show it, and nothing else. */
const defects: Record<AnomalyKind, (trace: Trace) => void> = {
  lost: (trace) => {
    trace.fences.length = 0;
    trace.store('kafka', trace.call('k', 'ok', 4, 'p1.1'), { copied: false });
  },
  vanished: (trace) => trace.call('k', 'ok', 6),
  'missing-copy': (trace) => {
    const publication = trace.call('other', 'ok', 4);
    trace.store('owlmq', publication);
    trace.fences.length = 0;
  },
  invented: (trace) => {
    trace.store('kafka', { ...trace.call('k', 'ok', 6), id: 'p9.1.1' });
    trace.publications.delete([...trace.publications.keys()].at(-1) ?? '');
  },
  'failed-but-present': (trace) => {
    trace.store('kafka', { ...trace.call('other', 'failed'), epoch: 6 });
  },
  altered: (trace) => {
    trace.store('kafka', trace.call('other', 'ok', 6), { value: 'other' });
  },
  misplaced: (trace) => {
    const publication = trace.published(6, 'other');
    publication.kafka = [0, 0];
  },
  'duplicate-on-owlmq': (trace) => {
    const first = trace.owlmq.at(-1);
    const publication = trace.publications.get(first?.id ?? '');
    if (publication !== undefined) trace.store('owlmq', publication);
    trace.fences.pop();
  },
  reordered: (trace) => {
    const [first, second] = [trace.call('other', 'ok', 6), trace.call('other', 'ok', 6)];
    trace.store('kafka', second);
    trace.store('kafka', first);
  },
  'mirror-reordered': (trace) => {
    trace.fences.length = 0;
    const [first, second] = [trace.call('other', 'ok', 4), trace.call('other', 'ok', 4)];
    for (const publication of [first, second]) trace.store('owlmq', publication);
    for (const publication of [second, first]) trace.store('kafka', publication, { instance: 'elsewhere' });
  },
  'write-past-acknowledged-fence': (trace) => {
    trace.published(4, 'other', 'p1.1');
  },
  'write-past-expired-lease': (trace) => {
    trace.fences.length = 0;
    trace.fence(5, ['p1.1']);
    trace.published(4, 'other', 'p1.1');
  },
  'written-under-fence': (trace) => {
    trace.published(5, 'k', 'p1.1');
  },
  'epoch-fell': (trace) => {
    trace.fences.length = 0;
    trace.published(2, 'other');
  },
  'unknown-epoch': (trace) => {
    trace.store('kafka', trace.call('other', 'unknown'), { epoch: 77, copied: false });
  },
  'wrong-epoch': (trace) => {
    trace.store('kafka', trace.call('other', 'ok', 6), { epoch: 1, instance: 'elsewhere' });
    trace.fences.length = 0;
  },
  'wrong-share': (trace) => {
    trace.fences.length = 0;
    for (let count = 0; count < 9; count++) trace.store('kafka', trace.call(null, 'ok', 2, 'p1.1'), { copied: false });
  },
  'key-not-kept': (trace) => {
    const publication = trace.call('k', 'ok', 6);
    for (const leg of ['kafka', 'owlmq'] as const) trace.store(leg, publication, { copied: true });
    trace.store('kafka', trace.call('k', 'ok', 6));
  },
  'never-settled': (trace) => {
    trace.call('k', 'none', undefined, 'p1.7');
    trace.closed.add('p1.7');
  },
};

it.each(Object.keys(anomalyKinds) as AnomalyKind[])('finds %s where it is planted', (kind) => {
  const trace = Trace.clean();
  defects[kind](trace);
  expect(trace.kinds).toEqual([kind]);
});
