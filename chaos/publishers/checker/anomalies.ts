/** Everything that must not happen, by name, with what it means. */
export const anomalyKinds = {
  lost: 'acknowledged, and not on the leg that acknowledged it',
  vanished: 'acknowledged, and on no leg',
  'missing-copy': 'on one leg, with a copy intended, and not on the other (I3)',
  invented: 'on a leg, and nobody published it (I2)',
  'failed-but-present': 'on a leg, though its call failed with an error that says that it is on none',
  altered: 'stored with another value than was published',
  misplaced: 'on another place than its call told, or on other partitions on the two legs',
  'duplicate-on-owlmq': 'stored twice on OwlMQ under one id',
  reordered: 'behind a later message of its key and process, on the leg that was primary for it (I5)',
  'mirror-reordered': 'the same on the other leg, and not written by an audit',
  'write-past-acknowledged-fence':
    'of an epoch below a fence, stored behind it by a publisher that had acknowledged it (I6)',
  'write-past-expired-lease':
    'of an epoch below a fence, stored behind it by a publisher that was silent past its lease (I6)',
  'written-under-fence': 'with the epoch of a fence, under which nothing may be written (I6)',
  'epoch-fell': 'behind a message of the same publisher and partition with a higher epoch (I6)',
  'unknown-epoch': 'with an epoch that no routing state had',
  'wrong-epoch': 'acknowledged under another epoch than the record says',
  'wrong-share': 'the share of copied messages is not the ratio (I4)',
  'key-not-kept': 'a key that was copied at a lower ratio is not copied at a higher one (I4)',
  'never-settled': 'its call never ended, though its publisher closed in order',
} as const;
export type AnomalyKind = keyof typeof anomalyKinds;

/** One thing that went wrong. */
export interface Anomaly {
  kind: AnomalyKind;
  /** Message id, or what else it is about. */
  about: string;
  detail: string;
}

const SAMPLES = 10;

/** Counts what went wrong, and keeps the first of each kind. */
export class Anomalies {
  readonly counts: Partial<Record<AnomalyKind, number>> = {};
  readonly samples: Anomaly[] = [];

  note(kind: AnomalyKind, about: string, detail: string): void {
    const count = (this.counts[kind] ?? 0) + 1;
    this.counts[kind] = count;
    if (count <= SAMPLES) this.samples.push({ kind, about, detail });
  }
}
