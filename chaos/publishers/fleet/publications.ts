import type { ChaosMessage } from './message.js';
import { incarnationOf } from './message.js';
import type { PublishEvent } from './publish-log.js';

/** A message that a process has begun to publish, and what became of the call. */
export interface Publication extends ChaosMessage {
  /** `none`: nothing was written down; its process was killed, or its call never ended. */
  outcome: 'ok' | 'failed' | 'unknown' | 'none';
  epoch: number | undefined;
  /** `[partition, offset]` as the call told. */
  kafka: readonly [number, number] | undefined;
  owlmq: readonly [number, number] | undefined;
  error: string | undefined;
  /** When it was handed to the system last, to be sent to each leg. */
  sentAt: { kafka: number; owlmq: number };
  /** ms on the machine's monotonic clock. */
  calledAt: number;
  settledAt: number | undefined;
}

/** Everything that publisher processes wrote down, by message. */
export class Publications {
  readonly all = new Map<string, Publication>();
  /** Process starts that wrote that they had settled everything. */
  readonly closed = new Set<string>();
  /** Newest acknowledgement of each publisher. */
  readonly lastOkAt = new Map<number, number>();
  readonly counts = { ok: 0, failed: 0, unknown: 0 };

  /** Takes the events of one process start, in their order. */
  take(publisher: number, incarnation: number, events: readonly PublishEvent[]): void {
    for (const event of events) {
      if (event.event === 'closed') {
        this.closed.add(incarnationOf(`p${publisher}.${incarnation}.`));
      } else if (event.event === 'intent') {
        const { id, topic, key, n, at } = event;
        const open = { epoch: undefined, kafka: undefined, owlmq: undefined, error: undefined, settledAt: undefined };
        const sentAt = { kafka: -Infinity, owlmq: -Infinity };
        this.all.set(id, { id, topic, key, n, outcome: 'none', ...open, sentAt, calledAt: at });
      } else if (event.event === 'sent') {
        for (const id of event.ids) {
          const publication = this.all.get(id);
          if (publication !== undefined) publication.sentAt[event.leg] = event.at;
        }
      } else {
        this.#settle(publisher, event);
      }
    }
  }

  #settle(publisher: number, event: Exclude<PublishEvent, { event: 'closed' | 'intent' | 'sent' }>): void {
    const publication = this.all.get(event.id);
    if (publication === undefined) throw new Error(`The outcome of ${event.id} comes before its call.`);
    publication.outcome = event.event;
    publication.settledAt = event.at;
    this.counts[event.event]++;
    if (event.event === 'ok') {
      publication.epoch = event.epoch;
      publication.kafka = event.kafka;
      publication.owlmq = event.owlmq;
      this.lastOkAt.set(publisher, event.at);
    } else {
      publication.error = event.error;
    }
  }
}
