import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TopicOffsets } from '@owlmq/kafka-bridge';
import {
  comparisonCheckpointSchema,
  MemberRoster,
  ObservationComparison,
  type ComparisonCounts,
} from '@owlmq/kafka-bridge/operations';

/** A comparison in a process of its own, for `kill-run.ts`: goes on from the checkpoint that it last wrote to a file. */
export interface JudgeRequest {
  brokers: string[];
  migration: string;
  group: string;
  latenessMs: number;
  start: number[];
  from: TopicOffsets;
  checkpointFile: string;
}

export interface JudgeTold {
  counts: ComparisonCounts;
  unmatched: number;
}

/** As seldom as a heartbeat keeps one. */
const SAVE_EVERY_MS = 1_000;

const request = JSON.parse(process.argv[2] ?? 'null') as JudgeRequest;
process.once('disconnect', () => process.exit());

async function main({ brokers, migration, group, checkpointFile, ...options }: JudgeRequest): Promise<void> {
  const connection = { brokers };
  const roster = new MemberRoster({ connection, clientId: 'battery-judge' });
  await roster.start();
  const saved: unknown = existsSync(checkpointFile) ? JSON.parse(await readFile(checkpointFile, 'utf8')) : undefined;
  const comparison = new ObservationComparison({
    ...{ connection, migration, roster, groups: [group], ...options },
    ...(saved === undefined ? {} : { checkpoint: comparisonCheckpointSchema.parse(saved) }),
  });
  let savedAt = performance.now();
  for (;;) {
    const { groups, checkpoint } = await comparison.step({ maxMs: 1_000 });
    if (performance.now() - savedAt >= SAVE_EVERY_MS) {
      await writeFile(`${checkpointFile}.new`, JSON.stringify(checkpoint));
      await rename(`${checkpointFile}.new`, checkpointFile);
      savedAt = performance.now();
    }
    const found = groups[group];
    if (found !== undefined) process.send?.({ counts: found.counts, unmatched: found.unmatched } satisfies JudgeTold);
    await sleep(100);
  }
}

await main(request);
