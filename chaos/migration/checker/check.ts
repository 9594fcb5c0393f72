import { javaOutcomes } from '../services/java-producer.js';
import { JournalReader } from '../services/journal.js';
import { nameIn, type MessageRules } from '../services/message.js';
import { Anomalies, type Anomaly } from './anomalies.js';
import { GroupCheck, wordsOf, type Disturbance, type GroupCounts, type Move } from './group.js';
import { merged } from './merged.js';
import { Column, Publications } from './publications.js';

/** Everything that a run left. */
export interface Evidence {
  readonly rules: MessageRules;
  /** Nothing was published before it, ms on the machine's monotonic clock. */
  readonly begunAt: number;
  /** Journals of producers with the library. */
  readonly producers: readonly string[];
  /** Logs of the one without, a start each. */
  readonly java: readonly string[];
  /** Journals of each group's members. */
  readonly groups: Readonly<Record<string, readonly string[]>>;
  /** Every record of OwlMQ, as a last read found it. */
  readonly stored: AsyncIterable<StoredValue>;
  readonly disturbances: readonly Disturbance[];
  /** In the order of time. */
  readonly moves: readonly Move[];
}

/** The value of a record, and where it lies. */
export interface StoredValue {
  readonly value: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

export interface CheckResult {
  readonly anomalies: Anomalies['counts'];
  /** The first of each kind. */
  readonly samples: readonly Anomaly[];
  readonly published: Publications['counts'];
  /** Of the producer without the library, among them. */
  readonly java: { acknowledged: number; unknown: number };
  readonly latency: Publications['latency'];
  /** Records that OwlMQ holds at the end. */
  readonly onOwlmq: number;
  readonly groups: Record<string, GroupCounts>;
}

/** Reads what producers wrote down, so far. */
export async function readPublications({
  producers,
  java,
  begunAt,
  rules,
}: Pick<Evidence, 'producers' | 'java' | 'begunAt' | 'rules'>): Promise<Publications> {
  const publications = new Publications(begunAt, rules.foreign);
  for (const file of producers) {
    const reader = new JournalReader(file);
    for (let entry = reader.next(); entry !== undefined; entry = reader.next()) publications.take(entry);
    reader.close();
  }
  for (const file of java) {
    for await (const { acknowledged, ...name } of javaOutcomes(file)) publications.settleJava(name, acknowledged);
  }
  return publications;
}

/**
 * Compares what was published with what the groups applied. In memory are a few bytes a message; entries are read from
 * their files in the order of time.
 */
export async function check(evidence: Evidence): Promise<CheckResult> {
  const { groups, moves, java } = evidence;
  const anomalies = new Anomalies();
  const publications = await readPublications(evidence);
  const checks: Record<string, GroupCheck> = {};
  for (const [group, files] of Object.entries(groups)) {
    const of = new GroupCheck({ ...evidence, group, publications, anomalies, javaStarts: java.length });
    for (const entry of merged(files)) of.take(entry);
    of.end();
    checks[group] = of;
  }
  judgeSecondSides(Object.values(checks), moves, anomalies);
  const onOwlmq = await judgeStored(evidence, anomalies);
  return {
    ...{ anomalies: anomalies.counts, samples: anomalies.samples, published: publications.counts, onOwlmq },
    ...{ latency: publications.latency, java: publications.java },
    groups: Object.fromEntries(Object.entries(checks).map(([group, { counts }]) => [group, counts])),
  };
}

/** OwlMQ takes each message once, however often it is published, copied, forwarded or repaired. */
async function judgeStored({ stored, rules }: Evidence, anomalies: Anomalies): Promise<number> {
  const seen = new Column((length) => new Uint8Array(length));
  let count = 0;
  for await (const { value, topic, partition, offset } of stored) {
    count++;
    const name = nameIn(rules, value);
    if (name === undefined) continue;
    if (seen.get(name) > 0) anomalies.add('stored-twice', wordsOf(name), `again at ${topic}/${partition}/${offset}`);
    seen.set(name, 1);
  }
  return count;
}

/** A move reports how many messages come again, over all groups: so many may. */
function judgeSecondSides(checks: readonly GroupCheck[], moves: readonly Move[], anomalies: Anomalies): void {
  const left = new Map(moves.map((move) => [move, move.redeliveries]));
  for (const { second, counts } of checks) {
    for (const { entry, group, move } of second) {
      const allowed = move === undefined ? 0 : (left.get(move) ?? 0);
      if (move !== undefined && allowed > 0) {
        left.set(move, allowed - 1);
        counts.reportedAgain++;
        continue;
      }
      const reported = move === undefined ? 'without a move there' : `the move had reported ${move.redeliveries}`;
      anomalies.add('both-sides', `${group} ${wordsOf(entry)}`, `again at ${Math.round(entry.at)} ms; ${reported}`);
    }
  }
}
