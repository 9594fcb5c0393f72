import { setTimeout as sleep } from 'node:timers/promises';
import { ObservationComparison, type ComparisonCounts } from '@owlmq/kafka-bridge/operations';
import { invoiceOf } from './handler.js';
import { orderConsumer } from './order-consumer.js';
import { BatteryError, Rig } from './rig.js';

export interface IdenticalRunOptions {
  messages: number;
  signal: AbortSignal;
  log: (line: string) => void;
}

export interface IdenticalRunReport {
  messages: number;
  counts: ComparisonCounts;
  seconds: number;
  /** Whether all of them matched, and nothing else was counted but redeliveries. */
  ok: boolean;
}

const GROUP = 'invoices';
const PARTITIONS = 12;
const BATCH = 500;
/** How far the publisher may be ahead of the comparison. */
const MAX_AHEAD = 20_000;
const TELL_EVERY = 50_000;
/** The comparison has to move on within this. */
const STANDSTILL_MS = 120_000;

/** The same handler on both sides, on many messages: nothing may be found. */
export async function runIdentical({ messages, signal, log }: IdenticalRunOptions): Promise<IdenticalRunReport> {
  const rig = await Rig.open({ groups: [GROUP], partitions: PARTITIONS, signal, log });
  const consumers = [0, 1].map(() => orderConsumer({ ...rig.consumed, groupId: GROUP, concurrency: 4 }, invoiceOf));
  let comparison: ObservationComparison | undefined;
  try {
    await Promise.all(consumers.map((consumer) => consumer.start()));
    const soak = await rig.startSoak(consumers.length);
    comparison = new ObservationComparison({
      ...{ connection: rig.connection, migration: rig.migration, roster: rig.roster },
      ...{ groups: [GROUP], latenessMs: 5_000 },
      ...soak,
    });
    const begun = performance.now();
    const counts = await compareAll(rig, comparison, { messages, signal, log });
    const { matched, duplicates: _, ...others } = counts;
    const clean = Object.values(others).every((count) => count === 0);
    const seconds = (performance.now() - begun) / 1_000;
    return { messages, counts, seconds, ok: clean && matched === messages };
  } finally {
    await comparison?.close();
    await Promise.all(consumers.map((consumer) => consumer.stop({ graceMs: 1_000 })));
    await rig.close();
  }
}

async function compareAll(
  rig: Rig,
  comparison: ObservationComparison,
  { messages, signal, log }: IdenticalRunOptions,
): Promise<ComparisonCounts> {
  let published = 0;
  let told = 0;
  let last = { compared: -1, at: performance.now() };
  for (;;) {
    signal.throwIfAborted();
    const { groups } = await comparison.step({ maxMs: 1_000, signal });
    const { counts, unmatched = 0 } = groups[GROUP] ?? {};
    if (counts === undefined) throw new BatteryError('Nothing was reported.');
    const { duplicates: _, late: __, ...verdicts } = counts;
    const compared = Object.values(verdicts).reduce((sum, count) => sum + count);
    if (compared > last.compared) last = { compared, at: performance.now() };
    if (performance.now() - last.at > STANDSTILL_MS) {
      throw new BatteryError(`The comparison stands at ${compared} of ${published} published messages.`);
    }
    if (compared - told >= TELL_EVERY) {
      told = compared;
      log(`${compared.toLocaleString('en')} of ${messages.toLocaleString('en')} compared`);
    }
    if (compared >= messages && unmatched === 0) return counts;
    if (published >= messages || published - compared >= MAX_AHEAD) await sleep(50);
    for (; published < messages && published - compared < MAX_AHEAD; published += BATCH) {
      await rig.publish(published, Math.min(BATCH, messages - published));
    }
  }
}
