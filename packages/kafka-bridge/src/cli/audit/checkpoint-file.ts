import { open, readFile, rename, rm } from 'node:fs/promises';
import { z } from 'zod';
import { CliError } from '../cli-error.js';
import { EXIT } from '../exit-codes.js';

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
  const json = await readJson(file);
  if (json === undefined) return undefined;
  const parsed = checkpointFileSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new CliError(EXIT.input, `${file} is no checkpoint of kafka-bridge audit: ${z.prettifyError(parsed.error)}`);
}

/** Writes it so that the file always holds one in full: the old one or this. */
export async function writeCheckpoint(file: string, checkpoint: CheckpointFile): Promise<void> {
  const beside = `${file}.${process.pid}.tmp`;
  try {
    const handle = await open(beside, 'w');
    try {
      await handle.writeFile(`${JSON.stringify(checkpoint, undefined, 2)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(beside, file);
  } catch (error) {
    await rm(beside, { force: true });
    throw new CliError(
      EXIT.input,
      `The checkpoint ${file} cannot be written: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

/**
 * Positions from a file: offsets by topic; the same of both legs as `kafka` and `owlmq`; a checkpoint, whose coverage it
 * is; or the workflow's status, whose fences of the cutover they are.
 *
 * @throws {CliError} when it holds none.
 */
export async function readPositions(file: string): Promise<StartPositions> {
  const json = await readJson(file);
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

async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new CliError(
      EXIT.input,
      `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new CliError(EXIT.input, `${file} is no JSON.`, { cause: error });
  }
}
