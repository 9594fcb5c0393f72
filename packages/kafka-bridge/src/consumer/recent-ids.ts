import type { ConsumedMessage } from './consumed-message.js';
import type { Observation } from './observation.js';
import { partitionKey } from './partition-progress.js';

const PER_PARTITION = 1_000;

/**
 * The ids last applied in each partition, on either side: drops what is delivered again soon after. Keeps what was
 * observed of those that the position has not passed, which are delivered again when one before them was not done.
 */
export class RecentIds {
  readonly #byPartition = new Map<string, Map<string, Observation | undefined>>();

  has(message: ConsumedMessage): boolean {
    return this.#of(message)?.has(message.id) === true;
  }

  /** What was observed of it, while it is not written. */
  unpassed(message: ConsumedMessage): Observation | undefined {
    return this.#of(message)?.get(message.id);
  }

  add(message: ConsumedMessage, observation: Observation | undefined): void {
    const ids = this.#of(message) ?? new Map<string, Observation | undefined>();
    this.#byPartition.set(partitionKey(message.topic, message.partition), ids);
    ids.set(message.id, observation);
    if (ids.size <= PER_PARTITION) return;
    for (const oldest of ids.keys()) {
      ids.delete(oldest);
      break;
    }
  }

  /** What was observed of it is written. */
  passed(message: ConsumedMessage): void {
    const ids = this.#of(message);
    if (ids?.has(message.id) === true) ids.set(message.id, undefined);
  }

  #of({ topic, partition }: ConsumedMessage): Map<string, Observation | undefined> | undefined {
    return this.#byPartition.get(partitionKey(topic, partition));
  }
}
