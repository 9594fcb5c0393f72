import { z } from 'zod';

const place = z.tuple([z.number().int(), z.number().int()]);
const base = { id: z.string(), at: z.number() };

/**
 * What a publisher process writes down: each message before its `publish()` call, and what became of the call. A message
 * without a second line has an unknown outcome: its process was killed.
 */
export const publishEventSchema = z.discriminatedUnion('event', [
  z.strictObject({ event: z.literal('intent'), ...base, topic: z.string(), key: z.string().nullable(), n: z.number() }),
  z.strictObject({
    event: z.literal('ok'),
    ...base,
    epoch: z.number().int(),
    /** `[partition, offset]`, as `publish()` told. */
    kafka: place.optional(),
    owlmq: place.optional(),
  }),
  /** By its error it is on no leg. */
  z.strictObject({ event: z.literal('failed'), ...base, error: z.string() }),
  z.strictObject({ event: z.literal('unknown'), ...base, error: z.string() }),
  /** A request with these messages was handed to the system, to be sent to a leg. */
  z.strictObject({
    event: z.literal('sent'),
    leg: z.enum(['kafka', 'owlmq']),
    ids: z.array(z.string()),
    at: z.number(),
  }),
  /** The process has settled every call and ends. */
  z.strictObject({ event: z.literal('closed'), at: z.number() }),
]);
export type PublishEvent = z.infer<typeof publishEventSchema>;
