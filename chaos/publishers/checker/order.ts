import { incarnationOf } from '../fleet/message.js';
import type { Anomalies } from './anomalies.js';
import type { Evidence } from './check.js';
import { placeOf, type StoredRecord } from './stored-record.js';

interface Latest {
  /** Of records that publishers wrote. */
  published: { n: number; record: StoredRecord };
  /** Of all. */
  any: number;
}

/**
 * Per key and process start, numbers must rise on each leg. Repetitions do not count, and records that an audit wrote lie
 * behind later ones by design: those are counted apart.
 */
export function checkOrder(
  evidence: Evidence,
  heldBack: ReadonlySet<StoredRecord>,
  anomalies: Anomalies,
): { repairedOutOfOrder: number } {
  let repairedOutOfOrder = 0;
  for (const records of [evidence.kafka, evidence.owlmq]) {
    const seen = new Set<string>();
    const latest = new Map<string, Latest>();
    for (const record of records) {
      const publication = evidence.publications.get(record.id);
      if (publication === undefined || publication.key === null || seen.has(record.id)) continue;
      seen.add(record.id);
      const { n, key, topic, outcome } = publication;
      const name = `${topic}/${key}/${incarnationOf(record.id)}`;
      const before = latest.get(name);
      if (record.byAudit) {
        if (n < (before?.any ?? 0)) repairedOutOfOrder++;
        if (before !== undefined) before.any = Math.max(before.any, n);
        continue;
      }
      if (before !== undefined && n < before.published.n) {
        const primary = evidence.routes.get(record.epoch)?.primary === record.leg;
        // The network's doing, unless its call was told that it is there.
        if (heldBack.has(record) && !(primary && outcome === 'ok')) continue;
        const { published } = before;
        const detail = `number ${n} of ${key} (${outcome}) at ${placeOf(record)}, behind number ${published.n}, ${published.record.id} at ${placeOf(published.record)}`;
        anomalies.note(primary ? 'reordered' : 'mirror-reordered', record.id, detail);
        continue;
      }
      latest.set(name, { published: { n, record }, any: Math.max(n, before?.any ?? 0) });
    }
  }
  return { repairedOutOfOrder };
}
