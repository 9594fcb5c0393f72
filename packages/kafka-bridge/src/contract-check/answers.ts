import { z } from 'zod';
import { decodeFetch, decodeRecords, RecordFramesError, type Contract, type FramedRecord } from '../contract/index.js';
import { ContractBrokenError } from './verdicts.js';

/** One answer, as it came. */
export interface Answer {
  /** What was asked, for what is seen. */
  operation: string;
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
  /** From sending the request to the end of the answer. */
  ms: number;
}

/** A record as it was read: with its offset. */
export type ReadRecord = FramedRecord & { offset: number };

const count = z.int().min(0);
const offset = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const topicPartition = z.object({ topic: z.string(), partition: count });
const groupOffset = topicPartition.extend({ offset });

// Fields that a server adds are left out, as the contract wants it.
export const limitsSchema = z.object({
  maxBatchRecords: count.min(1),
  maxBatchBytes: count.min(1),
  maxRecordBytes: count.min(1),
  maxLookupIds: count.min(1),
  maxFetchBytes: count.min(1),
  maxWaitMs: count,
}) satisfies z.ZodType<Contract['Limits']>;

export const topicSchema = z.object({
  name: z.string(),
  partitions: z.array(z.object({ partition: count, beginOffset: offset, endOffset: offset })),
}) satisfies z.ZodType<Contract['Topic']>;

export const topicListSchema = z.object({ topics: z.array(topicSchema) }) satisfies z.ZodType<Contract['TopicList']>;

export const publishResultsSchema = z.object({
  results: z.array(
    z.discriminatedUnion('ok', [
      z.object({ ok: z.literal(true), partition: count, offset, duplicate: z.boolean() }),
      z.object({ ok: z.literal(false), type: z.string(), detail: z.string(), retriable: z.boolean() }),
    ]),
  ),
});
export type Result = z.infer<typeof publishResultsSchema>['results'][number];

export const placesSchema = z.object({
  places: z.array(z.object({ partition: count, offset }).nullable()),
}) satisfies z.ZodType<Contract['LookupResult']>;

export const offsetsSchema = z.object({ offsets: z.array(offset) }) satisfies z.ZodType<Contract['OffsetsForTime']>;

export const groupListSchema = z.object({ groups: z.array(z.string()) }) satisfies z.ZodType<Contract['GroupList']>;

export const groupSchema = z.object({
  name: z.string(),
  generation: count,
  state: z.enum(['empty', 'rebalancing', 'stable']),
  members: z.array(z.object({ memberId: z.string(), clientId: z.string(), assignment: z.array(topicPartition) })),
  offsets: z.array(groupOffset.extend({ endOffset: offset, lag: count })),
}) satisfies z.ZodType<Contract['Group']>;

export const membershipSchema = z.object({
  memberId: z.string().min(1),
  generation: count,
  state: z.enum(['rebalancing', 'stable']),
  assignment: z.array(groupOffset),
  leaseMs: count,
}) satisfies z.ZodType<Contract['Membership']>;

const fetchHeadSchema = z.object({
  membership: membershipSchema,
  partitions: z.array(topicPartition.extend({ count, endOffset: offset })),
}) satisfies z.ZodType<Contract['FetchHead']>;

export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  members: z.array(z.string()).optional(),
  topic: z.string().optional(),
  partition: z.int().optional(),
  beginOffset: offset.optional(),
  endOffset: offset.optional(),
});
/** What can be read of an answer as a problem. */
export const anyProblemSchema = problemSchema.partial();
export type Problem = z.infer<typeof anyProblemSchema>;

/** Statuses that each type of problem comes with; none where it is in results only. */
export const problemStatus: Readonly<Record<Contract['ProblemType'], number | undefined>> = {
  'invalid-request': 400,
  'malformed-records': 400,
  unauthorized: 401,
  'not-found': 404,
  'method-not-allowed': 405,
  'unknown-topic': 404,
  'unknown-partition': 404,
  'unknown-group': 404,
  'topic-exists': 409,
  'group-not-empty': 409,
  'stale-generation': 409,
  'too-large': 413,
  'unsupported-media-type': 415,
  'offset-out-of-range': 422,
  'key-blocked': undefined,
  throttled: 429,
  internal: 500,
  unavailable: 503,
};

/** An answer in short, for what is seen. */
export function answerShown({ status, headers, body }: Answer): string {
  const type = mediaTypeOf(headers);
  // Of an unknown server, whatever a terminal would obey.
  const said = body.toString('utf8', 0, 200).replaceAll(/\p{Cc}+/gu, ' ');
  const text = /json|text|html/.test(type) ? `: ${said}` : '';
  return `HTTP ${status} ${type === '' ? 'without a media type' : type}${text}`.trim();
}

/** The media type of an answer, without its parameters. */
export function mediaTypeOf(headers: Answer['headers']): string {
  const [type = ''] = String(headers['content-type'] ?? '').split(';', 1);
  return type.trim().toLowerCase();
}

/** JSON of an answer; undefined when it is none. */
export function jsonOf({ body }: Answer): unknown {
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

/** @throws {ContractBrokenError} unless the JSON of the answer has the shape. */
export function shaped<T>(answer: Answer, schema: z.ZodType<T>): T {
  return shapedValue(answer.operation, jsonOf(answer), schema, answerShown(answer));
}

/** @throws {ContractBrokenError} unless the answer is a body of records, each with its offset. */
export function recordsOf(answer: Answer): ReadRecord[] {
  return withOffsets(
    answer.operation,
    decoded(answer.operation, () => decodeRecords(answer.body)),
  );
}

/** @throws {ContractBrokenError} unless the answer is that of a group fetch. */
export function fetchOf(answer: Answer): { head: Contract['FetchHead']; records: ReadRecord[] } {
  const { operation } = answer;
  const { head, records } = decoded(operation, () => decodeFetch(answer.body));
  return {
    head: shapedValue(operation, head, fetchHeadSchema, 'a head of another shape'),
    records: withOffsets(operation, records),
  };
}

/** @throws {ContractBrokenError} with what is wrong with the layout. */
export function decoded<T>(operation: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof RecordFramesError)) throw error;
    throw new ContractBrokenError(`${operation}: the body ${error.message}`, { cause: error });
  }
}

function shapedValue<T>(operation: string, value: unknown, schema: z.ZodType<T>, shownAs: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
  throw new ContractBrokenError(`${operation}: ${where}${issue?.message ?? 'is of another shape'}; ${shownAs}`, {
    cause: parsed.error,
  });
}

function withOffsets(operation: string, records: FramedRecord[]): ReadRecord[] {
  return records.map((record) => {
    const { offset: place } = record;
    if (place === undefined) throw new ContractBrokenError(`${operation}: record ${record.id} came without an offset`);
    return { ...record, offset: place };
  });
}
