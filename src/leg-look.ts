import { bounded, eachLimited, rootMessages, type GroupStanding, type Side } from '@owlmq/kafka-bridge/operations';
import type { GroupLag } from '@owlmq/kafka-bridge/live-view';

/** Where the topics of each leg end, over all partitions; null where a leg did not answer. */
export interface LegEnds {
  /** Unix time, ms. */
  atMs: number;
  kafka: number | null;
  owlmq: number | null;
}

/** What is seen of the groups and topics of a migration on both legs. */
export interface LegLook {
  ends: LegEnds;
  lags: GroupLag[];
  /** Legs that did not answer, and why. */
  unread: string[];
}

const ANSWER_WITHIN_MS = 8_000;
const TOPICS_AT_ONCE = 8;

/** One leg, as far as it is there. */
interface Leg {
  /** Where all partitions end together; null where a topic is not there yet. */
  end: number | null;
  lagOf(group: string): number | null;
}

/** Looks at both legs at once; what one does not tell is null. */
export async function lookAtLegs(
  sides: { kafka: Side; owlmq: Side },
  { topics, groups }: { topics: readonly string[]; groups: readonly string[] },
): Promise<LegLook> {
  const unread: string[] = [];
  const look = async (side: Side, name: string, names: readonly string[]): Promise<Leg | undefined> => {
    try {
      return await bounded(
        lookAt(side, topics, names),
        ANSWER_WITHIN_MS,
        () => new Error(`no answer within ${ANSWER_WITHIN_MS / 1_000} s`),
      );
    } catch (error) {
      unread.push(`${name}: ${rootMessages(error).join('; ')}`);
      return undefined;
    }
  };
  const shadowOf = (group: string): string => `${group}.shadow`;
  const [kafka, owlmq] = await Promise.all([
    look(sides.kafka, 'Kafka', groups),
    look(sides.owlmq, 'OwlMQ', [...groups, ...groups.map(shadowOf)]),
  ]);
  return {
    ends: { atMs: Date.now(), kafka: kafka?.end ?? null, owlmq: owlmq?.end ?? null },
    lags: groups.map((group) => ({
      group,
      kafka: kafka?.lagOf(group) ?? null,
      owlmq: owlmq?.lagOf(group) ?? null,
      shadow: owlmq?.lagOf(shadowOf(group)) ?? null,
    })),
    unread,
  };
}

async function lookAt(side: Side, topics: readonly string[], groups: readonly string[]): Promise<Leg> {
  const standings = new Map((await side.standings(groups)).map((standing) => [standing.group, standing]));
  // The ends after the positions: a group that goes on meanwhile is not past the end.
  const ends = new Map<string, number[]>();
  const errors = await eachLimited(
    topics,
    TOPICS_AT_ONCE,
    async (topic) => {
      const bounds = await side.bounds(topic);
      if (bounds !== undefined)
        ends.set(
          topic,
          bounds.map(({ endOffset }) => endOffset),
        );
    },
    () => true,
  );
  if (errors.length > 0) throw new AggregateError(errors);
  return {
    end: ends.size < topics.length ? null : [...ends.values()].flat().reduce((sum, end) => sum + end, 0),
    lagOf: (group) => lagOf(standings.get(group), ends),
  };
}

/** Messages behind, over partitions with a commit; null without any. */
function lagOf(standing: GroupStanding | undefined, ends: ReadonlyMap<string, readonly number[]>): number | null {
  const behind = (standing?.offsets ?? []).flatMap(({ topic, partition, offset }) => {
    const end = ends.get(topic)?.[partition];
    return end === undefined ? [] : [Math.max(0, end - offset)];
  });
  return behind.length === 0 ? null : behind.reduce((sum, lag) => sum + lag, 0);
}
