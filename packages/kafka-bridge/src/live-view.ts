import { z } from 'zod';

/**
 * What the worker's live page tells of a migration: for its own page, and for `kafka-bridge status`. Times are ISO 8601
 * unless a name ends in `Ms`.
 */

/** Records a second by which the topics of each leg grew between two looks; null where a leg did not answer. */
const rateSampleSchema = z.object({
  /** Unix time of the second look, ms. */
  atMs: z.number(),
  kafka: z.number().nullable(),
  owlmq: z.number().nullable(),
});
export type RateSample = z.infer<typeof rateSampleSchema>;

const stageSchema = z.object({
  phase: z.string(),
  /** `left`: it was reached, and the migration has gone back from it. */
  state: z.enum(['done', 'now', 'ahead', 'left']),
});

const requestSchema = z.object({ by: z.string(), reason: z.string(), at: z.string() });
export type LiveRequest = z.infer<typeof requestSchema>;

const checkSchema = z.object({ name: z.string(), detail: z.string(), todo: z.string() });

const memberSchema = z.object({
  instance: z.string(),
  role: z.enum(['publisher', 'consumer']),
  /** Null of publishers. */
  group: z.string().nullable(),
  state: z.string(),
  /** Whether a shadow runs in it. */
  shadow: z.boolean(),
  epoch: z.number(),
  /** On the epoch of the migration, and heard within its lease. */
  follows: z.boolean(),
  /** Since its last report. */
  silentMs: z.number(),
  /** Messages sent and not yet answered, and copies that wait; null of consumers. */
  inFlight: z.number().nullable(),
  backlog: z.number().nullable(),
});

/** Messages that a group is behind, over partitions with a commit; null where it has none, or a side did not answer. */
const groupLagSchema = z.object({
  group: z.string(),
  kafka: z.number().nullable(),
  owlmq: z.number().nullable(),
  /** Of its shadow on OwlMQ. */
  shadow: z.number().nullable(),
});
export type GroupLag = z.infer<typeof groupLagSchema>;

/** What can be asked of a migration. */
export const liveActionSchema = z.enum(['pause', 'resume', 'approve', 'rollback']);
export type LiveAction = z.infer<typeof liveActionSchema>;

export const liveViewSchema = z.object({
  version: z.literal(1),
  migration: z.string(),
  /** When it was looked at. */
  at: z.string(),
  /** As Temporal has the run: `running`, `completed`, `failed`, `cancelled`, `terminated`, `timed-out`. */
  run: z.string(),
  phase: z.string(),
  since: z.string(),
  startedAt: z.string(),
  track: z.array(stageSchema),
  rehearsal: z.boolean(),
  topics: z.array(z.string()),
  groups: z.array(z.string()),
  epoch: z.number(),
  primary: z.enum(['kafka', 'owlmq']),
  live: z.enum(['kafka', 'owlmq']),
  ratio: z.object({ wanted: z.number(), acknowledged: z.number() }),
  next: z.string(),
  waiting: z.object({ for: z.string(), until: z.string().optional() }).nullable(),
  blocked: z.object({ step: z.string(), cause: z.string(), todo: z.string(), since: z.string() }).nullable(),
  attention: z.object({ what: z.string(), since: z.string() }).nullable(),
  paused: requestSchema.nullable(),
  rollback: requestSchema.nullable(),
  /** The last rollback that was refused, and what has to be repaired for it. */
  rollbackRefused: requestSchema.extend({ failed: z.array(checkSchema) }).nullable(),
  /** Why a rollback would not be possible now; empty while it would, as far as is known. */
  rollbackBlockers: z.array(z.string()),
  /** What preflight or the look before the cutover found, and has to be done. */
  todo: z.array(checkSchema),
  ramp: z.object({ verdict: z.string(), reason: z.string(), nextJudgement: z.string().nullable() }).nullable(),
  /** What the audit has counted since it began; null before. */
  parity: z
    .object({ kafkaMessages: z.number(), owlmqMessages: z.number(), missing: z.number(), repaired: z.number() })
    .nullable(),
  /** Why the audit has stopped that runs beside the phases. */
  auditFailure: z.string().nullable(),
  soak: z.object({
    cleanMs: z.number(),
    targetMs: z.number(),
    restarts: z.number(),
    /** Why clean time does not count now. */
    inconclusive: z.array(z.string()),
  }),
  /** Of what Kafka is kept warm for; null outside that time. */
  warmRemainingMs: z.number().nullable(),
  verdicts: z.array(
    z.object({
      group: z.string(),
      matched: z.number(),
      discrepancies: z.number(),
      acknowledged: z.number(),
      comparedUpTo: z.string().nullable(),
    }),
  ),
  lags: z.array(groupLagSchema),
  members: z.array(memberSchema),
  /** The newest; null before the second look. */
  rates: rateSampleSchema.nullable(),
  /** What makes sense to ask for now. */
  actions: z.array(liveActionSchema),
  /** Newest last. */
  log: z.array(z.object({ at: z.string(), text: z.string() })),
  /** What could not be read at this look, and why: the rest may be older. */
  unread: z.array(z.string()),
});
/** A migration at one look. */
export type LiveView = z.infer<typeof liveViewSchema>;

/** A migration in the list of all. */
const migrationEntrySchema = z.object({
  migration: z.string(),
  run: z.string(),
  startedAt: z.string(),
  /** Null where the namespace does not have the search attributes. */
  phase: z.string().nullable(),
  ratio: z.number().nullable(),
  blocked: z.boolean().nullable(),
  attention: z.string().nullable(),
});
export type MigrationEntry = z.infer<typeof migrationEntrySchema>;
export const migrationListSchema = z.object({ migrations: z.array(migrationEntrySchema), more: z.boolean() });
export type MigrationList = z.infer<typeof migrationListSchema>;

/** How a request was answered that could not be done. */
export const liveProblemSchema = z.object({ type: z.string(), detail: z.string() });
export type LiveProblem = z.infer<typeof liveProblemSchema>;
