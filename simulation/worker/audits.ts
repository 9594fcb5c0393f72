import type { Process } from '../clock/world.js';
import { PARTITIONS, TOPIC, type Stored } from '../systems/message.js';
import type { Systems } from '../systems/systems.js';
import type { Fences } from '../../src/activities/migration-activities.js';
import type { TopicOffsets } from '@owlmq/kafka-bridge/protocol';

/** A copy that is missed may be under way: so long it is waited for, where publishers are fenced. */
const FENCED_GRACE_MS = 200;
/** Of a write to Kafka; production's waits are longer, as its time-outs are. */
const WRITE_RETRIES = 8;
const FIRST_WRITE_RETRY_MS = 100;
const MOST_WRITE_RETRY_MS = 1_000;

export interface AuditContext {
  systems: Systems;
  process: Process;
  graceMs: number;
}

/** How long copies have been missed, by offset. */
class Missed {
  readonly #since = new Map<string, number>();

  ms(name: string, now: number): number {
    const since = this.#since.get(name) ?? now;
    this.#since.set(name, since);
    return now - since;
  }
}

export interface ForwardCheckpoint {
  positions: number[];
  figures: object;
}

/**
 * A model of `ForwardAudit`: positions pass a Kafka record once its copy is on OwlMQ, where one was intended; one that
 * does not come within the grace is written, under its id.
 */
export class ForwardModel {
  readonly #context: AuditContext;
  readonly #missed = new Missed();
  readonly positions: number[];

  constructor(context: AuditContext, positions: readonly number[]) {
    this.#context = context;
    this.positions = [...positions];
  }

  /** @returns whether all before `until`, or the ends that it finds, is proven. */
  async step(until: TopicOffsets | undefined): Promise<boolean> {
    const { systems, process } = this.#context;
    const { network, world, logs, kafka, owlmq } = systems;
    const graceMs = until === undefined ? this.#context.graceMs : Math.min(FENCED_GRACE_MS, this.#context.graceMs);
    const from = [...this.positions];
    const read = await network.ask(process, kafka, () =>
      logs.kafka.partitions.map((log, partition) => log.slice(from[partition])),
    );
    let complete = true;
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const start = from[partition] ?? 0;
      const goal = until?.[TOPIC]?.[partition] ?? start + (read[partition]?.length ?? 0);
      const records = (read[partition] ?? []).slice(0, Math.max(0, goal - start));
      const found = await network.ask(process, owlmq, () => records.map(({ id }) => systems.lookup(id) !== undefined));
      for (const [index, { copied }] of records.entries()) {
        if (copied && found[index] !== true) this.#missed.ms(`${partition}/${start + index}`, world.now);
      }
      for (const [index, record] of records.entries()) {
        const offset = start + index;
        if (record.copied && found[index] !== true) {
          if (this.#missed.ms(`${partition}/${offset}`, world.now) < graceMs) break;
          const copy: Stored = { ...record, writer: process.name, source: { leg: 'kafka', offset }, leftAt: world.now };
          await network.ask(process, owlmq, () => systems.publish(partition, copy));
        }
        this.positions[partition] = offset + 1;
      }
      if ((this.positions[partition] ?? 0) < goal) complete = false;
    }
    return complete;
  }
}

export interface MirrorCheckpoint {
  owlmq: number[];
  kafka: number[];
  figures: object;
}

/**
 * A model of `MirrorAudit`: every OwlMQ record that did not come from Kafka gets its copy there, and what reached Kafka
 * alone is forwarded to OwlMQ.
 */
export class MirrorModel {
  readonly #context: AuditContext;
  readonly #missed = new Missed();
  readonly owlmq: number[];
  readonly kafka: number[];
  readonly #from: number[];
  #writes = 0;

