import { outstanding, type CheckResult } from '../demo/checker.js';
import type { Applied, Produced } from '../demo/event-log.js';
import { readLegs, type Legs } from '../chaos/publishers/checker/read-legs.js';
import { placeOf, type StoredRecord } from '../chaos/publishers/checker/stored-record.js';
import type { RoutingState } from '@owlmq/kafka-bridge/operations';
import type { MigrationStatus } from '../src/workflows/status.js';
import type { Lane } from './lane.js';

const ROUTING_TOPIC = 'owlmq-bridge.routing';

/** Who may die in a run. */
export type Victim = 'worker' | 'producer' | 'consumer' | 'kafka' | 'owlmq';

export interface Evidence {
  readonly migration: string;
  readonly topics: readonly string[];
  readonly groups: readonly string[];
  readonly status: MigrationStatus;
  readonly victims: readonly Victim[];
  readonly check: CheckResult;
  readonly produced: readonly Produced[];
  readonly applied: ReadonlyMap<string, readonly Applied[]>;
}

/** Deaths after which a message comes again on the same side: its commit was lost, or never sent. */
const redelivering: readonly Victim[] = ['consumer', 'kafka', 'owlmq'];

/** What the groups applied: nothing lost, invented or reordered, by one side at a time. In words; empty when all is well. */
export function effectProblems({ check, status, victims, produced, applied }: Evidence): string[] {
  const problems: string[] = [];
  const add = (group: string, count: number, what: string): void => {
    if (count > 0) problems.push(`${group}: ${count} ${what}`);
  };
  if (check.published.acknowledged === 0) problems.push('nothing was published');
  const reported =
    (status.cutover.moves ?? []).reduce((sum, { redeliveries }) => sum + redeliveries, 0) +
    (status.rollback?.redeliveries ?? 0) +
    (status.rollback?.redeliveriesAtMost ?? 0);
  for (const [group, result] of Object.entries(check.groups)) {
    for (const kind of ['lost', 'reordered', 'invented', 'altered'] as const) add(group, result[kind], kind);
    const { onBothLegs, duplicated } = result;
    if (onBothLegs > reported) add(group, onBothLegs, `applied by both sides, ${reported} were reported to come again`);
    if (!victims.some((victim) => redelivering.includes(victim)))
      add(group, duplicated - onBothLegs, 'applied twice by one side');
    const switches = expectedSwitches(status);
    if (result.legSwitches > switches) add(group, result.legSwitches, `changes of side, ${switches} expected`);
    add(group, outstanding(produced, applied.get(group) ?? []), 'not applied');
  }
  return problems;
}

function expectedSwitches({ cutover, rollback }: MigrationStatus): number {
  if (cutover.journaledAt === undefined) return 0;
  return rollback == null ? 1 : 2;
}

/** Epochs of the routing topic only rise, and one epoch says one thing. */
export async function routingProblems(lane: Lane, { migration, status }: Evidence): Promise<string[]> {
  const problems: string[] = [];
  const states: RoutingState[] = [];
  for await (const { key, value } of lane.reader.readToEnd(ROUTING_TOPIC, 0, 0)) {
    if (key?.toString() !== migration || value === null) continue;
    const state = JSON.parse(value.toString()) as RoutingState;
    const before = states.at(-1);
    states.push(state);
    if (before === undefined || state.epoch > before.epoch) continue;
    const [one, other] = [before, state].map((each) => JSON.stringify({ ...each, writtenAt: '' }));
    if (state.epoch < before.epoch) problems.push(`epoch ${state.epoch} was written behind ${before.epoch}`);
    else if (one !== other) problems.push(`epoch ${state.epoch} was written with two meanings`);
  }
  const last = states.at(-1);
  if (last?.epoch !== status.epoch) problems.push(`the last epoch is ${last?.epoch}, the workflow's ${status.epoch}`);
  const side = status.phase === 'completed' ? 'owlmq' : 'kafka';
  if (last !== undefined && (last.primary !== side || last.live !== side || last.fence !== undefined)) {
    problems.push(`the last routing state is not that of ${side}: ${JSON.stringify(last)}`);
  }
  return problems;
}

