/** Topic and partition of a name `TOPIC/PARTITION`, as reports and checkpoints have it. */
export function parsePartitionName(name: string): { topic: string; partition: number } {
  const slash = name.lastIndexOf('/');
  return { topic: name.slice(0, slash), partition: Number(name.slice(slash + 1)) };
}

/** The name of a topic's partition. */
export function partitionName(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}
