import { unlessAborted } from '../async/bounded.js';
import { rootMessages } from '../async/causes.js';
import { LogReader } from '../kafka/log-reader.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import type { MemberReport } from '../members/member-report.js';
import { foreignMessageId, readProvenance, type Position } from '../message/headers.js';
import type { GroupDescription, OwlmqApi, TopicDescription } from '../owlmq/owlmq-api.js';
import { OwlmqNotFoundError, OwlmqOffsetOutOfRangeError } from '../owlmq/owlmq-errors.js';
import { partitionOfKey } from '../publisher/partitioner.js';
import type { RoutingState } from '../routing/routing-state.js';
import { diagnoseAll, type Diagnosis, type Evidence, type LivingMember, type MessageRecord } from './diagnosis.js';
import type { DiscrepancySample } from './samples.js';
import { discrepancyVerdicts, type DiscrepancyVerdict } from './verdicts.js';

/** What a comparison has found in a group. */
export interface GroupFindings {
  group: string;
  samples: readonly DiscrepancySample[];
  counts: { late: number };
}

/** Where to look, and for how long. */
export interface DiagnosisOptions {
  connection: KafkaConnection;
  clientId: string;
  migration: string;
  /** Undefined: it is not looked at, and the caller says why. */
  owlmq: OwlmqApi | undefined;
  /** Members of the migration that are alive; undefined when that is not known. */
  members: readonly MemberReport[] | undefined;
  /** The state that stands; asked once. */
  routing: () => Promise<RoutingState | undefined>;
  /** Those to look into (default: all). */
  verdicts?: readonly DiscrepancyVerdict[];
  /** Bound on all looks together, ms (default 10,000). */
  withinMs?: number;
  signal?: AbortSignal | undefined;
}

/** What is likely behind discrepancies, and what could not be looked at, in words. Plain JSON. */
export interface DiagnosisReport {
  diagnoses: Diagnosis[];
  notLooked: string[];
}

const WITHIN_MS = 10_000;
const CALL_MS = 3_000;
const KAFKA_RETRY_MS = 1_000;
/** Samples that are looked into, over all groups. */
const MAX_SAMPLES = 24;

/**
 * Looks at both systems and at the fleet for what is behind the newest discrepancy of each verdict of each group.
 * Reads only, in bounded time and number. What it cannot look at it says, and diagnoses by the rest; never rejects for
 * that.
 */
export async function diagnoseFindings(
  groups: readonly GroupFindings[],
  options: DiagnosisOptions,
): Promise<DiagnosisReport> {
  const looks = new Looks(options);
  try {
    const newest = groups.flatMap((of) =>
      (options.verdicts ?? discrepancyVerdicts).flatMap((verdict) => {
        const sample = of.samples.findLast((one) => one.verdict === verdict);
        return sample === undefined ? [] : [{ of, sample }];
      }),
    );
    const evidence: Evidence[] = [];
    for (const { of, sample } of newest.slice(0, MAX_SAMPLES)) evidence.push(await looks.around(of, sample));
    if (newest.length > MAX_SAMPLES) looks.leave(`the discrepancies of ${newest.length - MAX_SAMPLES} more verdicts`);
    return { diagnoses: diagnoseAll(evidence), notLooked: looks.notLooked };
  } finally {
    await looks.close();
  }
}

type Leg = 'Kafka' | 'OwlMQ';

/** Looks that are shared by the samples of a diagnosis. A leg that does not answer is asked once. */
class Looks {
  readonly #options: DiagnosisOptions;
  readonly #reader: LogReader;
  readonly #signal: AbortSignal;
  readonly #dead = new Set<Leg>();
  readonly #notLooked = new Set<string>();
  readonly #known = new Map<string, Promise<unknown>>();

  constructor(options: DiagnosisOptions) {
    const { connection, clientId, withinMs = WITHIN_MS, signal } = options;
    this.#options = options;
    this.#reader = new LogReader(connection, { clientId, retryForMs: KAFKA_RETRY_MS });
    const over = AbortSignal.timeout(withinMs);
    this.#signal = signal === undefined ? over : AbortSignal.any([over, signal]);
  }

