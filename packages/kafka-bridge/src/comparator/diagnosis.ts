import type { TopicOffsets } from '../routing/routing-state.js';
import { bridgeCommand, shellWord, updateCommand } from './next-commands.js';
import type { DiscrepancySample } from './samples.js';
import type { DiscrepancyVerdict } from './verdicts.js';

/** What is likely to be behind discrepancies, and what to do. Plain JSON, without payload. */
export interface Diagnosis {
  group: string;
  verdicts: DiscrepancyVerdict[];
  /** Message that it was found by. */
  id: string;
  /** What is the matter, in a sentence. */
  what: string;
  /** What was seen that says so. */
  evidence: string[];
  /** What to do about it, in words. */
  todo: string;
  /** The next command, as one types it. */
  next: string;
}

/** What was seen around the newest discrepancy of a verdict in a group. What is undefined was not looked at. */
export interface Evidence {
  migration: string;
  group: string;
  sample: DiscrepancySample;
  /** All samples of the group, this one among them. */
  samples: readonly DiscrepancySample[];
  /** Observations of the group that came after they had been judged. */
  late: number;
  routing?: { topics: readonly string[]; groups: readonly string[]; shadowFrom?: TopicOffsets | undefined };
  /** Partitions of the sample's topic; null: OwlMQ has no such topic. */
  kafkaPartitions?: number;
  owlmqPartitions?: number | null;
  /** The message's record in Kafka; null: it is not there, or not there any more. */
  record?: MessageRecord | null;
  /** The message in OwlMQ; null: it has no record with this id. */
  copy?: (MessageRecord & { via?: string | undefined }) | null;
  /** Kafka offset of the first copy in the sample's partition of OwlMQ; null: the partition has none. */
  copiesFrom?: number | null;
  /** Partition that Kafka's own hash (murmur2) gives the key, among Kafka's partitions; null: there is no key. */
  keyPartition?: number | null;
  /** The shadows' group in OwlMQ; null: there is none. */
  shadowGroup?: ShadowGroup | null;
  /** Living consumers of the group. */
  members?: readonly LivingMember[];
}

export interface MessageRecord {
  partition: number;
  offset: number;
  /** Whether it says that a copy was intended. */
  copied: boolean;
}

export interface ShadowGroup {
  name: string;
  members: number;
  /** What its members read, as `TOPIC/PARTITION`. */
  assigned: readonly string[];
  /** Its committed position in the copy's partition. */
  committed?: number | undefined;
}

export interface LivingMember {
  instance: string;
  shadow: boolean;
  /** Next offsets of its live side, by `TOPIC/PARTITION`. */
  live: Readonly<Record<string, number>>;
}

/** What the evidence says, most telling first; at least one. Pure. */
export function diagnose(evidence: Evidence): Diagnosis[] {
  const found = [...causes(evidence)];
  const told = found.length > 0 ? found : [unexplained(evidence)];
  const { group, sample } = evidence;
  return told.map((cause) => ({ group, verdicts: [sample.verdict], id: sample.id, ...cause }));
}

/** The same of several verdicts, each cause of a group once. */
export function diagnoseAll(all: readonly Evidence[]): Diagnosis[] {
  const found = new Map<string, Diagnosis>();
  for (const diagnosis of all.flatMap(diagnose)) {
    const key = JSON.stringify([diagnosis.group, diagnosis.what]);
    const known = found.get(key);
    if (known === undefined) found.set(key, diagnosis);
    else known.verdicts = [...new Set([...known.verdicts, ...diagnosis.verdicts])];
  }
  return [...found.values()];
}

type Cause = Pick<Diagnosis, 'what' | 'evidence' | 'todo' | 'next'>;

function* causes(evidence: Evidence): Generator<Cause> {
  const mapped = evidence.sample.verdict in ofPlace ? [...mapping(evidence)] : [];
  yield* mapped;
  // Where both legs do not have the same partitions, nothing else is to be told from what is in them.
  if (mapped.length > 0) return;
  switch (evidence.sample.verdict) {
    case 'missing':
      yield* shadowSide(evidence);
      yield* copyIsMissing(evidence);
      yield* copyWasPassed(evidence);
      return;
    case 'unexpected':
      yield* liveSide(evidence);
      return;
    case 'reordered':
      yield* otherOrder(evidence);
      return;
    case 'different':
      yield* otherVersions(evidence);
      yield* sameFields(evidence);
      return;
    case 'failedLive':
    case 'failedShadow':
      yield* otherVersions(evidence);
      yield failedAlone(evidence);
  }
}

