import type { StandingFence } from '../control/route-history.js';
import { incarnationOf } from '../publishers/message.js';
import type { Silence } from '../publishers/silence.js';
import type { StoredRecord } from './stored-record.js';

/** A record of an epoch below a fence that stood when it was stored. */
export interface StaleRecord {
  record: StoredRecord;
  fence: StandingFence;
  /**
   * Its process was dead or frozen from before the fence until after it was stored: the network held a write back that
   * was begun while the lease lasted, and no client can recall it. Otherwise the process wrote without right.
   */
  heldBack: boolean;
}

/** What publishers wrote of an epoch below a fence, stored behind it. */
export function staleRecords(
  records: readonly StoredRecord[],
  fences: readonly StandingFence[],
  silences: readonly Silence[],
): StaleRecord[] {
  const byEpoch = [...fences].sort((a, b) => a.epoch - b.epoch);
  return records.flatMap((record) => {
    if (record.byAudit) return [];
    // The newest at whose time the record was not there yet.
    const fence = byEpoch.findLast(({ [record.leg]: ends }) => record.offset >= endIn(ends, record));
    if (fence === undefined || record.epoch >= fence.epoch) return [];
    const incarnation = incarnationOf(record.id);
    const heldBack = silences.some(
      ({ incarnation: silent, from, ends }) =>
        silent === incarnation &&
        from < fence.stoodAt &&
        (ends === 'dead' || record.offset < (ends === undefined ? 0 : endIn(ends[record.leg], record))),
    );
    return [{ record, fence, heldBack }];
  });
}

function endIn(ends: StandingFence['kafka'], { topic, partition }: StoredRecord): number {
  return ends[topic]?.[partition] ?? Infinity;
}
