import { createHash } from 'node:crypto';
import { z } from 'zod';
import { parseJsonRecord } from '../kafka/json-record.js';
import type { TopicOffsets } from '../routing/routing-state.js';
import { sampleSchema, type DiscrepancySample } from './samples.js';
import { countsSchema, noCounts, type ComparisonCounts } from './verdicts.js';

/** Kafka topic (compacted, one partition) that holds what the comparison has found. */
export const VERDICTS_TOPIC = 'owlmq-bridge.verdicts';

/** What one comparison has found in one part of the observations topic, of one group. Cumulative; no payload. */
const verdictRecordSchema = z.object({
  version: z.literal(1),
  migration: z.string(),
  group: z.string(),
  /** Which of the observations topic's partitions these figures are of. */
  part: z.string(),
  /** How many parts the comparison has: what there is of another number is of an earlier division. */
  parts: z.number().int().positive(),
  /** Which comparison, see `comparisonId`: one that was begun anew counts from zero. */
  comparison: z.string(),
  counts: countsSchema,
  samples: z.array(sampleSchema),
  /** Observations that wait for their counterpart. */
  unmatched: z.number(),
  /** Message time (ms) up to which both sides were compared; absent while a side is missing. */
  comparedUpTo: z.number().optional(),
  /** Whether any of what the group reads is in the part: where nothing is, there is nothing to be behind with. */
  holds: z.boolean(),
  /** Why the comparison does not go on, in words. */
  stalled: z.array(z.string()),
  /** ISO time of writing, the worker's clock; for people only. */
  at: z.string(),
});
export type VerdictRecord = z.infer<typeof verdictRecordSchema>;

/**
 * Names a comparison by where it began: whoever goes on with it, from whatever checkpoint and in whatever parts, began
 * there too, and one that is begun anew begins behind.
 *
 * @param start offsets of the observations topic, of all its partitions.
 * @param from Kafka offsets from which both sides report.
 */
export function comparisonId(start: readonly number[], from: TopicOffsets): string {
  const topics = Object.entries(from).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([start, topics]))
    .digest('base64url')
    .slice(0, 16);
}

/** Key of the record: the next one of the same part takes its place. */
export function verdictKey({ migration, group, part }: Pick<VerdictRecord, 'migration' | 'group' | 'part'>): string {
  return JSON.stringify([migration, group, part]);
}

/** Undefined when the bytes are no such record, or of a later version. */
export function decodeVerdictRecord(value: Buffer | null): VerdictRecord | undefined {
  return parseJsonRecord(verdictRecordSchema, value);
}

/** What is known of a group, over all parts of a comparison. */
export interface GroupVerdicts {
  group: string;
  counts: ComparisonCounts;
  /** In the order of their messages' times. */
  samples: DiscrepancySample[];
  unmatched: number;
  comparedUpTo?: number;
  stalled: string[];
  /** ISO time of the oldest of the parts' records. */
  at: string;
  /** Parts that have not written yet: their figures are not in it. */
  missingParts: number;
}

/** What is known of a comparison. */
export interface MigrationVerdicts {
  comparison: string;
  groups: GroupVerdicts[];
}

/**
 * The comparison that stands, of the records of a migration in the order of the log; undefined when there is none. It
 * is the one of the last record: whoever still writes for an earlier one is outlived by it, since it writes again every
 * half minute. Records of other comparisons, and of other divisions into parts, are left out.
 */
export function standingVerdicts(records: readonly VerdictRecord[]): MigrationVerdicts | undefined {
  const last = records.at(-1);
  if (last === undefined) return undefined;
  const standing = new Map(records.map((record) => [verdictKey(record), record]));
  const groups = new Map<string, VerdictRecord[]>();
  for (const record of standing.values()) {
    if (record.comparison !== last.comparison || record.parts !== last.parts) continue;
    groups.set(record.group, [...(groups.get(record.group) ?? []), record]);
  }
  const all = [...groups.values()];
  return {
    comparison: last.comparison,
    groups: all.map((parts) => mergedParts(parts, last.parts)).sort((a, b) => (a.group < b.group ? -1 : 1)),
  };
}

function mergedParts(records: readonly VerdictRecord[], parts: number): GroupVerdicts {
  const counts = noCounts();
  for (const record of records) {
    for (const verdict of Object.keys(counts) as (keyof ComparisonCounts)[]) counts[verdict] += record.counts[verdict];
  }
  const missingParts = Math.max(0, parts - records.length);
  const holding = records.filter(({ holds }) => holds);
  const times = holding.flatMap(({ comparedUpTo }) => comparedUpTo ?? []);
  const complete = missingParts === 0 && times.length > 0 && times.length === holding.length;
  return {
    group: records[0]?.group ?? '',
    counts,
    samples: records.flatMap(({ samples }) => samples).sort((a, b) => (a.time ?? 0) - (b.time ?? 0)),
    unmatched: records.reduce((sum, { unmatched }) => sum + unmatched, 0),
    ...(complete ? { comparedUpTo: Math.min(...times) } : {}),
    stalled: [...new Set(records.flatMap(({ stalled }) => stalled))],
    at: records.map(({ at }) => at).sort()[0] ?? '',
    missingParts,
  };
}
