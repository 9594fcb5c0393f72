import type { Leg } from './group.js';

/** The one topic of the simulation, and how many partitions it has. */
export const TOPIC = 'orders';
export const PARTITIONS = 2;

/** A message as a leg has it. */
export interface Stored {
  id: string;
  key: string;
  /** Number among the messages of the key, in the order of the calls. */
  number: number;
  epoch: number;
  /** Who wrote it: a publisher, or an audit. */
  writer: string;
  /** Whether a copy on the other leg was intended. */
  copied: boolean;
  /** Where its first write is, when this is a copy. */
  source: { leg: Leg; offset: number } | undefined;
  /** When its bytes left the writer. */
  leftAt: number;
}
