import { z } from 'zod';
import { CliError } from '../cli-error.js';
import { EXIT } from '../exit-codes.js';
import { readJsonFile, writeJsonFile } from '../json-file.js';

const offsetsSchema = z.record(z.string(), z.array(z.number().int().nonnegative()));

const pairSchema = z.object({ kafka: offsetsSchema, owlmq: offsetsSchema });

/** What an audit needs to go on. What is inside its checkpoint is the audit's own, but for the positions. */
const checkpointFileSchema = z.strictObject({
  version: z.literal(1),
  direction: z.enum(['kafka-to-owlmq', 'both']),
  topics: z.array(z.string()).min(1),
  /** Whether what was missing was written, or passed. */
  repair: z.boolean(),
  writtenAt: z.string(),
  checkpoint: z.union([
    z.looseObject({ positions: offsetsSchema, coverage: offsetsSchema, figures: z.record(z.string(), z.unknown()) }),
    z.looseObject({ ...pairSchema.shape, figures: z.record(z.string(), z.unknown()) }),
  ]),
});
export type CheckpointFile = z.infer<typeof checkpointFileSchema>;

/** Positions to begin at: of Kafka alone, or of both legs. */
export type StartPositions = { kafka: z.infer<typeof offsetsSchema>; owlmq?: z.infer<typeof offsetsSchema> };

/**
 * The checkpoint in a file; undefined when the file does not exist.
 *
 * @throws {CliError} when it holds something else.
 */
export async function readCheckpoint(file: string): Promise<CheckpointFile | undefined> {
  const json = await readJsonFile(file);
  if (json === undefined) return undefined;
  const parsed = checkpointFileSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new CliError(EXIT.input, `${file} is no checkpoint of kafka-bridge audit: ${z.prettifyError(parsed.error)}`);
}

/** Writes it so that the file always holds one in full: the old one or this. */
export async function writeCheckpoint(file: string, checkpoint: CheckpointFile): Promise<void> {
  await writeJsonFile(file, checkpoint, 'The checkpoint');
}

/**
 * Positions from a file: offsets by topic; the same of both legs as `kafka` and `owlmq`; a checkpoint, whose coverage it
 * is; or the workflow's status, whose fences of the cutover they are.
 *
 * @throws {CliError} when it holds none.
 */
export async function readPositions(file: string): Promise<StartPositions> {
  const json = await readJsonFile(file);
  if (json === undefined) throw new CliError(EXIT.input, `${file} does not exist.`);
  const pair = z
    .union([
      pairSchema,
      z.object({ cutover: z.object({ fences: pairSchema }) }).transform(({ cutover }) => cutover.fences),
      z.object({ checkpoint: pairSchema }).transform(({ checkpoint }) => checkpoint),
    ])
    .safeParse(json);
  if (pair.success) return { kafka: pair.data.kafka, owlmq: pair.data.owlmq };
  const one = z
    .union([
      offsetsSchema,
      z.object({ coverage: offsetsSchema }).transform(({ coverage }) => coverage),
      z
        .object({ checkpoint: z.object({ coverage: offsetsSchema }) })
        .transform(({ checkpoint }) => checkpoint.coverage),
    ])
    .safeParse(json);
  if (one.success) return { kafka: one.data };
  throw new CliError(
    EXIT.input,
    `${file} holds no positions: offsets by topic are, as {"orders.created": [0, 17]}, or {"kafka": …, "owlmq": …} of both legs, or the workflow's status after a cutover.`,
  );
}
