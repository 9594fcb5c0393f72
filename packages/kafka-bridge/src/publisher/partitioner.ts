import { randomInt } from 'node:crypto';
import { murmur2 } from '../message/murmur2.js';

/** Partition of a key, as the Java client and kafkajs's default choose it. */
export function partitionOfKey(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions;
}

/** Partitions one after the other, for messages without a key. Starts at a random one. */
export class RoundRobin {
  #next = randomInt(1 << 20);

  partition(partitions: number): number {
    this.#next = (this.#next + 1) % Number.MAX_SAFE_INTEGER;
    return this.#next % partitions;
  }
}
