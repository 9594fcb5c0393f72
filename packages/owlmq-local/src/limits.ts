import type { Contract } from '@owlmq/kafka-bridge/contract';

/** What the server accepts; the contract's limits and one of its own. */
export type Limits = Contract['Limits'] & {
  /** Bytes of request bodies that are held at once; past it requests are answered with 429. */
  maxInflightBytes: number;
};

export const DEFAULT_LIMITS: Limits = {
  maxBatchRecords: 10_000,
  maxBatchBytes: 8 * 1024 * 1024,
  maxRecordBytes: 4 * 1024 * 1024,
  maxLookupIds: 10_000,
  maxFetchBytes: 8 * 1024 * 1024,
  maxWaitMs: 30_000,
  maxInflightBytes: 128 * 1024 * 1024,
};