/** Verdicts that depend on where messages are. */
const ofPlace = { missing: true, unexpected: true, reordered: true };

/** Partitions that are not the same on both legs. */
function* mapping(evidence: Evidence): Generator<Cause> {
  const { migration, sample, kafkaPartitions, owlmqPartitions } = evidence;
  const { topic } = sample;
  const rollBack = updateCommand(migration, 'rollbackMigration', {
    reason: `partitions of ${topic}`,
    by: 'WHO SAYS SO',
  });
  if (owlmqPartitions === null) {
    yield {
      what: `OwlMQ has no topic ${topic}.`,
      evidence: ['OwlMQ was asked for it.'],
      todo: 'Somebody has deleted it, or the worker writes to another OwlMQ. Check the address; else roll back and start again, which makes it.',
      next: rollBack,
    };
    return;
  }
  if (kafkaPartitions !== undefined && owlmqPartitions !== undefined && kafkaPartitions !== owlmqPartitions) {
    yield {
      what: `Topic ${topic} has ${kafkaPartitions} partitions in Kafka and ${owlmqPartitions} in OwlMQ.`,
      evidence: [
        'Both were asked for it. A message goes to the partition of the same number, so both must have as many.',
      ],
      todo: 'Partitions were added after the start. Roll back, make the topic in OwlMQ anew with as many partitions as Kafka has, and start again.',
      next: rollBack,
    };
    return;
  }
  yield* otherPartition(evidence);
}

/** The copy is in another partition than its record. */
function* otherPartition({ migration, sample, samples, record, copy, keyPartition }: Evidence): Generator<Cause> {
  const { topic, id, verdict } = sample;
  const counterpart = samples.find(
    (one) =>
      one.id === id && one.topic === topic && one.partition !== sample.partition && one.verdict === opposite[verdict],
  );
  const inKafka = record?.partition ?? (verdict === 'missing' ? sample.partition : counterpart?.partition);
  const inOwlmq = copy?.partition ?? (verdict === 'missing' ? counterpart?.partition : sample.partition);
  if (inKafka === undefined || inOwlmq === undefined || inKafka === inOwlmq) return;
  const evidence = [`Message ${id} is in ${topic}/${inKafka} of Kafka and in ${topic}/${inOwlmq} of OwlMQ.`];
  if (counterpart !== undefined) {
    evidence.push(
      `It was judged ${verdict} in partition ${sample.partition} and ${counterpart.verdict} in ${counterpart.partition}.`,
    );
  }
  let todo = "Look at the producer's partitioner, and at who writes to OwlMQ beside the library.";
  if (keyPartition === null) {
    evidence.push('It has no key, so that no hash gives its partition.');
    todo = 'Whoever writes it to both legs must name the same partition. DualPublisher does.';
  } else if (keyPartition !== undefined) {
    evidence.push(`Kafka's own hash of the key (murmur2) gives partition ${keyPartition}.`);
    if (keyPartition === inKafka) {
      todo =
        'The record in Kafka is where the hash puts it: whoever wrote it to OwlMQ chose the partition by another partitioner. Let DualPublisher or the bridge write the copies, or set that partitioner to murmur2.';
    } else if (keyPartition === inOwlmq) {
      todo =
        "The copy is where the hash puts it: the producer in Kafka uses another partitioner. Check its setting (librdkafka: partitioner=murmur2_random; Sarama, franz-go and others have one of Kafka's kind), or let it use DualPublisher.";
    } else
      todo =
        'Neither is where the hash puts it: check the partitioners of both producers, and that they know the same number of partitions.';
  }
  yield {
    what: `Keys of topic ${topic} are not hashed alike: copies are in another partition than their records.`,
    evidence,
    todo: `${todo} The column MISPLACED counts how many there are.`,
    next: auditCommand(migration, sample),
  };
}

