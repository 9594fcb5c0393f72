import type { FetchedRecord } from '../kafka/fetched-record.js';
import { HEADER } from '../message/headers.js';
import type { OwlmqStoredRecord } from '../owlmq/owlmq-api.js';

/** What tells two messages with one id apart. */
export interface Message {
  sequence: string | undefined;
  timestamp: number;
  key: Buffer | null;
  value: Buffer | null;
}

const SEQUENCE = [Buffer.from(HEADER.sequence)];

export function asMessage(record: FetchedRecord): Message {
  const { timestamp, key, value } = record;
  return { sequence: record.headerTexts(SEQUENCE)[0], timestamp, key, value };
}

export function asStoredMessage({ headers, timestamp, key, value }: OwlmqStoredRecord): Message {
  const sequence = headers.find(([name]) => name === HEADER.sequence)?.[1].toString();
  return { sequence, timestamp, key, value };
}

/**
 * Whether two records with one id hold one message. A publisher that had to repeat itself wrote the same again; one that
 * numbered the second anew was given the id by its caller, who says so. Else an application took over the headers of
 * an old message for a new one: with the same payload, too, it has another time.
 */
export function isSameMessage(one: Message, other: Message): boolean {
  if (one.sequence !== other.sequence) return true;
  return one.timestamp === other.timestamp && isSameBytes(one.key, other.key) && isSameBytes(one.value, other.value);
}

function isSameBytes(one: Buffer | null, other: Buffer | null): boolean {
  return one === null || other === null ? one === other : one.equals(other);
}
