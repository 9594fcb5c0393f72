import { z } from 'zod';
import type { Unmatched } from './lane.js';
import { discrepancyVerdicts, type Discrepancy } from './verdicts.js';

export const sampleSchema = z.object({
  verdict: z.enum(discrepancyVerdicts),
  topic: z.string(),
  partition: z.number(),
  id: z.string(),
  /** Offset in Kafka. */
  kafka: z.number(),
  /** Offset in OwlMQ; absent where the shadow has not seen it. */
  owlmq: z.number().optional(),
  /** Message time, Unix ms. */
  time: z.number().optional(),
  /** Epoch of the routing state that the shadow saw it under; the live side, where there is no shadow's. */
  epoch: z.number().optional(),
  /** Version of the handlers, where services tell one. */
  handlerVersion: z.object({ live: z.string().optional(), shadow: z.string().optional() }).optional(),
  /** JSON pointers of what differs; empty when the difference is beyond the fields that are told apart. */
  fields: z.array(z.string()).optional(),
  /** Class of the error, for failures. */
  error: z.string().optional(),
  /** Where the observations are in the observations topic, to be read again. */
  log: z.object({ partition: z.number(), live: z.number().optional(), shadow: z.number().optional() }).optional(),
});
/** A discrepancy that a person can look up: where it is, never what it holds. */
export type DiscrepancySample = z.infer<typeof sampleSchema>;

/** The newest of each verdict are kept: many of one kind do not push out another. */
const MAX_OF_VERDICT = 5;

/**
 * Samples of a group with one more, newest last.
 *
 * @param log partition of the observations topic.
 */
export function keepSample(
  samples: readonly DiscrepancySample[],
  { verdict, fields, error }: Discrepancy,
  log: number,
  { observation, logOffset }: Unmatched,
  counterpart: Unmatched | undefined,
): DiscrepancySample[] {
  const { topic, partition, id, kafka, owlmq, time, epoch } = observation;
  const other = counterpart?.observation;
  const versions = {
    [observation.side]: observation.handlerVersion,
    ...(other === undefined ? {} : { [other.side]: other.handlerVersion }),
  };
  const known = Object.entries(versions).filter(([, version]) => version !== undefined);
  const sample: DiscrepancySample = {
    verdict,
    topic,
    partition,
    id,
    kafka,
    ...(owlmq === undefined ? {} : { owlmq }),
    time,
    epoch,
    ...(known.length === 0 ? {} : { handlerVersion: Object.fromEntries(known) }),
    ...(fields === undefined ? {} : { fields }),
    ...(error === undefined ? {} : { error }),
    log: {
      partition: log,
      [observation.side]: logOffset,
      ...(counterpart === undefined || other === undefined ? {} : { [other.side]: counterpart.logOffset }),
    },
  };
  const alike = samples.filter((one) => one.verdict === verdict);
  const oldest = alike.length < MAX_OF_VERDICT ? undefined : alike[0];
  return [...samples.filter((one) => one !== oldest), sample];
}
