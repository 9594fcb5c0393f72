import { eachLimited } from '../../audit/each-limited.js';
import type { GroupStanding } from '../../groups/group-standing.js';
import type { Side } from '../../groups/sides.js';

/** Where a group stands on one side, with what that means for the logs. Safe as JSON. */
export interface SideReport extends Omit<GroupStanding, 'group' | 'leg' | 'offsets'> {
  /** Every partition of the topics that the group has commits on, or of those that were asked for. */
  positions: PartitionPosition[];
  /** Messages behind, over all partitions with a commit and a known end. */
  lag: number;
  /** Partitions without a commit: there the consumers' `auto.offset.reset` decides. */
  withoutCommit: number;
}

export interface PartitionPosition {
  topic: string;
  partition: number;
  /** Offset of the next record; absent without a commit. */
  position?: number;
  /** Begin and end of the log; absent where the side does not have the partition any more. */
  begin?: number;
  end?: number;
  /** End minus position, 0 at least. */
  lag?: number;
  /** Size of what the committer wrote beside the offset; absent where that is nothing. It is not shown: it is the service's own. */
  metadataBytes?: number;
}

const TOPICS_AT_ONCE = 8;

/**
 * Where groups stand on a side, by name. `topics`: of these alone, all their partitions; undefined: of those that each
 * group has commits on.
 *
 * @throws {AggregateError} of what the calls failed with.
 */
export async function sideReports(
  side: Side,
  groups: readonly string[],
  topics: readonly string[] | undefined,
): Promise<Map<string, SideReport>> {
  const bounds = await boundsOf(side, topics ?? []);
  const counts = Object.fromEntries([...bounds].map(([topic, partitions]) => [topic, partitions.length]));
  const standings = await side.standings(groups, counts);
  const committed = standings.flatMap(({ offsets }) => offsets.map(({ topic }) => topic));
  // The ends after the positions: a group that goes on meanwhile is not past the end.
  const later = await boundsOf(side, topics ?? [...new Set(committed)]);
  return new Map(standings.map((standing) => [standing.group, sideReport(standing, topics, later)]));
}

type TopicBounds = ReadonlyMap<string, { beginOffset: number; endOffset: number }[]>;

async function boundsOf(side: Side, topics: readonly string[]): Promise<TopicBounds> {
  const found = new Map<string, { beginOffset: number; endOffset: number }[]>();
  const errors = await eachLimited(
    topics,
    TOPICS_AT_ONCE,
    async (topic) => {
      const bounds = await side.bounds(topic);
      if (bounds !== undefined) found.set(topic, bounds);
    },
    () => true,
  );
  if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors);
  return found;
}

function sideReport(
  { kind, state, members, refusal, offsets }: GroupStanding,
  topics: readonly string[] | undefined,
  bounds: TopicBounds,
): SideReport {
  const wanted = topics ?? [...new Set(offsets.map(({ topic }) => topic))].sort();
  // A group without offsets of its own kind has none to miss.
  const whole = kind === 'share' || kind === 'unknown' ? [] : wanted;
  const positions = whole.flatMap((topic) => {
    const commits = new Map(
      offsets.filter((commit) => commit.topic === topic).map((commit) => [commit.partition, commit]),
    );
    const partitions = new Set([...(bounds.get(topic)?.keys() ?? []), ...commits.keys()]);
    return [...partitions]
      .sort((a, b) => a - b)
      .map((partition): PartitionPosition => {
        const commit = commits.get(partition);
        const bound = bounds.get(topic)?.[partition];
        return {
          ...{ topic, partition },
          ...(commit === undefined ? {} : { position: commit.offset }),
          ...(bound === undefined ? {} : { begin: bound.beginOffset, end: bound.endOffset }),
          ...(commit === undefined || bound === undefined ? {} : { lag: Math.max(0, bound.endOffset - commit.offset) }),
          ...(commit?.metadata === undefined ? {} : { metadataBytes: Buffer.byteLength(commit.metadata) }),
        };
      });
  });
  return {
    ...{ kind, state, members, positions },
    ...(refusal === undefined ? {} : { refusal }),
    lag: positions.reduce((sum, { lag }) => sum + (lag ?? 0), 0),
    withoutCommit: positions.filter(({ position }) => position === undefined).length,
  };
}
