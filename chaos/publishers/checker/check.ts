import type { Route, StandingFence } from '../control/route-history.js';
import type { Publication } from '../fleet/publications.js';
import { Anomalies, type Anomaly, type AnomalyKind } from './anomalies.js';
import { checkCopyDecisions } from './copy-decisions.js';
import { checkEpochs } from './epochs.js';
import { checkOrder } from './order.js';
import { staleRecords } from './late-arrivals.js';
import { checkPresence } from './presence.js';
import type { StoredRecord } from './stored-record.js';

/** All that is known of a run, once nothing moves any more. */
export interface Evidence {
  publications: ReadonlyMap<string, Publication>;
  /** Process starts that closed in order, with everything settled. */
  closed: ReadonlySet<string>;
  routes: ReadonlyMap<number, Route>;
  fences: readonly StandingFence[];
  /** Each partition in the order of its offsets. */
  kafka: readonly StoredRecord[];
  owlmq: readonly StoredRecord[];
}

/** What is counted and is no defect. */
export interface Counts {
  ok: number;
  failed: number;
  /** Of unknown outcome, killed processes' included. */
  unknown: number;
  /** Those among the unknown that are on a leg. */
  unknownPresent: number;
  onKafka: number;
  onOwlmq: number;
  /** Records of Kafka that repeat a message: it knows no ids. */
  duplicatesOnKafka: number;
  /** Records that an audit wrote to each leg. */
  repairedOnKafka: number;
  repairedOnOwlmq: number;
  /** Those among them behind a later message of their key. */
  repairedOutOfOrder: number;
  /** Writes that were sent before a fence stood, and that the network delivered behind it. */
  heldBack: number;
  /** Those among them, of unknown outcome, that arrived on one leg after nobody proved copies from there any more. */
  heldBackOnOneLeg: number;
  /** Messages under a ratio between 0 and 1, by ratio: all, and copied. */
  shares: Record<string, { messages: number; copied: number }>;
}

export interface CheckResult {
  counts: Counts;
  anomalies: Partial<Record<AnomalyKind, number>>;
  /** The first of each kind. */
  samples: Anomaly[];
}

/** Compares what publishers were told with what is on both legs. Any anomaly is a defect of what was tested. */
export function check(evidence: Evidence): CheckResult {
  const anomalies = new Anomalies();
  const { kafka, owlmq } = evidence;
  const stale = staleRecords(evidence);
  const heldBack = new Set(stale.flatMap(({ record, heldBack: held }) => (held ? [record] : [])));
  const presence = checkPresence(evidence, heldBack, anomalies);
  const order = checkOrder(evidence, heldBack, anomalies);
  checkEpochs(evidence, stale, heldBack, anomalies);
  const shares = checkCopyDecisions(evidence, anomalies);
  const byAudit = (records: readonly StoredRecord[]): number => records.filter((record) => record.byAudit).length;
  return {
    counts: {
      ...presence,
      onKafka: kafka.length,
      onOwlmq: owlmq.length,
      repairedOnKafka: byAudit(kafka),
      repairedOnOwlmq: byAudit(owlmq),
      heldBack: heldBack.size,
      repairedOutOfOrder: order.repairedOutOfOrder,
      shares,
    },
    anomalies: anomalies.counts,
    samples: anomalies.samples,
  };
}
