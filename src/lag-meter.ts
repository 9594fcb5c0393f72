import type { Client } from '@temporalio/client';
import type { MetricMeter } from '@temporalio/common';
import { pause, unlessAborted, type Side } from '@owlmq/kafka-bridge/operations';
import type { Logger } from 'pino';
import { z } from 'zod';
import { lookAtLegs } from './leg-look.js';
import { runningMigrations } from './migrations-of.js';

const EVERY_MS = 5_000;
/** For how many times as long as a look took there is none, `EVERY_MS` at most. */
const REST = 20;

/** What a migration says of itself in its memo, from its start on. */
const memoShape = z.object({ topics: z.array(z.string()), groups: z.array(z.string()) });

type Labels = Record<'migration' | 'group' | 'side', string>;

/**
 * Puts how far groups are behind into the worker's metrics until the signal: of every migration of the task queue that
 * runs, one after the other, and again five seconds after the last. It rests after each, so that many migrations take
 * longer and are no higher load. What is not known is NaN, which no alert compares with: nothing is committed, a leg does
 * not answer, or the migration has ended.
 */
export async function meterLags(
  client: Client,
  sides: { kafka: Side; owlmq: Side },
  { taskQueue, meter, logger, signal }: { taskQueue: string; meter: MetricMeter; logger: Logger; signal: AbortSignal },
): Promise<void> {
  const what = 'Messages that a group is behind, over partitions with a commit; shadow: its shadows, on OwlMQ.';
  const gauge = meter.createGauge('kafka_to_owlmq_group_lag_messages', 'float', undefined, what);
  const told = new Map<string, Labels>();
  const isAborted = (): boolean => signal.aborted;
  while (!isAborted()) {
    const running = new Set<string>();
    try {
      for (const { workflowId: migration, memo } of await runningMigrations(client, taskQueue)) {
        const named = memoShape.safeParse(memo);
        if (!named.success) continue;
        running.add(migration);
        const began = performance.now();
        const looked = await unlessAborted(lookAtLegs(sides, named.data), signal);
        if (looked === undefined) return;
        const { lags, unread } = looked;
        if (unread.length > 0) logger.warn({ migration, unread }, 'the lag of its groups is not known');
        for (const { group, ...lagOf } of lags) {
          for (const [side, lag] of Object.entries(lagOf)) {
            const labels = { migration, group, side };
            gauge.set(lag ?? NaN, labels);
            told.set(JSON.stringify(labels), labels);
          }
        }
        await pause(Math.min(REST * (performance.now() - began), EVERY_MS), signal);
      }
      for (const [key, labels] of told) {
        if (running.has(labels.migration)) continue;
        gauge.set(NaN, labels);
        told.delete(key);
      }
    } catch (error) {
      logger.warn({ err: error }, 'the migrations that run could not be listed for the lag of their groups');
    }
    await pause(EVERY_MS, signal);
  }
}
