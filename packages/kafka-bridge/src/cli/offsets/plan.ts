import type { GroupStanding } from '../../groups/group-standing.js';
import { matchGroups } from '../../groups/match-groups.js';
import { translateToKafka } from '../../offsets/translate-to-kafka.js';
import { translateToOwlmq } from '../../offsets/translate-to-owlmq.js';
import type { OffsetTranslation } from '../../offsets/translation.js';
import type { TopicOffsets } from '../../routing/routing-state.js';
import { CliError } from '../cli-error.js';
import { EXIT } from '../exit-codes.js';
import { didYouMean } from '../near-names.js';
import { legName, plural } from '../words.js';
import { inUse, isInUse } from './members-in-words.js';
import { metadataRefusal } from './metadata-in-words.js';
import type { GroupReport, PartitionReport } from './report.js';
import type { Selection } from './selection.js';
import { boundsOf, standings, type Systems } from './systems.js';

/** A group whose positions were asked for, and what is to become of them. */
export interface GroupPlan {
  report: GroupReport;
  /** Topics to translate. */
  topics: string[];
  /** What was translated; as the import wants it. */
  translations: OffsetTranslation[];
}

export interface Plan {
  groups: GroupPlan[];
  /** Where groups stand on the target, by name. */
  targets: ReadonlyMap<string, GroupStanding>;
  /** What a person should know, that is of no single group. */
  notes: string[];
}

/** Consumers that run beside live ones have groups of their own, which nobody means who says "all". */
const SHADOW = /\.shadow$/;
/** Most redelivered ids that are kept over all groups. */
const MOST_IDS = 200_000;
const MOST_IDS_OF_PARTITION = 1_000;

/**
 * Finds the groups that were asked for, where they stand on both legs, and what refuses to carry their positions over.
 *
 * @throws {CliError} when topics were named that the source does not have, or no group is there at all.
 */
export async function findGroups(
  systems: Systems,
  selection: Selection,
  { targetInUse }: { targetInUse: 'refused' | 'allowed' },
): Promise<Plan> {
  const { from, to } = selection;
  const [names, sourceTopics, targetTopics] = await Promise.all([
    systems.sides[from].groupNames(),
    systems.sides[from].topicNames(),
    systems.sides[to].topicNames(),
  ]);
  for (const topic of selection.topics ?? []) {
    if (sourceTopics.includes(topic)) continue;
    throw new CliError(
      EXIT.refused,
      `--topics: ${legName(from)} does not have ${topic}, or it may not be seen.${didYouMean(topic, sourceTopics)}`,
    );
  }
  const chosen = choose(selection, names);
  const [source, target] = await Promise.all([
    standings(systems, from, chosen.matched),
    standings(systems, to, chosen.matched),
  ]);
  const notes = [...chosen.notes];
  const groups = chosen.unmatched.map((pattern) => unknownGroup(pattern, from, names));
  for (const name of chosen.matched) {
    const standing = source.get(name);
    if (standing === undefined || standing.kind === 'unknown') {
      groups.push(unknownGroup(name, from, names));
      continue;
    }
    const unused = targetInUse === 'refused' ? target.get(name) : undefined;
    const { plan, gone } = judge(selection, standing, unused, { sourceTopics, targetTopics });
    groups.push(plan);
    if (gone.length > 0) {
      notes.push(`${name}: commits on ${gone.join(', ')} are passed over: ${legName(from)} does not have it any more.`);
    }
  }
  return { groups, targets: target, notes };
}

/**
 * Translates the positions of the groups that nothing refuses, and fills in their reports.
 *
 * @param onProgress is told of partitions of topics done, of all that there are to do.
 */
