import { z } from 'zod';
import { CliError } from '../cli-error.js';
import { EXIT } from '../exit-codes.js';
import { readJsonFile, writeJsonFile } from '../json-file.js';

const offset = z.number().int().nonnegative();

const partitionSchema = z.object({
  topic: z.string(),
  partition: z.number().int().nonnegative(),
  /** Committed at the source; absent where nothing is. */
  source: offset.optional(),
  /** Where the group is to go on at the target; absent where that is refused. */
  target: offset.optional(),
  /** Committed at the target before; absent where nothing was. */
  before: offset.optional(),
  verdict: z.enum(['exact', 'bounded', 'refused']),
  /** Messages that come again; absent where it is not known. */
  redeliveries: z.number().int().nonnegative().optional(),
  /** Ids of the first of them. */
  redeliveredIds: z.array(z.string()).optional(),
  reason: z.string().optional(),
  /** Offsets that the group has still to consume at the source. */
  lag: z.number().int().nonnegative().optional(),
});

const groupSchema = z.object({
  group: z.string(),
  /** `classic`, `consumer`, `owlmq`, …; `unknown` where the source does not have it. */
  kind: z.string(),
  /** Members that it has at the source: what they consume from then on comes again. */
  sourceMembers: z.number().int().nonnegative(),
  /**
   * `planned`: could be imported, and was not asked for. `imported`: written and read back. `refused`: not written,
   * see the reason. `held-back`: not written since others are refused, or nobody confirmed. `passed-over`: there was
   * nothing to do. `failed`: what is stored there is not what was to be, or not known. `not-reached`: the command ended
   * before it.
   */
  outcome: z.enum(['planned', 'imported', 'refused', 'held-back', 'passed-over', 'failed', 'not-reached']),
  reason: z.string().optional(),
  partitions: z.array(partitionSchema),
});

/** What `migrate-offsets` has done or would do: its JSON output, and what `verify-offsets` reads. */
const reportSchema = z.object({
  version: z.literal(1),
  direction: z.enum(['kafka-to-owlmq', 'owlmq-to-kafka']),
  dryRun: z.boolean(),
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime(),
  kafka: z.array(z.string()),
  owlmq: z.string(),
  exitCode: z.number().int(),
  /** What a person should know beside the groups. */
  notes: z.array(z.string()),
  /** What ended it before all was done. */
  failure: z.string().optional(),
  groups: z.array(groupSchema),
});

export type MigrationReport = z.infer<typeof reportSchema>;
export type GroupReport = z.infer<typeof groupSchema>;
export type PartitionReport = z.infer<typeof partitionSchema>;

/** @throws {CliError} when the file is not there or holds something else. */
export async function readReport(file: string): Promise<MigrationReport> {
  const json = await readJsonFile(file);
  if (json === undefined) throw new CliError(EXIT.input, `${file} does not exist.`);
  const parsed = reportSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new CliError(
    EXIT.input,
    `${file} is no report of kafka-bridge migrate-offsets: ${z.prettifyError(parsed.error)}`,
  );
}

/** Writes it so that the file always holds one in full. */
export async function writeReport(file: string, report: MigrationReport): Promise<void> {
  await writeJsonFile(file, report, 'The report');
}