const opposite: Partial<Record<DiscrepancyVerdict, DiscrepancyVerdict>> = {
  missing: 'unexpected',
  unexpected: 'missing',
};

/** Who reads the shadow's side. */
function* shadowSide({ migration, group, sample, routing, members, shadowGroup, copy }: Evidence): Generator<Cause> {
  const { topic } = sample;
  const next = bridgeCommand('routing', 'show', migration);
  if (routing !== undefined) yield* outsideOfRouting({ group, sample, routing, next });
  if (members?.length === 0) {
    yield {
      what: `No living DualConsumer of group ${group} reports to the migration.`,
      evidence: ['The members topic has no report of one within its lease.'],
      todo: `Start the services of ${group} with the migration ${migration}, or take the group out of the input.`,
      next,
    };
  } else if (members !== undefined && !members.some(({ shadow }) => shadow)) {
    yield {
      what: `No member of group ${group} runs a shadow.`,
      evidence: [`Living members: ${names(members)}; none says that its shadow runs.`],
      todo: 'Look at what they log of OwlMQ (onError): the shadow joins its group there.',
      next,
    };
  }
  if (shadowGroup === null || shadowGroup?.members === 0) {
    yield {
      what: `No shadow of group ${group} is in its group in OwlMQ.`,
      evidence: [shadowGroup === null ? `OwlMQ has no group ${group}.shadow.` : `${shadowGroup.name} has no members.`],
      todo: "Check that the services reach OwlMQ, with the worker's address, and that their key may join groups.",
      next,
    };
    return;
  }
  if (shadowGroup === undefined) return;
  const place = `${topic}/${copy?.partition ?? sample.partition}`;
  if (shadowGroup.assigned.includes(place)) return;
  const reads = topicsOf(shadowGroup.assigned);
  yield reads.includes(topic) || reads.length === 0
    ? {
        what: `Shadows of group ${group} do not read all partitions of ${topic}.`,
        evidence: [`${shadowGroup.name} has ${few(shadowGroup.assigned) || 'nothing'} assigned, not ${place}.`],
        todo: 'A rebalance may be under way: look again. Else compare the partition counts, and look for members that were killed.',
        next,
      }
    : otherTopics(group, 'shadow', topic, reads, next);
}

function* outsideOfRouting({
  group,
  sample,
  routing,
  next,
}: {
  group: string;
  sample: DiscrepancySample;
  routing: NonNullable<Evidence['routing']>;
  next: string;
}): Generator<Cause> {
  const { topic, partition, kafka } = sample;
  if (!routing.groups.includes(group)) {
    yield {
      what: `Group ${group} is not in the routing state of the migration.`,
      evidence: [`It names ${routing.groups.join(', ') || 'none'}.`],
      todo: 'Groups are those of the input: start the migration with this group, or stop comparing it.',
      next,
    };
  }
  const from = routing.shadowFrom?.[topic]?.[partition];
  if (from !== undefined && kafka < from) {
    yield {
      what: `Messages of ${topic}/${partition} are from before the comparison.`,
      evidence: [`The message is at Kafka offset ${kafka}, the shadows begin at ${from}.`],
      todo: 'A position was set back after the comparison began. It is no difference of the handlers; let the soak go on.',
      next,
    };
  }
}

/** OwlMQ does not have the message. */
function* copyIsMissing({ migration, sample, record, copy, copiesFrom }: Evidence): Generator<Cause> {
  if (copy !== null) return;
  const { topic, partition, kafka, id } = sample;
  const evidence = [`OwlMQ has no record of message ${id} in ${topic}.`];
  if (copiesFrom !== undefined && copiesFrom !== null && copiesFrom > kafka) {
    yield {
      what: `Messages of ${topic}/${partition} are from before the copies began: they are outside of the coverage.`,
      evidence: [
        ...evidence,
        `The first copy in the partition is of Kafka offset ${copiesFrom}, the message is at ${kafka}.`,
      ],
      todo: 'Let the audit copy what lies before: first without --repair, to see how many there are.',
      next: `${auditCommand(migration, sample)} --repair`,
    };
    return;
  }
  if (copiesFrom === null) evidence.push(`Its partition ${partition} has no copy at all.`);
  if (record?.copied === true)
    evidence.push(`Its record at Kafka offset ${record.offset} says that a copy was intended.`);
  yield {
    what: `Copies of ${topic}/${partition} never came to OwlMQ.`,
    evidence,
    todo: "The publisher has not written it and the audit has not repaired it yet. See how many are missing; with --repair behind it the audit writes them. The publisher's log says why (onEvent), the workflow's status whether its audit has stopped.",
    next: auditCommand(migration, sample),
  };
}

