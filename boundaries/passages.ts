import { z } from 'zod';

/**
 * A moment of a run at which a process may die. Sites are told by what they do, so that the second call of a step in a
 * loop is the same site.
 */
const boundarySchema = z.strictObject({
  /** A call of an activity, or a task in which the workflow decides what comes next. */
  kind: z.enum(['activity', 'workflow task']),
  /** `TYPE "SUMMARY"` of an activity, what a workflow task decides; numbers are left out. */
  site: z.string(),
  /**
   * Before or after its effect. `after`: the step is done and nobody was told; of a workflow task: it is decided and
   * nobody was told, the only moment there is.
   */
  moment: z.enum(['before', 'after']),
  /** The how manieth time that a run comes here, from 1. */
  nth: z.number().int().positive(),
});
export type Boundary = z.infer<typeof boundarySchema>;

/** What the worker of the harness is to do at a boundary, once. */
const orderSchema = z.strictObject({
  id: z.string(),
  /** Of a boundary as it was recorded, … */
  boundary: boundarySchema.optional(),
  /** … or before the first call of an activity of this type. */
  firstCallOf: z.string().optional(),
  /**
   * `die`: kill the own process. `ask`: tell the harness, and go on when it answers. `hold`: tell it, and go on when the
   * workflow cancels the activity.
   */
  act: z.enum(['die', 'ask', 'hold']),
});
export type Order = z.infer<typeof orderSchema>;

/** What the worker of the harness writes down, in the order in which it happens. */
export const passageSchema = z.discriminatedUnion('event', [
  z.strictObject({ event: z.literal('activities'), names: z.array(z.string()) }),
  z.strictObject({
    event: z.literal('passed'),
    boundary: boundarySchema,
    /** Type of the activity. */
    type: z.string().optional(),
    /** When the workflow decided it, Unix ms. */
    decidedAt: z.number(),
  }),
  /** Written before the order is carried out. */
  z.strictObject({ event: z.literal('reached'), order: z.string(), act: orderSchema.shape.act }),
]);
export type Passage = z.infer<typeof passageSchema>;

/** Environment of the worker of the harness. */
export const workerSettingsSchema = z.object({
  BOUNDARIES_BUNDLE: z.string().min(1),
  BOUNDARIES_LOG: z.string().min(1),
  /** A file of an order's id in it says: go on. */
  BOUNDARIES_ANSWERS: z.string().min(1),
  BOUNDARIES_ORDERS: z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(z.array(orderSchema)),
  /** Boundaries that workers before this one have passed in the run. */
  BOUNDARIES_PASSED: z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(z.array(boundarySchema)),
});
export type WorkerEnvironment = Record<keyof z.input<typeof workerSettingsSchema>, string>;

/** A summary without what differs from run to run: numbers, and the durations that they are part of. */
export function siteName(type: string, summary: string | undefined): string {
  const words = (summary ?? '').replaceAll(/\d+(\.\d+)?( ?(ms|s|seconds?|minutes?|hours?|days?)\b|%)?/g, 'N');
  return words === '' ? type : `${type} "${words}"`;
}