  get notLooked(): string[] {
    return [...this.#notLooked];
  }

  leave(what: string): void {
    this.#notLooked.add(`Could not look at ${what}: it would take too long.`);
  }

  async close(): Promise<void> {
    await this.#reader.close();
  }

  async around({ group, samples, counts }: GroupFindings, sample: DiscrepancySample): Promise<Evidence> {
    const { migration, members } = this.#options;
    const evidence: Evidence = { migration, group, sample, samples, late: counts.late };
    if (members !== undefined) evidence.members = membersOf(members, group);
    const { verdict, topic, partition } = sample;
    // What handlers return is no matter of where messages are.
    if (verdict === 'different' || verdict === 'failedLive' || verdict === 'failedShadow') return evidence;

    const routing = await this.#look('Kafka', 'the routing state', 'routing', () =>
      this.#inTime(this.#options.routing()),
    );
    if (routing !== undefined) evidence.routing = routing;
    const inKafka = await this.#look('Kafka', `topic ${topic}`, `partitions ${topic}`, () =>
      this.#reader.partitionCount(topic, { signal: this.#signal }),
    );
    if (inKafka !== undefined) evidence.kafkaPartitions = inKafka;
    const described = await this.#describeTopic(topic);
    if (described !== undefined) evidence.owlmqPartitions = described?.partitions.length ?? null;
    if (described === null) return evidence;

