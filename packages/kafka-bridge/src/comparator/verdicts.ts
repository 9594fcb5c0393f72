import { z } from 'zod';
import { differingFields, unpackFields } from '../consumer/field-digests.js';
import type { Observation } from '../consumer/observation.js';

/** Verdicts, counted apart; each pair of observations has one. What adds to it, or is none, says so. */
export const countsSchema = z.object({
  /** Both sides did the same. */
  matched: z.number(),
  /** Equal but for parts that the service told to ignore. */
  ignored: z.number(),
  different: z.number(),
  /** The live side handled it, the shadow never did. */
  missing: z.number(),
  /** The shadow handled it, the live side never did. */
  unexpected: z.number(),
  /** The handler failed on the live side alone. */
  failedLive: z.number(),
  /** The handler failed on the shadow alone. */
  failedShadow: z.number(),
  /** Messages that the shadow saw behind a later message of their key. Adds to their verdict. */
  reordered: z.number(),
  /** Observations of what was judged `missing` or `unexpected` before they came. Adds to that verdict. */
  late: z.number().default(0),
  /** Discrepancies of a pattern that somebody has acknowledged, in place of their verdict. */
  acknowledged: z.number().default(0),
  /** Observations of what the side had observed before: redeliveries. No verdict. */
  duplicates: z.number(),
});
export type ComparisonCounts = z.infer<typeof countsSchema>;

/** Verdicts that say that both sides did not do the same. */
export const discrepancyVerdicts = [
  'different',
  'missing',
  'unexpected',
  'failedLive',
  'failedShadow',
  'reordered',
] as const;
export type DiscrepancyVerdict = (typeof discrepancyVerdicts)[number];

/** A discrepancy pattern that does not set the soak back. What is absent matches anything. */
export interface AcknowledgedPattern {
  group: string;
  verdict: DiscrepancyVerdict;
  topic?: string;
  /** JSON pointers: every field that differs is one of them, or inside of one. */
  fields?: readonly string[];
  /** Of the shadow's handler; of the live one's where there is no shadow's. */
  handlerVersion?: string;
}

export interface Discrepancy {
  verdict: DiscrepancyVerdict;
  /** JSON pointers of what differs; empty when the difference is beyond the fields that are told apart. */
  fields?: string[];
  /** Class of the error, for failures. */
  error?: string | undefined;
}

export function noCounts(): ComparisonCounts {
  return {
    matched: 0,
    ignored: 0,
    different: 0,
    missing: 0,
    unexpected: 0,
    failedLive: 0,
    failedShadow: 0,
    reordered: 0,
    late: 0,
    acknowledged: 0,
    duplicates: 0,
  };
}

/**
 * Whether two outputs of one message mean the same though they differ: for what no canonical form can say, such as a
 * tolerance. Given captured outputs as their canonical JSON has them. Must depend on nothing else.
 */
export type PairwiseCompare = (
  live: unknown,
  shadow: unknown,
  about: { group: string; topic: string; id: string },
) => boolean;

/**
 * Both sides' observations of a message: what they say together.
 *
 * @param compare asked of outputs that differ, where both were captured in full; `ignored` where it says yes.
 */
export function compareOutcomes(
  live: Observation,
  shadow: Observation,
  compare?: PairwiseCompare,
): 'matched' | 'ignored' | Discrepancy {
  if (live.output !== undefined && shadow.output !== undefined) {
    if (live.output.digest === shadow.output.digest) {
      return live.output.whole === shadow.output.whole ? 'matched' : 'ignored';
    }
    if (compare !== undefined) {
      const outputs = [live, shadow].flatMap(({ output }) => capturedOutput(output));
      if (outputs.length === 2 && compare(outputs[0], outputs[1], live)) return 'ignored';
    }
    return {
      verdict: 'different',
      fields: differingFields(unpackFields(live.output.fields), unpackFields(shadow.output.fields)),
    };
  }
  if (live.output === undefined && shadow.output === undefined) {
    // Both fail in the same way: the shadow does as the live side does.
    const alike = live.error?.name === shadow.error?.name && live.error?.uncomparable !== true;
    return alike ? 'matched' : { verdict: 'different', error: shadow.error?.name };
  }
  return {
    verdict: live.output === undefined ? 'failedLive' : 'failedShadow',
    error: (live.error ?? shadow.error)?.name,
  };
}

/** As a list of one; empty where it was not captured, or not in full. */
function capturedOutput(output: Observation['output']): [unknown] | [] {
  const { captured } = output ?? {};
  return captured !== undefined && captured.text.length === captured.length ? [JSON.parse(captured.text)] : [];
}

/** Whether somebody has acknowledged discrepancies of this kind. */
export function isAcknowledged(
  patterns: readonly AcknowledgedPattern[],
  { group, topic, handlerVersion }: Observation,
  { verdict, fields }: Discrepancy,
): boolean {
  return patterns.some(
    (pattern) =>
      pattern.group === group &&
      pattern.verdict === verdict &&
      (pattern.topic === undefined || pattern.topic === topic) &&
      (pattern.handlerVersion === undefined || pattern.handlerVersion === handlerVersion) &&
      (pattern.fields === undefined || covers(pattern.fields, fields ?? [])),
  );
}

/** Differences that are not told apart are covered by no pattern of fields. */
function covers(pointers: readonly string[], fields: readonly string[]): boolean {
  return (
    fields.length > 0 &&
    fields.every((field) => pointers.some((pointer) => field === pointer || field.startsWith(`${pointer}/`)))
  );
}
