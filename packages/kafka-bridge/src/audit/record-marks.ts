import type { FetchedRecord } from '../kafka/fetched-record.js';
import { foreignMessageId, HEADER, parsePosition, type Position } from '../message/headers.js';

/** What an audit goes by of a Kafka record. */
export interface RecordMarks {
  /** Message id; undefined for a foreign record. */
  id: string | undefined;
  /** Whether its publisher meant to copy it. */
  copied: boolean;
  /** Where it was written first, as it says itself. */
  source: Position | undefined;
}

const NAMES = [HEADER.id, HEADER.copied, HEADER.source].map((name) => Buffer.from(name));

/** Reads the bridge's headers. Without an id none of them counts: whoever wrote them is not the library. */
export function readMarks(record: FetchedRecord): RecordMarks {
  const [id, copied, source] = record.headerTexts(NAMES);
  if (id === undefined || id === '') return { id: undefined, copied: false, source: undefined };
  return { id, copied: copied === '1', source: parsePosition(source) };
}

/** The id of a record that has none of its own. */
export function placeId({ topic, partition, offset }: FetchedRecord): string {
  return foreignMessageId(topic, partition, offset);
}
