import type { StandingFence } from '../control/route-history.js';
import type { Evidence } from './check.js';
import type { StoredRecord } from './stored-record.js';

/** A record of an epoch below a fence that stood when it was stored. */
export interface StaleRecord {
  record: StoredRecord;
  fence: StandingFence;
  /**
   * It was sent before the fence stood, and never again: the network held it back, and no client can recall it. Otherwise
   * its publisher wrote without right.
   */
  heldBack: boolean;
}

/** What publishers wrote of an epoch below a fence, stored behind it. */
export function staleRecords({ kafka, owlmq, fences, publications }: Evidence): StaleRecord[] {
  const byEpoch = [...fences].sort((a, b) => a.epoch - b.epoch);
  return [...kafka, ...owlmq].flatMap((record) => {
    if (record.byAudit) return [];
    // The newest at whose time the record was not there yet.
    const fence = byEpoch.findLast(({ [record.leg]: ends }) => record.offset >= endIn(ends, record));
    if (fence === undefined || record.epoch >= fence.epoch) return [];
    const sentAt = publications.get(record.id)?.sentAt[record.leg] ?? -Infinity;
    return [{ record, fence, heldBack: sentAt > -Infinity && sentAt <= fence.stoodAt }];
  });
}

function endIn(ends: StandingFence['kafka'], { topic, partition }: StoredRecord): number {
  return ends[topic]?.[partition] ?? Infinity;
}
