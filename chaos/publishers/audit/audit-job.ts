import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import type { ForwardCheckpoint, MirrorCheckpoint } from '@owlmq/kafka-bridge/operations';

const offsets = z.record(z.string(), z.array(z.number().int().nonnegative()));

/** What the auditor process is to do, until it is told something else. */
export const auditJobSchema = z.strictObject({
  /** `forward`: prove Kafka's copies on OwlMQ. `mirror`: keep both legs equal while OwlMQ is primary. */
  direction: z.enum(['forward', 'mirror']),
  /** Jobs of one chain go on from each other's checkpoint; a new chain begins at `from`. */
  chain: z.number().int(),
  serial: z.number().int(),
  topics: z.array(z.string()),
  from: z.strictObject({ kafka: offsets, owlmq: offsets }),
  graceMs: z.number(),
  /** While publishers are fenced: prove exactly up to here (forward: Kafka's offsets, mirror: OwlMQ's). */
  until: offsets.optional(),
});
export type AuditJob = z.infer<typeof auditJobSchema>;

/** How far the auditor process is; also what it resumes from when it was killed. */
export const auditProgressSchema = z.object({
  direction: z.enum(['forward', 'mirror']),
  chain: z.number().int(),
  serial: z.number().int(),
  /** The job's `until` is reached. */
  complete: z.boolean(),
  /** What the last step failed with, if it did. */
  error: z.string().optional(),
  forward: z.custom<ForwardCheckpoint>().optional(),
  mirror: z.custom<MirrorCheckpoint>().optional(),
});
export type AuditProgress = z.infer<typeof auditProgressSchema>;

/** Reads a file that another process replaces; undefined when it is not there yet. */
export function readShared<T>(path: string, schema: z.ZodType<T>): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  return schema.parse(JSON.parse(text));
}

/** Replaces a file that another process reads: it sees the old or the new one, whole, whenever this one is killed. */
export function writeShared(path: string, value: unknown): void {
  writeFileSync(`${path}.next`, JSON.stringify(value));
  renameSync(`${path}.next`, path);
}
