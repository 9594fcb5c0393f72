/** Keys of the store's tables. Their byte order is the order of what they name. */

const UINT32 = 2 ** 32;

/** All segments of a partition begin with this. */
export function partitionKey(topicId: number, partition: number): Buffer {
  const key = Buffer.allocUnsafe(8);
  key.writeUInt32BE(topicId, 0);
  key.writeUInt32BE(partition, 4);
  return key;
}

export function segmentKey(topicId: number, partition: number, baseOffset: number): Buffer {
  const key = Buffer.allocUnsafe(16);
  key.writeUInt32BE(topicId, 0);
  key.writeUInt32BE(partition, 4);
  writeOffset(key, baseOffset, 8);
  return key;
}

export function baseOffsetOf(key: Buffer): number {
  return readOffset(key, 8);
}

export function idKey(topicId: number, id: Buffer): Buffer {
  const key = Buffer.allocUnsafe(4 + id.length);
  key.writeUInt32BE(topicId, 0);
  id.copy(key, 4);
  return key;
}

export function writeOffset(buffer: Buffer, offset: number, at: number): void {
  buffer.writeUInt32BE(Math.floor(offset / UINT32), at);
  buffer.writeUInt32BE(offset >>> 0, at + 4);
}

export function readOffset(buffer: Buffer, at: number): number {
  return buffer.readUInt32BE(at) * UINT32 + buffer.readUInt32BE(at + 4);
}