/** The copy is where it is to be, and the shadow has not told of it in time. */
function* copyWasPassed({ migration, group, sample, copy, record, shadowGroup, late }: Evidence): Generator<Cause> {
  if (copy === null || copy === undefined || shadowGroup === null || shadowGroup === undefined) return;
  const { topic, partition } = sample;
  const inPlace = copy.partition === (record?.partition ?? partition);
  if (!inPlace || shadowGroup.members === 0 || !shadowGroup.assigned.includes(`${topic}/${copy.partition}`)) return;
  const at = `Its copy is at ${topic}/${copy.partition} offset ${copy.offset} of OwlMQ`;
  if (late > 0 || copy.via !== undefined) {
    yield {
      what: `Copies of ${topic} come later than soak.lateness.`,
      evidence: [
        `${at}${copy.via === undefined ? '' : `, written by the bridge (${copy.via}) and not by the publisher`}.`,
        ...(late > 0 ? [`${late} observations of the group came after they had been judged.`] : []),
      ],
      todo: 'Let soak.lateness be longer than copies take, audit.grace included where the audit writes them; it is in the input of the next run. See whether copies are still late:',
      next: auditCommand(migration, sample),
    };
    return;
  }
  const { committed } = shadowGroup;
  if (committed !== undefined && committed > copy.offset) {
    yield {
      what: `The shadow of group ${group} has passed messages of ${topic}/${partition} without telling of them.`,
      evidence: [`${at}, the position of ${shadowGroup.name} is ${committed}.`],
      todo: "Either its position was behind the message when it began (set by hand, or reset to the end), or its observation was given up: the service's log has ObservationsLostError then.",
      next: bridgeCommand('routing', 'show', migration),
    };
  } else {
    yield {
      what: `The shadow of group ${group} is behind in ${topic}/${partition}.`,
      evidence: [`${at}, the position of ${shadowGroup.name} is ${committed ?? 'not committed yet'}.`],
      todo: 'Its handler is slow or fails, or the partition was just given to another member. Look again in a minute; add instances if it stays behind.',
      next: bridgeCommand('discrepancies', 'list', '--migration', migration, '--group', group),
    };
  }
}

