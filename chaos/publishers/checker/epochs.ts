import type { Anomalies } from './anomalies.js';
import type { Evidence } from './check.js';
import type { StaleRecord } from './late-arrivals.js';
import { placeOf, type StoredRecord } from './stored-record.js';

/** Epochs only rise, and nothing of a lower one is written behind a fence that stood. What audits write is exempt. */
export function checkEpochs(
  evidence: Evidence,
  stale: readonly StaleRecord[],
  heldBack: ReadonlySet<StoredRecord>,
  anomalies: Anomalies,
): void {
  for (const { record, fence } of stale) {
    if (heldBack.has(record)) continue;
    const silent = fence.silent.includes(record.instance);
    const kind = silent ? 'write-past-expired-lease' : 'write-past-acknowledged-fence';
    anomalies.note(kind, record.id, `${placeOf(record)}, of ${record.instance}, behind the fence of ${fence.epoch}`);
  }
  for (const records of [evidence.kafka, evidence.owlmq]) {
    const highest = new Map<string, StoredRecord>();
    for (const record of records) {
      if (record.byAudit || heldBack.has(record)) continue;
      const route = evidence.routes.get(record.epoch);
      if (route === undefined) anomalies.note('unknown-epoch', record.id, placeOf(record));
      else if (route.fenced) anomalies.note('written-under-fence', record.id, placeOf(record));
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
