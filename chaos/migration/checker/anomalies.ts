/** What must not be found, and what it means. */
export const anomalyKinds = {
  lost: 'acknowledged, and never applied by a group',
  'both-sides': 'applied from Kafka and from OwlMQ, beyond what the move of positions had reported',
  repeated: 'applied again from the same side, though nothing had happened to its producer, its group or the engines',
  reordered: 'acknowledged, and first applied behind a later message of its key',
  'failed-but-applied': 'applied although its call failed',
  invented: 'applied, and nobody published it',
  altered: 'applied with another topic, key or value than it was published with',
  'sides-overlap': 'a group changed sides more often than it was moved: both were live at a time',
  'stored-twice': 'on OwlMQ more than once',
} as const;
export type AnomalyKind = keyof typeof anomalyKinds;

export interface Anomaly {
  readonly kind: AnomalyKind;
  /** The group, and the message as `PRODUCER.START.SERIAL`. */
  readonly about: string;
  readonly detail: string;
}

const SAMPLES = 10;

/** Counts anomalies, and keeps the first of each kind. */
export class Anomalies {
  readonly counts: Partial<Record<AnomalyKind, number>> = {};
  readonly samples: Anomaly[] = [];

  add(kind: AnomalyKind, about: string, detail: string): void {
    const count = (this.counts[kind] ?? 0) + 1;
    this.counts[kind] = count;
    if (count <= SAMPLES) this.samples.push({ kind, about, detail });
  }
}
