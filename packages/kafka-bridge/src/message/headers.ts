/**
 * Headers that the bridge writes on both legs. Values are UTF-8 text, so that any client can read them.
 *
 * They let an audit, a comparator or an offset translation know what to expect of a record without guessing.
 */
export const HEADER = {
  /** Message id (UUIDv7), and OwlMQ's idempotency key. */
  id: 'owlmq-id',
  /** Epoch of the routing state under which the message was published; `0` for a publisher without a migration. */
  epoch: 'owlmq-epoch',
  /**
   * Number of the message among those of its topic partition from this publisher instance, from 1: `INSTANCE:N`. So the
   * messages of a key have rising numbers in the order of their publish calls.
   */
  sequence: 'owlmq-seq',
  /** `1` when a copy on the other leg was intended at the time of publishing, else `0`. */
  copied: 'owlmq-copied',
  /**
   * On the mirror copy only: where the record is on the leg that was written first, as `LEG/PARTITION/OFFSET`,
   * for example `kafka/3/1207`. Makes offset translation exact.
   */
  source: 'owlmq-source',
  /** On copies that the bridge wrote in place of a publisher, see `VIA`. */
  via: 'owlmq-via',
} as const;

/** Why the bridge wrote a copy: `audit` repaired what a publisher did not copy, `forward` copied a foreign record. */
export const VIA = { audit: 'audit', forward: 'forward' } as const;

/** One of the two systems a message is written to. */
export type Leg = 'kafka' | 'owlmq';

/** A record's place on a leg. Offsets are safe integers. */
export interface Position {
  leg: Leg;
  partition: number;
  offset: number;
}

/** What the bridge's headers say of a record. */
export interface Provenance {
  /** Message id; undefined when the producer does not use the library. */
  id: string | undefined;
  epoch: number;
  sequence: string | undefined;
  copied: boolean;
  source: Position | undefined;
  via: string | undefined;
}

/** Headers as Kafka clients hand them out: by name, bytes or text. */
export type HeaderMap = Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>;

/** Headers by name; a name that came several times has a list, in their order. */
export function groupHeaders(entries: Iterable<readonly [string, Buffer]>): Record<string, Buffer | Buffer[]> {
  // Not into the object itself: a header may be named __proto__.
  const grouped = new Map<string, Buffer | Buffer[]>();
  for (const [name, value] of entries) {
    const earlier = grouped.get(name);
    if (earlier === undefined) grouped.set(name, value);
    else grouped.set(name, Array.isArray(earlier) ? [...earlier, value] : [earlier, value]);
  }
  return Object.fromEntries(grouped);
}

/** Reads the bridge's headers. Absent or malformed ones read as undefined, 0 or false: foreign records are legal. */
export function readProvenance(headers: HeaderMap | undefined): Provenance {
  const text = (name: string): string | undefined => {
    const value = headers?.[name];
    const first = Array.isArray(value) ? value[0] : value;
    return first?.toString();
  };
  return {
    id: text(HEADER.id),
    epoch: Number(text(HEADER.epoch) ?? '0') || 0,
    sequence: text(HEADER.sequence),
    copied: text(HEADER.copied) === '1',
    source: parsePosition(text(HEADER.source)),
    via: text(HEADER.via),
  };
}

/** Writes a position as the `owlmq-source` header's text. */
export function formatPosition(position: Position): string {
  return `${position.leg}/${position.partition}/${position.offset}`;
}

/** Reads the text of an `owlmq-source` header; undefined when it is not one. */
export function parsePosition(text: string | undefined): Position | undefined {
  const match = /^(kafka|owlmq)\/(\d+)\/(\d+)$/.exec(text ?? '');
  if (match === null) return undefined;
  return { leg: match[1] as Leg, partition: Number(match[2]), offset: Number(match[3]) };
}

/** The id of a Kafka record without one: its place, which is stable. */
export function foreignMessageId(topic: string, partition: number, offset: number): string {
  return `${topic}/${partition}/${offset}`;
}
