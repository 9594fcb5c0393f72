import type { GroupStanding } from '../../groups/group-standing.js';
import { count } from '../words.js';

/**
 * Why commits with metadata are not carried over as they are; undefined where there is none. The metadata itself is
 * not shown: it is the service's own.
 */
export function metadataRefusal({ group, offsets }: GroupStanding, topics: readonly string[]): string | undefined {
  const having = offsets.filter(({ topic, metadata = '' }) => topics.includes(topic) && metadata !== '');
  const [first] = having;
  if (first === undefined) return undefined;
  return (
    `group ${group} keeps metadata with its commits (${count(having.length)} partitions, the first ${first.topic}/${first.partition}: ` +
    `${kindOf(first.metadata ?? '')}), and OwlMQ keeps none. If its consumers can do without, add --ignore-metadata.`
  );
}

function kindOf(metadata: string): string {
  const size = `${count(Buffer.byteLength(metadata))} bytes of`;
  if (/^\s*[[{]/.test(metadata)) return `${size} JSON`;
  // So Kafka Streams keeps the time of a task, and parallel consumers which messages behind the position are done.
  if (/^[A-Za-z0-9+/_-]{8,}={0,2}$/.test(metadata)) return `${size} what looks like base64`;
  return `${size} text`;
}
