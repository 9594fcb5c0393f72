import type { Leg } from '../message/headers.js';
import type { PublishError } from './publisher-errors.js';

/**
 * Figures for a metrics library of your choice. What is left out costs nothing. Called from a microtask; what a
 * function throws becomes a process warning. Gauges (buffered, held, backlog, epoch and so on) are in `status()`.
 */
export interface PublisherMetrics {
  /** `publish()` calls that were settled, all of one turn at once. Calls whose arguments were refused are none. */
  settled?: (calls: readonly SettledCall[]) => void;
  /** A request to a leg is over. */
  request?: (request: LegRequest) => void;
  /** Writes to the leg that need not acknowledge: copies to OwlMQ, and after the cutover mirror writes to Kafka. */
  copies?: (copies: CopyCount) => void;
}

export interface SettledCall {
  topic: string;
  /** Leg that had to acknowledge; undefined when the message was handed to none. */
  leg: Leg | undefined;
  /** `published`, or the code of the error. */
  outcome: 'published' | PublishError['code'];
  /** From the call until it was settled, ms. */
  ms: number;
}

export interface LegRequest {
  leg: Leg;
  /** Undefined on Kafka, where messages of several topics go together. */
  topic: string | undefined;
  messages: number;
  /** Until the answer; on Kafka kafkajs's own retries included. Milliseconds. */
  ms: number;
  /** `failed`: there was no answer, or some message of it was refused or has to be sent again. */
  outcome: 'answered' | 'failed';
}

export interface CopyCount {
  topic: string;
  leg: Leg;
  /** `dropped`: given up and left to the audit. */
  outcome: 'written' | 'dropped';
  count: number;
}
