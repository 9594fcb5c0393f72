import type { StandingFence } from '../control/route-history.js';
import type { Anomalies } from './anomalies.js';
import type { Evidence } from './check.js';
import { placeOf, type StoredRecord } from './stored-record.js';

/** Epochs only rise, and nothing of a lower one is written behind a fence that stood. What audits write is exempt. */
export function checkEpochs(evidence: Evidence, anomalies: Anomalies): void {
  const fences = [...evidence.fences].sort((a, b) => a.epoch - b.epoch);
  for (const records of [evidence.kafka, evidence.owlmq]) {
    const highest = new Map<string, StoredRecord>();
    for (const record of records) {
      if (record.byAudit) continue;
      const route = evidence.routes.get(record.epoch);
      if (route === undefined) anomalies.note('unknown-epoch', record.id, placeOf(record));
      else if (route.fenced) anomalies.note('written-under-fence', record.id, placeOf(record));

      const fence = lastFenceBefore(record, fences);
      if (fence !== undefined && record.epoch < fence.epoch) {
        const silent = fence.silent.includes(record.instance);
        const kind = silent ? 'write-past-expired-lease' : 'write-past-acknowledged-fence';
        anomalies.note(
          kind,
          record.id,
          `${placeOf(record)}, of ${record.instance}, behind the fence of ${fence.epoch}`,
        );
      }
      const name = `${record.topic}/${record.partition}/${record.instance}`;
      const before = highest.get(name);
      if (before !== undefined && record.epoch < before.epoch) {
        anomalies.note('epoch-fell', record.id, `${placeOf(record)}, behind ${before.id} at ${placeOf(before)}`);
      } else {
        highest.set(name, record);
      }
    }
  }
}

/** The newest fence at whose time the record was not there yet. */
function lastFenceBefore(record: StoredRecord, fences: readonly StandingFence[]): StandingFence | undefined {
  return fences.findLast((fence) => record.offset >= (fence[record.leg][record.topic]?.[record.partition] ?? Infinity));
}