/** Who reads the live side. */
function* liveSide({ migration, group, sample, routing, members, record }: Evidence): Generator<Cause> {
  const next = bridgeCommand('routing', 'show', migration);
  if (routing !== undefined) yield* outsideOfRouting({ group, sample, routing, next });
  if (members === undefined) return;
  if (members.length === 0) {
    yield {
      what: `No living DualConsumer of group ${group} reports to the migration.`,
      evidence: ['The members topic has no report of one within its lease.'],
      todo: `Start the services of ${group} with the migration ${migration}.`,
      next,
    };
    return;
  }
  const { topic } = sample;
  if (record === null) {
    yield {
      what: `Kafka does not have the message where its copy says that it is from: ${topic}/${sample.partition}.`,
      evidence: [`At Kafka offset ${sample.kafka} there is another message, or none any more.`],
      todo: 'Its record is in another partition, so that keys are not hashed alike, or retention took it. The column MISPLACED counts what is elsewhere.',
      next: auditCommand(migration, sample),
    };
    return;
  }
  const partition = record?.partition ?? sample.partition;
  const place = `${topic}/${partition}`;
  const assigned = members.flatMap(({ live }) => Object.keys(live));
  const position = members.map(({ live }) => live[place]).find((offset) => offset !== undefined);
  const describeGroup = `kafka-consumer-groups.sh --bootstrap-server "$KAFKA_BROKERS" --describe --members --group ${shellWord(group)}`;
  if (position === undefined) {
    const reads = topicsOf(assigned);
    yield assigned.length > 0 && !reads.includes(topic)
      ? otherTopics(group, 'live', topic, reads, next)
      : {
          what: `No DualConsumer of group ${group} reads ${place} in Kafka.`,
          evidence: [`Living members: ${names(members)}; they read ${few(assigned) || 'nothing'}.`],
          todo: 'Another member of the group has that partition: a consumer without the library, or one of another migration. It must use DualConsumer too, since it would go on in Kafka after the cutover.',
          next: describeGroup,
        };
    return;
  }
  const offset = record?.offset ?? sample.kafka;
  if (position <= offset) {
    yield {
      what: `The live side of group ${group} is behind its shadow in ${place}.`,
      evidence: [`It is at Kafka offset ${position}, the message is at ${offset}.`],
      todo: "Its position was set back, or a partition was given to another member. It is no difference once it has caught up; look at the group's lag.",
      next: describeGroup.replace(' --members', ''),
    };
  } else {
    yield {
      what: `The live side of group ${group} has passed messages of ${place} without telling of them.`,
      evidence: [`It is at Kafka offset ${position}, the message is at ${offset}.`],
      todo: "A consumer without the library was in the group and handled it, its position was set forward, or its observation was given up: the service's log has ObservationsLostError then.",
      next: describeGroup,
    };
  }
}

function otherTopics(group: string, side: string, topic: string, reads: readonly string[], next: string): Cause {
  return {
    what: `The ${side} side of group ${group} reads other topics than the migration's: not ${topic}.`,
    evidence: [`It reads ${reads.join(', ') || 'none'}.`],
    todo: `Give the group's DualConsumers the topic ${topic}, or take the topic out of the input if the group has nothing to do with it.`,
    next,
  };
}

function* otherOrder({ migration, sample, copy }: Evidence): Generator<Cause> {
  const { topic, partition } = sample;
  const byBridge = copy?.via !== undefined;
  yield {
    what: byBridge
      ? `The bridge wrote copies of ${topic} behind later ones of their key.`
      : `OwlMQ has messages of ${topic}/${partition} in another order than Kafka.`,
    evidence: [
      `The copy of Kafka offset ${sample.kafka} is at OwlMQ offset ${sample.owlmq ?? copy?.offset ?? 'unknown'}, behind one of its key with a higher Kafka offset${byBridge ? `; it is marked as written by the bridge (${copy.via})` : ''}.`,
    ],
    todo: byBridge
      ? 'A publisher dropped its copy and the audit repaired it, late by nature. The cure is at the publisher: its backlog, its way to OwlMQ.'
      : 'Somebody writes to one of the legs beside the library, or two publishers share keys across a restart. The column INVERSIONS counts how many there are.',
    next: auditCommand(migration, sample),
  };
}

function* otherVersions({ migration, group, sample }: Evidence): Generator<Cause> {
  const { live, shadow } = sample.handlerVersion ?? {};
  if (live === undefined || shadow === undefined || live === shadow) return;
  yield {
    what: `The sides of group ${group} run different versions of the handler.`,
    evidence: [`Message ${sample.id}: live ${live}, shadow ${shadow}.`],
    todo: `Finish the roll-out, so that all members run one version; what differs then is a difference. To excuse the time of the roll-out alone, acknowledge it with handlerVersion.`,
    next: showCommand(migration, sample),
  };
}

