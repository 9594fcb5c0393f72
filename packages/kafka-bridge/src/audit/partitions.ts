/**
 * The partitions of a topic that an audit sees to: those asked for, all of a topic that is not named.
 *
 * @throws {RangeError} when one of those asked for does not exist.
 */
export function ownedPartitions(
  topic: string,
  count: number,
  asked: Readonly<Record<string, readonly number[]>> | undefined,
): number[] {
  const all = Array.from({ length: count }, (_, partition) => partition);
  const wanted = asked?.[topic];
  if (wanted === undefined) return all;
  const unknown = wanted.find((partition) => !all.includes(partition));
  if (unknown !== undefined) {
    throw new RangeError(`Topic ${topic} is audited from positions of ${count} partitions: there is no ${unknown}.`);
  }
  return all.filter((partition) => wanted.includes(partition));
}
