import { murmur2 } from '../message/murmur2.js';

/** Another seed than the partitioner's, so that each partition has the same share of copied keys. */
const COPY_SEED = 0x3c6ef372;
const SHARES = 10_000;

/**
 * Whether a message is copied to OwlMQ at a ratio from 0 to 1, decided by its key (its id where it has none): raising
 * the ratio adds keys and takes none away. The ratio counts in steps of one in ten thousand.
 */
export function isCopied(key: Uint8Array, ratio: number): boolean {
  return (murmur2(key, COPY_SEED) >>> 0) % SHARES < Math.round(ratio * SHARES);
}