/** Pointers with `*` for the places in lists, which differ from message to message. */
function* sameFields({ migration, group, sample, samples }: Evidence): Generator<Cause> {
  const alike = samples.filter(({ verdict }) => verdict === 'different');
  const next = showCommand(migration, sample);
  const fields = generalized(sample);
  if (sample.error !== undefined) {
    yield {
      what: `Both sides of group ${group} fail with different errors, or return what cannot be compared.`,
      evidence: [`Message ${sample.id}: ${sample.error} on the shadow.`],
      todo: 'Look at the log of both sides. Where the output cannot be compared, onError says why; give the DualConsumer `comparable`.',
      next,
    };
    return;
  }
  if (fields.length === 0) {
    yield {
      what: `Outputs of group ${group} differ beyond the parts that are told apart.`,
      evidence: [`Message ${sample.id} has no part that differs by itself.`],
      todo: 'Have the service capture its outputs for a while (`capture: true`), with data that may be seen, and look at both texts.',
      next: `${next} --values`,
    };
    return;
  }
  const same = alike.every((one) => generalized(one).join() === fields.join());
  if (alike.length < 2 || !same) {
    yield {
      what: `Outputs of group ${group} differ in ${few(fields)}.`,
      evidence: [
        alike.length < 2
          ? 'There is one sample only.'
          : `${alike.length} samples differ in ${few(new Set(alike.flatMap(generalized)))}; not all of them in the same parts.`,
      ],
      todo: 'The handler depends on something besides the message: look at how these parts are made.',
      next,
    };
    return;
  }
  yield {
    what: `All ${alike.length} samples of group ${group} differ in the same parts: ${few(fields)}.`,
    evidence: [`Versions of the handler: ${versionWords(alike)}.`],
    todo: `If these parts differ by nature (a clock, a random number, an id), use the sources that process is given, or tell the group's DualConsumers to ignore them: ignore: ${JSON.stringify(fields)}. Nothing is ignored by itself.`,
    next,
  };
}

function generalized({ fields = [] }: DiscrepancySample): string[] {
  return [...new Set(fields.map((field) => field.replace(/\/\d+(?=\/|$)/g, '/*')))].sort();
}

/** As many as one reads. */
function few(names: Iterable<string>): string {
  const all = [...names];
  const more = all.length - MOST_TOLD;
  return more > 0 ? `${all.slice(0, MOST_TOLD).join(', ')} and ${more} more` : all.join(', ');
}

const MOST_TOLD = 10;

function versionWords(samples: readonly DiscrepancySample[]): string {
  const all = samples.flatMap(({ handlerVersion }) => Object.values(handlerVersion ?? {}));
  return [...new Set(all)].join(', ') || 'none is told';
}

function failedAlone({ migration, group, sample, samples, members }: Evidence): Cause {
  const { verdict, error } = sample;
  const side = verdict === 'failedLive' ? 'live side' : 'shadow';
  const alike = samples.filter((one) => one.verdict === verdict);
  const shadows = (members ?? []).filter(({ shadow }) => shadow || verdict === 'failedLive');
  return {
    what: `The handler of group ${group} fails on the ${side} alone: ${error ?? 'an error of no class'}.`,
    evidence: [
      `${alike.filter((one) => one.error === error).length} of ${alike.length} samples have this class of error.`,
      ...(shadows.length === 0 ? [] : [`Members that run it: ${names(shadows)}.`]),
    ],
    todo: `Look for it in their logs. What process reads beside the message (a database, a clock, a cache, message.position) is not the same on the ${side}.`,
    next: showCommand(migration, sample),
  };
}

function unexplained({ migration, group, sample }: Evidence): Cause {
  return {
    what: `None of the known causes is seen for ${sample.verdict} in group ${group}.`,
    evidence: [`Message ${sample.id} of ${sample.topic}/${sample.partition}, Kafka offset ${sample.kafka}.`],
    todo: 'Look at what each side observed.',
    next: showCommand(migration, sample),
  };
}

function showCommand(migration: string, { id }: DiscrepancySample): string {
  return bridgeCommand('discrepancies', 'show', '--migration', migration, id);
}

/** From the second before the message on. */
function auditCommand(migration: string, { topic, time }: DiscrepancySample): string {
  const from = time === undefined ? 'beginning' : new Date(Math.floor(time / 1_000) * 1_000).toISOString();
  return bridgeCommand('audit', '--migration', migration, '--topics', topic, '--from', from);
}

function names(members: readonly LivingMember[]): string {
  return few(members.map(({ instance }) => instance));
}

function topicsOf(places: readonly string[]): string[] {
  return [...new Set(places.map((place) => place.slice(0, place.lastIndexOf('/'))))];
}
