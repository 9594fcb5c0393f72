import type { Slots } from '../async/slots.js';
import type { Standing } from './apply-gate.js';
import type { ReceivedMessage } from './consumed-message.js';
import { COMMIT_INTERVAL_MS, type SideOptions } from './consuming-side.js';
import { handleByKey } from './keyed-window.js';
import type { PartitionProgress } from './partition-progress.js';

/** A message with its offset on the leg it was read from. */
export interface ReceivedAt extends ReceivedMessage {
  offset: number;
}

export interface PartitionWork {
  side: Pick<SideOptions, 'runner' | 'limit' | 'paused' | 'concurrency'>;
  slots: Slots;
  progress: PartitionProgress;
  standing: Standing;
  /** Whether the member may go on, as its group has told it. */
  mayGoOn: () => boolean;
  /** The position is behind a message. */
  passed?: (offset: number) => void;
  commit: () => Promise<void>;
}

/**
 * Hands what was fetched of a partition to the side's runner and moves the position over what is done, committing now
 * and then. Resolves when nothing is in hand any more: true when all is done.
 */
export async function workThrough(messages: Iterable<ReceivedAt>, work: PartitionWork): Promise<boolean> {
  const { side, slots, progress, standing, mayGoOn, passed, commit } = work;
  const limit = (): number => side.limit(progress.topic, progress.partition);
  let lastCommit = performance.now();
  const first = await handleByKey(notBefore(messages, progress.next), {
    concurrency: side.concurrency,
    slots,
    keyOf: ({ message: { key } }) => key?.toString('latin1'),
    admit: ({ offset }) => !standing.signal.aborted && mayGoOn() && !side.paused() && offset < limit(),
    run: async (one) => {
      const result = await side.runner.run(one, one.offset, standing);
      if (result.verdict === 'done') return result;
      if (result.verdict === 'failed') progress.failed = true;
      return undefined;
    },
    pass: async ({ offset, message }, { pass }) => {
      await pass();
      progress.handled(offset + 1, message.timestamp);
      passed?.(offset);
      if (performance.now() - lastCommit > COMMIT_INTERVAL_MS) {
        await commit();
        lastCommit = performance.now();
      }
    },
  });
  if (first === undefined) return true;
  // What is between the last message and the limit is none: control records, or compacted ones.
  if (first.offset >= limit()) progress.next = Math.max(progress.next, limit());
  return false;
}

function* notBefore(messages: Iterable<ReceivedAt>, offset: number): Iterable<ReceivedAt> {
  for (const one of messages) if (one.offset >= offset) yield one;
}
