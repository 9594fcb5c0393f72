import { place, Redeliveries, start, type SourceRecord, type TopicOffsets } from '@owlmq/kafka-bridge/protocol';
import { ApplicationFailure } from '@temporalio/common';
import type { Fences } from '../../src/activities/migration-activities.js';
import type { Process } from '../clock/world.js';
import type { Leg } from '../systems/group.js';
import { PARTITIONS, TOPIC, type Stored } from '../systems/message.js';
import type { Systems } from '../systems/systems.js';
import type { MirrorCheckpoint } from './audits.js';

/** Where a group goes on in a partition. */
export interface Translated {
  group: string;
  partition: number;
  source: number | undefined;
  target: number;
  redelivered: readonly string[];
}

interface Read {
  commits: Map<string, (number | undefined)[]>;
  kafka: Stored[][];
  owlmq: Stored[][];
}

/**
 * Translates the groups' positions by the production arithmetic, on what is read of both logs in the order that
 * production reads them: commits first, then the target's ends, then the source's.
 *
 * @throws {ApplicationFailure} of type `OffsetsRefused` when a position is refused: nothing is imported then.
 */
export async function translate(
  systems: Systems,
  process: Process,
  direction: 'to-owlmq' | 'to-kafka',
  groups: readonly string[],
  fences: Fences,
  audited: MirrorCheckpoint | undefined,
): Promise<Translated[]> {
  const read = await readLogs(systems, process, direction === 'to-owlmq' ? 'kafka' : 'owlmq', groups);
  const translated: Translated[] = [];
  for (const group of groups) {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const source = read.commits.get(group)?.[partition];
      const found =
        direction === 'to-owlmq'
          ? toOwlmq(read, partition, source, fences.kafka)
          : toKafka(read, partition, source, fences, audited);
      if (typeof found === 'string') {
        const message = `Offsets of group ${group} are not imported: ${TOPIC}/${partition}: ${found}`;
        throw ApplicationFailure.create({ message, type: 'OffsetsRefused', nonRetryable: true });
      }
      translated.push({ group, partition, source, ...found });
    }
  }
  return translated;
}

async function readLogs(systems: Systems, process: Process, source: Leg, groups: readonly string[]): Promise<Read> {
  const { network, logs } = systems;
  const commits = await network.ask(
    process,
    systems.service(source),
    () => new Map(groups.map((group) => [group, [...systems.group(source, group).commits]])),
  );
  const readLeg = (leg: Leg) =>
    network.ask(process, systems.service(leg), () => logs[leg].partitions.map((log) => log.slice()));
  if (source === 'kafka') {
    const owlmq = await readLeg('owlmq');
    return { commits, owlmq, kafka: await readLeg('kafka') };
  }
  const kafka = await readLeg('kafka');
  return { commits, kafka, owlmq: await readLeg('owlmq') };
}

type Found = { target: number; redelivered: readonly string[] } | string;

function toOwlmq({ kafka, owlmq }: Read, partition: number, source: number | undefined, fence: TopicOffsets): Found {
  const log = kafka[partition] ?? [];
  const copies = owlmq[partition] ?? [];
  const begin = start(source, { beginOffset: 0, endOffset: log.length }, 'earliest');
  if (!begin.ok) return begin.reason;
  const records = log.map(({ id, copied }, offset): SourceRecord => {
    const target = copies.findIndex((copy) => copy.id === id);
    return { offset, id, target: target < 0 ? undefined : target, intended: copied };
  });
  const proven = fence[TOPIC]?.[partition] ?? Infinity;
  // What the audit has passed and is not there was dropped on purpose: it does not come.
  const present = records.filter(
    ({ target, offset }) => target !== undefined || offset >= Math.min(begin.committed, proven),
  );
  const placed = place({ records: present, committed: begin.committed, fence: proven }, copies.length);
  if (!placed.ok) return placed.reason;
  const redeliveries = new Redeliveries(placed, 10_000);
  for (const { id } of copies.slice(placed.target)) redeliveries.next(id);
  return { target: placed.target, redelivered: redeliveries.result.redeliveredIds ?? [] };
}

function toKafka(
  { kafka, owlmq }: Read,
  partition: number,
  source: number | undefined,
  fences: Fences,
  audited: MirrorCheckpoint | undefined,
): Found {
  const log = owlmq[partition] ?? [];
  const copies = kafka[partition] ?? [];
  const begin = start(source, { beginOffset: 0, endOffset: log.length }, 'earliest');
  if (!begin.ok) return begin.reason;
  const { committed } = begin;
  const floor = fences.kafka[TOPIC]?.[partition] ?? 0;
  const checked = Math.min(committed, audited?.owlmq[partition] ?? 0);
  const records: SourceRecord[] = [];
  for (const [offset, record] of log.entries()) {
    if (offset < checked) continue;
    const copy = copies.findIndex(({ id }, at) => id === record.id && at >= floor);
    const target = record.source?.leg === 'kafka' ? record.source.offset : copy < 0 ? undefined : copy;
    records.push({ offset, id: record.id, target, intended: true });
  }
  // What reached Kafka alone: no group has consumed it.
  const known = new Set(log.map(({ id }) => id));
  for (const [offset, { id }] of copies.entries()) {
    if (offset < Math.max(floor, audited?.kafka[partition] ?? floor) || known.has(id)) continue;
    records.push({ offset: Number.MAX_SAFE_INTEGER, id, intended: true, target: offset });
  }
  const placed = place({ records, committed, fence: Number.POSITIVE_INFINITY }, copies.length);
  if (!placed.ok) return placed.reason;
  const redeliveries = new Redeliveries(placed, 10_000);
  for (const { id } of copies.slice(placed.target)) redeliveries.next(id);
  return { target: placed.target, redelivered: redeliveries.result.redeliveredIds ?? [] };
}