    const copy = described === undefined ? undefined : await this.#copy(sample);
    if (copy !== undefined) evidence.copy = copy === null ? null : copyOf(copy);
    const source = copy?.source?.leg === 'kafka' ? copy.source : { partition, offset: sample.kafka };
    const record = await this.#record(sample, source);
    if (record !== undefined) evidence.record = record === null ? null : recordOf(record);
    const key = record?.key ?? copy?.key;
    if (key !== undefined && inKafka !== undefined) {
      evidence.keyPartition = key === null ? null : partitionOfKey(key, inKafka);
    }
    if (copy === null && described !== undefined) {
      const first = await this.#firstCopy(described, topic, partition);
      if (first !== undefined) evidence.copiesFrom = first;
    }
    const shadows = await this.#shadowGroup(group);
    if (shadows === null) evidence.shadowGroup = null;
    else if (shadows !== undefined) {
      const at = copy?.partition ?? partition;
      evidence.shadowGroup = {
        name: shadows.name,
        members: shadows.members.length,
        assigned: shadows.members.flatMap(({ assignment }) => assignment.map((one) => `${one.topic}/${one.partition}`)),
        committed: shadows.offsets.find((one) => one.topic === topic && one.partition === at)?.offset,
      };
    }
    return evidence;
  }

  async #describeTopic(topic: string): Promise<TopicDescription | null | undefined> {
    return await this.#askOwlmq(`topic ${topic}`, `owlmq ${topic}`, async (owlmq) => {
      return (await owlmq.describeTopic(topic, this.#call)) ?? null;
    });
  }

  async #shadowGroup(group: string): Promise<GroupDescription | null | undefined> {
    const name = `${group}.shadow`;
    return await this.#askOwlmq(`group ${name}`, `group ${name}`, async (owlmq) => {
      return (await owlmq.describeGroup(name, this.#call)) ?? null;
    });
  }

  /** The message in OwlMQ: where the shadow saw it, or else where its id is. */
  async #copy({ topic, partition, id, owlmq: offset }: DiscrepancySample): Promise<FoundCopy | null | undefined> {
    return await this.#askOwlmq(`message ${id} of ${topic}`, `copy ${topic} ${id}`, async (owlmq) => {
      const seen = offset === undefined ? undefined : await this.#readCopy(owlmq, topic, { partition, offset });
      if (seen?.id === id) return seen;
      const [place] = await owlmq.lookup(topic, [id], this.#call);
      return place === undefined ? null : ((await this.#readCopy(owlmq, topic, place)) ?? null);
    });
  }

  async #readCopy(
    owlmq: OwlmqApi,
    topic: string,
    { partition, offset }: { partition: number; offset: number },
  ): Promise<FoundCopy | undefined> {
    const { records } = await owlmq.read(topic, partition, offset, { ...this.#call, maxRecords: 1 });
    const [record] = records;
    if (record?.offset !== offset) return undefined;
    const { copied, source, via, id } = readProvenance(Object.fromEntries(record.headers));
    return { id: id ?? record.id, key: record.key, partition, offset, copied, source, via };
  }

  /** The message's record in Kafka; null when another, or none, is there. */
  async #record(
    { topic, id }: DiscrepancySample,
    { partition, offset }: { partition: number; offset: number },
  ): Promise<FoundRecord | null | undefined> {
    const what = `the record at Kafka offset ${offset} of ${topic}/${partition}`;
    return await this.#look('Kafka', what, `record ${topic} ${partition} ${offset} ${id}`, async () => {
      const record = await this.#reader.recordAt(topic, { partition, offset }, { signal: this.#signal });
      if (record === undefined) return null;
      const { id: named, copied } = readProvenance(record.headers);
      if ((named ?? foreignMessageId(topic, partition, offset)) !== id) return null;
      return { key: record.key, partition, offset, copied };
    });
  }

  /** Kafka offset of the first copy in a partition; null when there is none. */
  async #firstCopy(described: TopicDescription, topic: string, partition: number): Promise<number | null | undefined> {
    const bounds = described.partitions.find((one) => one.partition === partition);
    if (bounds === undefined || bounds.beginOffset === bounds.endOffset) return null;
    const what = `the first copy of ${topic}/${partition}`;
    return await this.#askOwlmq(what, what, async (owlmq) => {
      const first = await this.#readCopy(owlmq, topic, { partition, offset: bounds.beginOffset });
      return first?.source?.leg === 'kafka' ? first.source.offset : undefined;
    });
  }

  async #inTime<T>(work: Promise<T>): Promise<T | undefined> {
    const found = await unlessAborted(work, this.#signal);
    if (found === undefined) this.#signal.throwIfAborted();
    return found;
  }

  get #call(): { timeoutMs: number; attempts: number; signal: AbortSignal } {
    return { timeoutMs: CALL_MS, attempts: 2, signal: this.#signal };
  }

  async #askOwlmq<T>(
    what: string,
    key: string,
    ask: (owlmq: OwlmqApi) => Promise<T | null | undefined>,
  ): Promise<T | null | undefined> {
    const { owlmq } = this.#options;
    if (owlmq === undefined) return undefined;
    return await this.#look('OwlMQ', what, key, async () => {
      try {
        return await ask(owlmq);
      } catch (error) {
        // Gone since the topic was described.
        if (error instanceof OwlmqNotFoundError || error instanceof OwlmqOffsetOutOfRangeError) return null;
        throw error;
      }
    });
  }

  async #look<T>(leg: Leg, what: string, key: string, ask: () => Promise<T>): Promise<T | undefined> {
    if (this.#dead.has(leg)) return undefined;
    const asked = (this.#known.get(key) as Promise<T> | undefined) ?? ask();
    this.#known.set(key, asked);
    try {
      return await asked;
    } catch (error) {
      this.#dead.add(leg);
      const why = this.#signal.aborted ? 'it took too long' : rootMessages(error).join('; ');
      this.#notLooked.add(`Could not look at ${leg} (${what}): ${why}`);
      return undefined;
    }
  }
}

interface FoundRecord extends MessageRecord {
  key: Buffer | null;
}

interface FoundCopy extends FoundRecord {
  id: string;
  source: Position | undefined;
  via: string | undefined;
}

function recordOf({ partition, offset, copied }: FoundRecord): MessageRecord {
  return { partition, offset, copied };
}

function copyOf({ partition, offset, copied, via }: FoundCopy): NonNullable<Evidence['copy']> {
  return { partition, offset, copied, via };
}

function membersOf(members: readonly MemberReport[], group: string): LivingMember[] {
  return members.flatMap((report) => {
    if (report.role !== 'consumer' || report.group !== group) return [];
    const live = Object.entries(report.live).flatMap(([topic, positions]) =>
      positions.map(([partition, offset]): [string, number] => [`${topic}/${partition}`, offset]),
    );
    return [{ instance: report.instance, shadow: report.shadow, live: Object.fromEntries(live) }];
  });
}