export async function translate(
  systems: Systems,
  selection: Selection,
  { groups, targets, notes }: Plan,
  { signal, onProgress }: { signal: AbortSignal; onProgress: (progress: { done: number; of: number }) => void },
): Promise<void> {
  const { from, to, reset } = selection;
  const wanted = groups.filter(({ report }) => report.outcome === 'planned');
  const sourceBounds = new Map<string, { beginOffset: number; endOffset: number }[]>();
  for (const topic of new Set(wanted.flatMap(({ topics }) => topics))) {
    signal.throwIfAborted();
    sourceBounds.set(topic, await boundsOf(systems, from, topic));
  }
  const partitionsOf = (topics: readonly string[]): number =>
    topics.reduce((sum, topic) => sum + (sourceBounds.get(topic)?.length ?? 0), 0);
  const positions = wanted.reduce((sum, { topics }) => sum + partitionsOf(topics), 0);
  const options = {
    ...{ connection: systems.connection, owlmq: systems.owlmq, reset, signal },
    maxRedeliveredIds: Math.max(1, Math.min(MOST_IDS_OF_PARTITION, Math.floor(MOST_IDS / Math.max(1, positions)))),
  };
  const found = await batches(systems, selection, wanted, targets);
  const of = found.reduce((sum, { topics }) => sum + partitionsOf(topics), 0);
  let done = 0;
  // What the translation reads is shared by groups that have the same topics.
  for (const { plans, topics, kafkaFrom } of found) {
    const asked = {
      ...{ ...options, groups: plans.map(({ report }) => report.group), topics },
      onProgress: (progress: { done: number }) => {
        onProgress({ done: done + progress.done, of });
      },
    };
    const translated = to === 'owlmq' ? await translateToOwlmq(asked) : await translateToKafka({ ...asked, kafkaFrom });
    for (const plan of plans) {
      plan.translations = translated.find(({ group }) => group === plan.report.group)?.partitions ?? [];
      fillIn(plan, targets.get(plan.report.group), sourceBounds, selection);
    }
    done += partitionsOf(topics);
  }
  if (to === 'kafka' && selection.fences === undefined && wanted.length > 0) {
    notes.push(
      'Without --fences, what a group has committed on Kafka counts as consumed there; where it has committed nothing, nothing does.',
    );
  }
}

function choose(
  { patterns, from }: Selection,
  names: readonly string[],
): { matched: string[]; unmatched: string[]; notes: string[] } {
  const given = patterns.length === 0 ? ['*'] : patterns;
  // In the order in which they were asked for.
  const matched = [...new Set(given.flatMap((pattern) => matchGroups([pattern], names).matched.sort()))];
  const { unmatched } = matchGroups(given, names);
  if (patterns.length === 0 && matched.length === 0) {
    throw new CliError(EXIT.refused, `${legName(from)} has no consumer groups, or they may not be seen.`);
  }
  const shadows = matched.filter((name) => SHADOW.test(name) && !patterns.includes(name));
  return {
    matched: matched.filter((name) => !shadows.includes(name)),
    unmatched,
    notes:
      shadows.length === 0
        ? []
        : [`Groups of shadows are passed over unless they are named in full: ${shadows.join(', ')}.`],
  };
}

function unknownGroup(name: string, from: Selection['from'], names: readonly string[]): GroupPlan {
  const isPattern = /[*?]/.test(name);
  const reason = isPattern
    ? `no group of ${legName(from)} matches ${name}.`
    : `${legName(from)} has no group ${name}, or it may not be seen.${didYouMean(name, names)}`;
  return {
    report: { group: name, kind: 'unknown', sourceMembers: 0, outcome: 'refused', reason, partitions: [] },
    topics: [],
    translations: [],
  };
}

/** What is to become of a group, by where it stands. `target`: where it must be possible to set its offsets. */
function judge(
  selection: Selection,
  source: GroupStanding,
  target: GroupStanding | undefined,
  { sourceTopics, targetTopics }: { sourceTopics: readonly string[]; targetTopics: readonly string[] },
): { plan: GroupPlan; gone: string[] } {
  const { from, to, reset, patterns, ignoreMetadata } = selection;
  const { group } = source;
  const committed = [...new Set(source.offsets.map(({ topic }) => topic))].sort();
  const gone = committed.filter((topic) => !sourceTopics.includes(topic));
  const named = patterns.includes(group);
  const within = (topic: string): boolean => selection.topics?.includes(topic) ?? true;
  // A topic that the group never committed on is not its own, unless somebody says both: the group's and where to begin.
  const topics =
    named && reset !== undefined && selection.topics !== undefined
      ? selection.topics
      : committed.filter((topic) => sourceTopics.includes(topic) && within(topic));
  const report: GroupReport = {
    ...{ group, kind: source.kind, sourceMembers: source.members.length, outcome: 'planned', partitions: [] },
  };
  const plan: GroupPlan = { report, topics, translations: [] };
  const settle = (outcome: GroupReport['outcome'], reason: string): { plan: GroupPlan; gone: string[] } => {
    Object.assign(report, { outcome, reason });
    return { plan, gone: gone.filter(within) };
  };

  if (source.refusal !== undefined) {
    // Such groups consume no topics. Who says "all" does not mean them.
    const foreign = source.kind === 'connect' || source.kind === 'other';
    return settle(foreign && !named ? 'passed-over' : 'refused', cannotMove(source, source.refusal));
  }
  if (topics.length === 0) {
    const where = selection.topics === undefined ? '' : ` of ${selection.topics.join(', ')}`;
    const reason = `group ${group} has no commits on any topic${where} of ${legName(from)}.`;
    return named ? settle('refused', `${reason} There is nothing to carry over.`) : settle('passed-over', reason);
  }
  const missing = topics.filter((topic) => !targetTopics.includes(topic));
  if (missing.length > 0) {
    const others = topics.filter((topic) => !missing.includes(topic));
    return settle(
      'refused',
      `${legName(to)} does not have ${missing.join(', ')}, where group ${group} has commits. Name the topics that are to be carried over with --topics` +
        (others.length === 0 ? '.' : `, as in --topics ${others.join(',')}.`),
    );
  }
  const metadata = ignoreMetadata || to === 'kafka' ? undefined : metadataRefusal(source, topics);
  if (metadata !== undefined) return settle('refused', metadata);
  if (target?.refusal !== undefined) return settle('refused', cannotMove(target, target.refusal));
  if (target !== undefined && isInUse(target)) return settle('refused', inUse(target));
  return { plan, gone: gone.filter(within) };
}