  constructor(context: AuditContext, fences: Fences, checkpoint: MirrorCheckpoint | undefined) {
    this.#context = context;
    this.#from = [...(fences.kafka[TOPIC] ?? [])];
    this.owlmq = [...(checkpoint?.owlmq ?? fences.owlmq[TOPIC] ?? [])];
    this.kafka = [...(checkpoint?.kafka ?? this.#from)];
  }

  /** @returns whether OwlMQ is proven up to `until`, or the ends that it finds, and Kafka up to its end. */
  async step(until: TopicOffsets | undefined): Promise<boolean> {
    const { systems, process } = this.#context;
    const { network, world, logs } = systems;
    const graceMs = until === undefined ? this.#context.graceMs : Math.min(FENCED_GRACE_MS, this.#context.graceMs);
    // Kafka first: then every copy below its end is of a record below OwlMQ's end.
    const kafka = await network.ask(process, systems.kafka, () => logs.kafka.partitions.map((log) => log.slice()));
    const owlmq = await network.ask(process, systems.owlmq, () => logs.owlmq.partitions.map((log) => log.slice()));
    let complete = true;
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const inKafka = kafka[partition] ?? [];
      const inOwlmq = owlmq[partition] ?? [];
      const floor = this.#from[partition] ?? 0;
      const copied = new Set(inKafka.slice(floor).map(({ id }) => id));
      const goal = until?.[TOPIC]?.[partition] ?? inOwlmq.length;
      const known = new Set(inOwlmq.map(({ id }) => id));
      const lacksCopy = ({ id, source }: Stored): boolean => source?.leg !== 'kafka' && !copied.has(id);
      const isStray = ({ id, source }: Stored): boolean => source?.leg !== 'owlmq' && !known.has(id);
      for (const [offset, record] of inOwlmq.entries()) {
        if (offset >= (this.owlmq[partition] ?? 0) && lacksCopy(record))
          this.#missed.ms(`owlmq/${partition}/${offset}`, world.now);
      }
      for (const [offset, record] of inKafka.entries()) {
        if (offset >= (this.kafka[partition] ?? floor) && isStray(record))
          this.#missed.ms(`kafka/${partition}/${offset}`, world.now);
      }
      for (let offset = this.owlmq[partition] ?? 0; offset < goal; offset++) {
        const record = inOwlmq[offset];
        if (record === undefined) break;
        if (lacksCopy(record)) {
          if (this.#missed.ms(`owlmq/${partition}/${offset}`, world.now) < graceMs) break;
          await this.#copy(partition, offset, record);
        }
        this.owlmq[partition] = offset + 1;
      }
      for (let offset = this.kafka[partition] ?? floor; offset < inKafka.length; offset++) {
        const record = inKafka[offset];
        if (record === undefined) break;
        if (isStray(record)) {
          if (this.#missed.ms(`kafka/${partition}/${offset}`, world.now) < graceMs) break;
          const copy: Stored = { ...record, writer: process.name, source: { leg: 'kafka', offset }, leftAt: world.now };
          await network.ask(process, systems.owlmq, () => systems.publish(partition, copy));
        }
        this.kafka[partition] = offset + 1;
      }
      if ((this.owlmq[partition] ?? 0) < goal || (this.kafka[partition] ?? 0) < inKafka.length) complete = false;
    }
    return complete;
  }

  /** Looks once more directly before it writes: the copy may have come meanwhile. */
  async #copy(partition: number, offset: number, record: Stored): Promise<void> {
    const { systems, process } = this.#context;
    const { network, world, logs } = systems;
    const floor = this.#from[partition] ?? 0;
    const isThere = await network.ask(process, systems.kafka, () =>
      (logs.kafka.partitions[partition] ?? []).slice(floor).some(({ id }) => id === record.id),
    );
    if (isThere) return;
    const copy: Stored = { ...record, writer: process.name, source: { leg: 'owlmq', offset }, leftAt: world.now };
    const name = `${process.name}/mirror/${partition}/${offset}/${++this.#writes}/${world.now}`;
    // As kafkajs in `KafkaCopies`: the same producer repeats it with the same numbers before it is given up.
    for (let retry = 0; ; retry++) {
      try {
        await network.ask(process, systems.kafka, () => systems.produce(name, [{ partition, message: copy }]));
        return;
      } catch (error) {
        if (retry === WRITE_RETRIES) throw error;
        await world.sleep(process, Math.min(FIRST_WRITE_RETRY_MS * 2 ** retry, MOST_WRITE_RETRY_MS));
      }
    }
  }
}
