/** Seed of Kafka's own hash, see `org.apache.kafka.common.utils.Utils.murmur2`. */
const KAFKA_SEED = 0x9747b28c;
const M = 0x5bd1e995;

/** MurmurHash2 of bytes, as a signed 32-bit integer. With the default seed it is the one that Kafka partitions by. */
export function murmur2(data: Uint8Array, seed: number = KAFKA_SEED): number {
  const { length } = data;
  const byte = (index: number): number => data[index] ?? 0;
  let h = seed ^ length;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    let k = byte(i) | (byte(i + 1) << 8) | (byte(i + 2) << 16) | (byte(i + 3) << 24);
    k = Math.imul(k, M);
    k ^= k >>> 24;
    h = Math.imul(h, M) ^ Math.imul(k, M);
  }
  const rest = length - i;
  if (rest > 2) h ^= byte(i + 2) << 16;
  if (rest > 1) h ^= byte(i + 1) << 8;
  if (rest > 0) h = Math.imul(h ^ byte(i), M);
  h ^= h >>> 13;
  h = Math.imul(h, M);
  return h ^ (h >>> 15);
}
