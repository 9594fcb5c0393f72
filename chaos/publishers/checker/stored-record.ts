/** A record as it lies on a leg at the end. */
export interface StoredRecord {
  leg: 'kafka' | 'owlmq';
  topic: string;
  partition: number;
  offset: number;
  /** Empty when it has none. */
  id: string;
  value: string | null;
  /** From the bridge's headers. */
  epoch: number;
  instance: string;
  copied: boolean;
  /** An audit wrote it. */
  byAudit: boolean;
}

/** Headers of the bridge, spelt out here: the checker trusts no code that it checks. */
type Headers = ReadonlyMap<string, Buffer>;

export function storedRecord(
  place: Pick<StoredRecord, 'leg' | 'topic' | 'partition' | 'offset'>,
  value: Buffer | null,
  headers: Headers,
): StoredRecord {
  const text = (name: string): string => headers.get(name)?.toString() ?? '';
  const sequence = text('owlmq-seq');
  return {
    ...place,
    id: text('owlmq-id'),
    value: value?.toString() ?? null,
    epoch: Number(text('owlmq-epoch')),
    instance: sequence.slice(0, sequence.lastIndexOf(':')),
    copied: text('owlmq-copied') === '1',
    byAudit: headers.has('owlmq-via'),
  };
}

/** Where a record is, for people. */
export function placeOf({ leg, topic, partition, offset, epoch, byAudit }: StoredRecord): string {
  return `${leg} ${topic}/${partition}/${offset} (epoch ${epoch}${byAudit ? ', by the audit' : ''})`;
}
