/** A partition of a topic, as text: what assignments are keyed by. */
export type PartitionName = string;

/** Who may get which partitions. */
export interface Candidate {
  memberId: string;
  topics: ReadonlySet<string>;
}

export interface AssignablePartition {
  name: PartitionName;
  topic: string;
}

/**
 * Gives each partition one member that subscribes to its topic. Partitions stay with their last owner as far as the
 * numbers allow; members that subscribe to the same topics differ by one partition at most. Deterministic.
 */
export function assign(
  partitions: readonly AssignablePartition[],
  members: readonly Candidate[],
  lastOwner: ReadonlyMap<PartitionName, string>,
): Map<PartitionName, string> {
  const candidates = [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1));
  const load = new Map(candidates.map(({ memberId }) => [memberId, 0]));
  const owners = new Map<PartitionName, string>();
  const loadOf = (memberId: string): number => load.get(memberId) ?? 0;
  const give = ({ name }: AssignablePartition, memberId: string): void => {
    const before = owners.get(name);
    if (before !== undefined) load.set(before, loadOf(before) - 1);
    owners.set(name, memberId);
    load.set(memberId, loadOf(memberId) + 1);
  };
  const leastLoaded = (topic: string): string | undefined => {
    const eligible = candidates.filter(({ topics }) => topics.has(topic)).map(({ memberId }) => memberId);
    return eligible.reduce<string | undefined>(
      (best, id) => (best === undefined || loadOf(id) < loadOf(best) ? id : best),
      undefined,
    );
  };

  const unowned: AssignablePartition[] = [];
  for (const partition of partitions) {
    const last = lastOwner.get(partition.name);
    const keeps = candidates.some(({ memberId, topics }) => memberId === last && topics.has(partition.topic));
    if (last !== undefined && keeps) give(partition, last);
    else unowned.push(partition);
  }
  for (const partition of unowned) {
    const memberId = leastLoaded(partition.topic);
    if (memberId !== undefined) give(partition, memberId);
  }
  // A pass moves what is worth moving; each move evens out the loads, so the passes end.
  for (let moved = true; moved;) {
    moved = false;
    for (const partition of partitions) {
      const owner = owners.get(partition.name);
      const memberId = leastLoaded(partition.topic);
      if (owner === undefined || memberId === undefined || loadOf(owner) - loadOf(memberId) < 2) continue;
      give(partition, memberId);
      moved = true;
    }
  }
  return owners;
}