function cannotMove({ group, leg }: GroupStanding, refusal: string): string {
  return `group ${group} of ${legName(leg)}: ${refusal}.`;
}

interface Batch {
  topics: string[];
  kafkaFrom: TopicOffsets;
  plans: GroupPlan[];
}

/** Groups that can be translated in one go: with the same topics and, back to Kafka, the same offsets to search from. */
async function batches(
  systems: Systems,
  { to, fences }: Selection,
  plans: readonly GroupPlan[],
  target: ReadonlyMap<string, GroupStanding>,
): Promise<Batch[]> {
  const kafkaBounds = new Map<string, { beginOffset: number; endOffset: number }[]>();
  const found = new Map<string, Batch>();
  for (const plan of plans) {
    const kafkaFrom: TopicOffsets = {};
    for (const topic of to === 'kafka' ? plan.topics : []) {
      const bounds = kafkaBounds.get(topic) ?? (await boundsOf(systems, 'kafka', topic));
      kafkaBounds.set(topic, bounds);
      const commits = target.get(plan.report.group)?.offsets.filter((offset) => offset.topic === topic) ?? [];
      if (fences !== undefined) kafkaFrom[topic] = [...(fences[topic] ?? notInFences(topic))];
      else {
        // What it committed on Kafka it has consumed there, and the rest may not have: never too high.
        kafkaFrom[topic] = bounds.map(({ beginOffset, endOffset }, partition) => {
          const offset = commits.find((commit) => commit.partition === partition)?.offset ?? beginOffset;
          return offset > endOffset ? beginOffset : Math.max(offset, beginOffset);
        });
      }
    }
    const key = JSON.stringify([plan.topics, kafkaFrom]);
    const batch = found.get(key);
    if (batch === undefined) found.set(key, { topics: plan.topics, kafkaFrom, plans: [plan] });
    else batch.plans.push(plan);
  }
  return [...found.values()];
}

function notInFences(topic: string): never {
  throw new CliError(EXIT.input, `--fences has no offsets of topic ${topic} on Kafka.`);
}

function fillIn(
  { report, translations }: GroupPlan,
  before: GroupStanding | undefined,
  sourceBounds: ReadonlyMap<string, { beginOffset: number; endOffset: number }[]>,
  { reset }: Selection,
): void {
  const standing = new Map(before?.offsets.map(({ topic, partition, offset }) => [`${topic}/${partition}`, offset]));
  report.partitions = translations.map((translation): PartitionReport => {
    const { topic, partition, source, target, ...rest } = translation;
    const bounds = sourceBounds.get(topic)?.[partition];
    const start = source ?? (reset === 'latest' ? bounds?.endOffset : bounds?.beginOffset);
    const was = standing.get(`${topic}/${partition}`);
    return {
      ...{ topic, partition },
      ...(source === undefined ? {} : { source }),
      ...(target === undefined ? {} : { target }),
      ...rest,
      ...(was === undefined ? {} : { before: was }),
      ...(bounds === undefined || start === undefined ? {} : { lag: Math.max(0, bounds.endOffset - start) }),
    };
  });
  const refused = report.partitions.filter(({ verdict }) => verdict === 'refused').length;
  if (refused === 0) return;
  report.outcome = 'refused';
  report.reason = `${plural(refused, 'partition')} of group ${report.group} cannot be translated.`;
}