/** Who is not where all must be at the end: publishers and consumers on one side, by their own word. */
export async function strayMembers(lane: Lane, { migration, status, groups }: Evidence): Promise<string[]> {
  const live = status.phase === 'completed' ? 'live-owlmq' : 'live-kafka';
  const members = await lane.roster.readMembers(migration);
  const present = members.filter(({ report, silentMs }) => report.state !== 'left' && silentMs <= report.leaseMs);
  const stray: string[] = [];
  for (const { report } of present) {
    const { instance, role, state, epoch } = report;
    const wanted = role === 'publisher' ? 'publishing' : live;
    if (state !== wanted || epoch < status.epoch) {
      stray.push(`${role} ${instance} is ${state} under epoch ${epoch}, not ${wanted} under ${status.epoch}`);
    }
  }
  if (!present.some(({ report }) => report.role === 'publisher')) stray.push('no publisher reports');
  for (const group of groups) {
    const ofGroup = present.filter(({ report }) => report.role === 'consumer' && report.group === group);
    if (ofGroup.length === 0) stray.push(`no consumer of ${group} reports`);
  }
  return stray;
}

/** Committed offsets of the side that is live are at its ends, once everybody has stopped. */
export async function commitProblems(lane: Lane, { groups, topics, status }: Evidence): Promise<string[]> {
  const problems: string[] = [];
  const side = status.phase === 'completed' ? 'owlmq' : 'kafka';
  for (const group of groups) {
    const ownCommits = side === 'owlmq' ? ((await lane.owlmqClient.describeGroup(group))?.offsets ?? []) : [];
    for (const topic of topics) {
      const bounds =
        side === 'kafka'
          ? await lane.reader.bounds(topic)
          : ((await lane.owlmqClient.describeTopic(topic))?.partitions ?? []);
      const commits =
        side === 'kafka'
          ? ((await lane.admin.groupOffsets(group, { [topic]: bounds.length }))[topic] ?? [])
          : bounds.map(
              (_, partition) => ownCommits.find((c) => c.topic === topic && c.partition === partition)?.offset,
            );
      for (const [partition, { endOffset }] of bounds.entries()) {
        const committed = commits[partition];
        if (endOffset === 0 || committed === endOffset) continue;
        problems.push(
          `${group} has committed ${committed ?? 'nothing'} of ${endOffset} on ${side} ${topic}/${partition}`,
        );
      }
    }
  }
  return problems;
}

/** As `storedProblems`, of what both legs have now. */
export async function legProblems(lane: Lane, evidence: Evidence): Promise<string[]> {
  const { KAFKA_BROKERS = '', OWLMQ_URL = '', OWLMQ_API_KEY = '' } = lane.env;
  const { topics } = evidence;
  const legs = await readLegs({
    ...{ brokers: KAFKA_BROKERS.split(','), owlmqUrl: OWLMQ_URL, apiKey: OWLMQ_API_KEY, topics },
  });
  return storedProblems(legs, evidence);
}

/** Both legs: intended copies are there once the audit has proven them, and epochs of a publisher never fall. */
export function storedProblems(legs: Legs, { status, produced }: Pick<Evidence, 'status' | 'produced'>): string[] {
  const problems: string[] = [];
  const acknowledged = new Set(
    produced.flatMap((event) => (event.event === 'settled' && event.outcome === 'acknowledged' ? [nameOf(event)] : [])),
  );
  // A rollback before the journal gives copies up: nobody needs them.
  const proven: (readonly [StoredRecord[], StoredRecord[], string])[] = [];
  if (status.phase === 'completed') proven.push([legs.kafka, legs.owlmq, 'OwlMQ']);
  if (status.cutover.journaledAt !== undefined) proven.push([legs.owlmq, legs.kafka, 'Kafka']);
  for (const [from, to, other] of proven) {
    const there = new Set(to.map(({ id }) => id));
    const lacking = from.filter((record) => record.copied && !there.has(record.id) && acknowledged.has(named(record)));
    const [first] = lacking;
    if (first !== undefined) problems.push(`${lacking.length} copies are not on ${other}, one of ${placeOf(first)}`);
  }
  for (const records of [legs.kafka, legs.owlmq]) {
    const highest = new Map<string, StoredRecord>();
    for (const record of records) {
      if (record.byAudit || record.instance === '') continue;
      const place = `${record.topic}/${record.partition}/${record.instance}`;
      const before = highest.get(place);
      if (before !== undefined && record.epoch < before.epoch) {
        problems.push(`${placeOf(record)} is behind ${placeOf(before)} of the same publisher`);
      } else highest.set(place, record);
    }
  }
  return problems;
}

function named({ topic, value }: StoredRecord): string {
  const { customer = '', number = 0 } = JSON.parse(value ?? '{}') as { customer?: string; number?: number };
  return nameOf({ topic, key: customer, number });
}

function nameOf({ topic, key, number }: { topic: string; key: string; number: number }): string {
  return `${topic}/${key}/${number}`;
}
