import type { Applied, Produced } from './event-log.js';

/** A message that a producer has begun to publish. */
interface Publication {
  readonly name: string;
  readonly digest: string;
  outcome: 'acknowledged' | 'failed' | 'unknown';
  tookMs: number;
}

/** What went wrong with one message, in words. */
export interface Anomaly {
  readonly kind: 'lost' | 'duplicated' | 'reordered' | 'invented' | 'altered';
  readonly group: string;
  /** `TOPIC/KEY/NUMBER`. */
  readonly message: string;
  readonly detail: string;
}

export interface GroupResult {
  /** Messages applied at least once. */
  applied: number;
  /** Applies on each leg, repeated ones included. */
  onKafka: number;
  onOwlmq: number;
  /** Acknowledged and never applied. */
  lost: number;
  /** Applies of a message that was applied before. */
  duplicated: number;
  /** Those among them that were applied on the other leg before. */
  onBothLegs: number;
  /** First applies behind a later message of the same key. */
  reordered: number;
  /** Applied and never published, or although the publisher was told that it failed. */
  invented: number;
  /** Applied with other content than was published. */
  altered: number;
  /** How often the leg of one apply is another than that of the apply before it: 1 for a clean cutover. */
  legSwitches: number;
}

export interface CheckResult {
  published: { acknowledged: number; failed: number; unknown: number };
  /** Publish latency, ms. */
  latency: { p50: number; p99: number; longest: number };
  groups: Record<string, GroupResult>;
  /** The first of each kind and group. */
  samples: Anomaly[];
}

const SAMPLES = 5;

/**
 * Compares what was published with what the groups applied. A message is told by topic, key and number, which the
 * producer gave it: not by an id that the publisher under test has made.
 *
 * A publish whose outcome is unknown, or was never written down, may appear or not.
 */
export function check(produced: readonly Produced[], applied: ReadonlyMap<string, readonly Applied[]>): CheckResult {
  const publications = publicationsOf(produced);
  const samples: Anomaly[] = [];
  const groups: Record<string, GroupResult> = {};
  for (const [group, applies] of applied) groups[group] = checkGroup(group, publications, applies, samples);
  const count = (outcome: Publication['outcome']): number =>
    [...publications.values()].filter((publication) => publication.outcome === outcome).length;
  return {
    published: { acknowledged: count('acknowledged'), failed: count('failed'), unknown: count('unknown') },
    latency: latencyOf([...publications.values()]),
    groups,
    samples,
  };
}

/** Number of acknowledged messages that a group has not applied yet. */
export function outstanding(produced: readonly Produced[], applied: readonly Applied[]): number {
  const seen = new Set(applied.map(nameOf));
  let missing = 0;
  for (const event of produced) {
    if (event.event === 'settled' && event.outcome === 'acknowledged' && !seen.has(nameOf(event))) missing++;
  }
  return missing;
}

function publicationsOf(produced: readonly Produced[]): Map<string, Publication> {
  const publications = new Map<string, Publication>();
  for (const event of produced) {
    const name = nameOf(event);
    if (event.event === 'sent') {
      publications.set(name, { name, digest: event.digest, outcome: 'unknown', tookMs: 0 });
      continue;
    }
    const publication = publications.get(name);
    if (publication === undefined) throw new Error(`The outcome of ${name} comes before its publish.`);
    publication.outcome = event.outcome;
    publication.tookMs = event.tookMs;
  }
  return publications;
}

function checkGroup(
  group: string,
  publications: ReadonlyMap<string, Publication>,
  applies: readonly Applied[],
  samples: Anomaly[],
): GroupResult {
  const result: GroupResult = {
    ...{ applied: 0, onKafka: 0, onOwlmq: 0, lost: 0, duplicated: 0, reordered: 0, invented: 0, altered: 0 },
    onBothLegs: 0,
    legSwitches: 0,
  };
  const note = (kind: Anomaly['kind'], message: string, detail: string): void => {
    result[kind]++;
    if (result[kind] <= SAMPLES) samples.push({ kind, group, message, detail });
  };
  const first = new Map<string, Applied>();
  const newestOfKey = new Map<string, Applied>();
  let before: Applied | undefined;
  for (const apply of [...applies].sort((a, b) => a.at - b.at)) {
    const name = nameOf(apply);
    const place = placeOf(apply);
    if (apply.leg === 'kafka') result.onKafka++;
    else result.onOwlmq++;
    if (before !== undefined && before.leg !== apply.leg) result.legSwitches++;
    before = apply;

    const publication = publications.get(name);
    if (publication === undefined) note('invented', name, `${place}, never published`);
    else if (publication.outcome === 'failed') note('invented', name, `${place}, though its publish failed`);
    else if (publication.digest !== apply.digest) note('altered', name, place);

    const earlier = first.get(name);
    if (earlier !== undefined) {
      if (earlier.leg !== apply.leg) result.onBothLegs++;
      note('duplicated', name, `${placeOf(earlier)}, then ${place}`);
      continue;
    }
    first.set(name, apply);
    const key = `${apply.topic}/${apply.key}`;
    const newest = newestOfKey.get(key);
    if (newest !== undefined && newest.number > apply.number) {
      note('reordered', name, `${place}, after number ${newest.number} ${placeOf(newest)}`);
    } else {
      newestOfKey.set(key, apply);
    }
  }
  result.applied = first.size;
  for (const { name, outcome } of publications.values()) {
    if (outcome === 'acknowledged' && !first.has(name)) note('lost', name, 'acknowledged, never applied');
  }
  return result;
}

function latencyOf(publications: readonly Publication[]): CheckResult['latency'] {
  const sorted = publications.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), longest: at(1) };
}

function nameOf({ topic, key, number }: { topic: string; key: string; number: number }): string {
  return `${topic}/${key}/${number}`;
}

function placeOf({ leg, member, id, at }: Applied): string {
  return `applied from ${leg} by ${member} at ${Math.round(at)} ms (id ${id})`;
}
