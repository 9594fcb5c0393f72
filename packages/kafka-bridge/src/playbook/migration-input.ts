import ms, { type StringValue } from 'ms';
import { z } from 'zod';
import { HOOK_EVENTS, type HookEvent } from './hook-events.js';
import { inputJsonSchema, parseInput } from './input-file.js';

const HOUR = 3_600_000;

/** A duration as Temporal writes them, `"48 hours"` or `"10m"`, or a number of ms; parsed to ms. */
function duration(bounds: { min: number; max: number }) {
  const { min, max } = bounds;
  return z.union([z.string(), z.number()]).transform((value, context) => {
    const parsed = typeof value === 'number' ? value : parseDuration(value);
    if (parsed === undefined) {
      context.addIssue({
        code: 'custom',
        message: `"${value}" is not a duration; write for example "48 hours" or "10m"`,
      });
      return z.NEVER;
    }
    if (parsed < min || parsed > max) {
      context.addIssue({
        code: 'custom',
        message: `must be between ${ms(min, { long: true })} and ${ms(max, { long: true })}, not ${ms(parsed, { long: true })}`,
      });
      return z.NEVER;
    }
    return parsed;
  });
}

/** @returns ms; undefined for what is no duration. */
export function parseDuration(text: string): number | undefined {
  try {
    // NaN, or nothing at all, for what it cannot read, whatever its types say.
    const parsed: unknown = ms(text as StringValue);
    return typeof parsed === 'number' && Number.isFinite(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

const name = z.string().regex(/^[A-Za-z0-9._-]{1,249}$/, 'must be 1 to 249 letters, digits, ".", "_" or "-"');

function uniqueNames(kind: string) {
  return z
    .array(name)
    .min(1, `name at least one ${kind}`)
    .refine((names) => new Set(names).size === names.length, `names a ${kind} twice`);
}

/** Longest duration that an input may give, ms. */
export const YEAR = 365 * 24 * HOUR;
const share = z.number().min(0, 'must be a share from 0 to 1').max(1, 'must be a share from 0 to 1');
const count = z.number().int().min(0);
const parallelism = z.number().int().min(1).max(16).default(1);

/** Limits by which a step of the ramp is judged. A figure above its limit fails the step. */
const gatesSchema = z
  .strictObject({
    copyFailures: share
      .default(0.01)
      .describe('Share of copies that publishers dropped, or whose request to OwlMQ failed.'),
    missing: share
      .default(0.01)
      .describe('Share of intended copies that the audit did not find on OwlMQ after its grace.'),
    inversions: share
      .optional()
      .describe('Share of copies that lie behind a later one of their key; not judged unless given.'),
    latency: duration({ min: 1, max: HOUR })
      .prefault('2 seconds')
      .describe('Time that OwlMQ takes for a publish request, 99th percentile of the slowest publisher.'),
    backlog: count.default(10_000).describe('Copies that wait for OwlMQ in one publisher.'),
    oldestCopy: duration({ min: 1, max: HOUR })
      .prefault('30 seconds')
      .describe('Age of the oldest copy that waits for OwlMQ.'),
    sustained: duration({ min: 0, max: HOUR })
      .prefault('30 seconds')
      .describe('How long latency, backlog and age must be above their limit, and a publisher behind, to count.'),
    minPublishers: count
      .default(1)
      .describe('DualPublishers that must report; fewer are inconclusive. 0 where every producer is forwarded.'),
    minCopies: count.default(1).describe('Copies that a step needs above ratio 0; fewer are inconclusive.'),
    errorLimit: z.number().int().min(1).default(3).describe('Verdicts in a row without figures before the run blocks.'),
    inconclusiveLimit: z
      .number()
      .int()
      .min(1)
      .default(3)
      .describe(
        'Inconclusive verdicts in a row before the status and MigrationAttention say so. They hold the ratio all the same.',
      ),
  })
  .prefault({});

const timeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be a time of day such as "02:00"');

/** When a cutover may begin, by the clock of a place. */
const hoursSchema = z
  .strictObject({
    from: timeOfDay,
    to: timeOfDay.describe('Past midnight when it is before from.'),
    timeZone: z.string().refine(isTimeZone, 'must be an IANA time zone such as "Europe/Berlin" or "UTC"'),
    days: z
      .array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']))
      .min(1, 'name at least one day, or leave days out')
      .optional()
      .describe('Days on which the hours begin; all when absent.'),
  })
  .refine(({ from, to }) => from !== to, { path: ['to'], message: 'must be another time than from' });

export type CutoverHours = z.output<typeof hoursSchema>;

function isTimeZone(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone });
    return true;
  } catch {
    return false;
  }
}

/** What is done about a step that failed: first hold, then step back, then block or roll back. */
const onFailureSchema = z
  .strictObject({
    holds: count
      .max(100)
      .default(1)
      .describe('How many times a ratio that failed is judged again after another interval.'),
    stepBacks: count
      .max(100)
      .default(1)
      .describe('How many times, over the whole ramp, it then goes back to the ratio before.'),
    then: z.enum(['block', 'rollback']).default('block').describe('What comes when both are used up.'),
    settle: duration({ min: 0, max: YEAR })
      .prefault('5 minutes')
      .describe('Time after a failure that is not judged, so that its cause can pass. At most the interval counts.'),
  })
  .prefault({});

/** Calls for groups and publishers that do not use the library. */
const hooksSchema = z
  .array(
    z.strictObject({
      name: name.describe("Unique in the migration. Of a webhook: as the worker's HOOKS_FILE has it."),
      kind: z
        .enum(['webhook', 'confirmation'])
        .describe('Whether a receiver is called over HTTP, or a person confirms by the update confirmHook.'),
      groups: z
        .array(name)
        .default([])
        .describe(
          'Groups, of those of the migration, that the hook stands for: their members do not use DualConsumer.',
        ),
      at: z.array(z.enum(HOOK_EVENTS)).min(1, 'name at least one event').describe('When it is called.'),
      timeout: duration({ min: 100, max: YEAR })
        .prefault('10 seconds')
        .describe('How long a call may take; while publishers are held no longer than the window.'),
    }),
  )
  .default([])
  .superRefine((hooks, context) => {
    for (const [index, hook] of hooks.entries()) {
      for (const message of hookProblems(hook, hooks.slice(0, index))) {
        context.addIssue({ code: 'custom', path: [index], message });
      }
    }
  });

type Hook = z.output<typeof hooksSchema>[number];

function hookProblems({ name: own, groups, at }: Hook, before: readonly Hook[]): string[] {
  const problems: string[] = [];
  const missing = (wanted: readonly HookEvent[]): string => wanted.filter((event) => !at.includes(event)).join(' and ');
  if (before.some(({ name: other }) => other === own)) problems.push(`there is a hook ${own} already`);
  const taken = groups.filter((group) => before.some((other) => other.groups.includes(group)));
  if (taken.length > 0) problems.push(`another hook stands for ${taken.join(', ')} already`);
  const [moves, holds] = [
    missing(['stop-consumers', 'resume-on-owlmq', 'resume-on-kafka']),
    missing(['resume-on-owlmq', 'resume-on-kafka']),
  ];
  if (groups.length > 0 && moves !== '') problems.push(`stands for groups, so it must be called at ${moves} too`);
  else if ((at.includes('hold-publishers') || at.includes('stop-consumers')) && holds !== '') {
    problems.push(`what it holds or stops must go on again: it must be called at ${holds} too`);
  }
  return problems;
}

/** Shape and defaults of the workflow's input. Defaults are those of the playbook. */
/** The input of one migration. */
export const migrationInputSchema = z
  .strictObject({
    topics: uniqueNames('topic').describe('Kafka topics to move.'),
    groups: uniqueNames('group').describe('Consumer groups to move; all must consume only these topics.'),
    forward: z
      .array(name)
      .refine((names) => new Set(names).size === names.length, 'names a topic twice')
      .default([])
      .describe('Topics, of those above, whose records from producers without the library the bridge copies to OwlMQ.'),
    noise: z
      .strictObject({
        duration: duration({ min: 0, max: YEAR })
          .prefault(0)
          .describe('How long every group must be compared with itself; 0: not at all.'),
        minComparisons: z
          .number()
          .int()
          .min(1)
          .default(1_000)
          .describe('Comparisons that each group needs within that time.'),
        lateness: duration({ min: 100, max: 24 * HOUR })
          .prefault('1 minute')
          .describe("How late an observation may be before the other run's counts as missing."),
      })
      .prefault({})
      .describe('Before the ramp: what handlers do differently by themselves, measured on Kafka alone.'),
    ramp: z
      .strictObject({
        step: z
          .number()
          .gt(0, 'must be more than 0, for example 0.1 for 10%')
          .max(1)
          .default(0.1)
          .describe('Share added at each step, above 0 and up to 1.'),
        interval: duration({ min: 100, max: YEAR }).prefault('1 hour').describe('Time between steps.'),
        gates: gatesSchema,
        onFailure: onFailureSchema,
      })
      .prefault({})
      .describe('Raises the share of messages that are copied to OwlMQ, step by step, each judged by its gates.'),
    soak: z
      .strictObject({
        duration: duration({ min: 1_000, max: YEAR })
          .prefault('48 hours')
          .describe('How long the shadows must show zero discrepancies without a break.'),
        minComparisons: z
          .number()
          .int()
          .min(1)
          .default(1_000)
          .describe('Comparisons that each group needs within that time; fewer are inconclusive.'),
        lateness: duration({ min: 100, max: 24 * HOUR })
          .prefault('1 minute')
          .describe("How late an observation may be before the other side's counts as missing."),
        parallelism: parallelism.describe(
          'Activities that share the partitions of the observations topic. One joins tens of thousands of messages a second; more of them help only as far as there are workers to run them.',
        ),
      })
      .prefault({})
      .describe('Shadows of every group handle the copies on OwlMQ, and are compared with the live consumers.'),
    cutover: z
      .strictObject({
        window: duration({ min: 1_000, max: HOUR })
          .prefault('30 seconds')
          .describe('One deadline over the whole window. Past it the cutover is cancelled.'),
        trigger: z
          .enum(['automatic', 'approval'])
          .default('automatic')
          .describe('Whether it begins as soon as every check passes, or waits for approve.'),
        hours: hoursSchema
          .optional()
          .describe('Allowed hours; at any time when absent. The whole window has to fit into them.'),
        backOff: duration({ min: 100, max: 7 * 24 * HOUR })
          .prefault('10 minutes')
          .describe('Wait after a cancelled attempt before the next.'),
        maxAttempts: z
          .number()
          .int()
          .min(1)
          .max(100)
          .default(3)
          .describe('Attempts before the workflow blocks and waits for a person.'),
      })
      .prefault({})
      .describe('Moves positions and switches publishers and consumers to OwlMQ, in one window.'),
    warm: z
      .strictObject({
        duration: duration({ min: 1_000, max: YEAR })
          .prefault('14 days')
          .describe('How long Kafka is kept as a mirror after the cutover.'),
        rehearsal: duration({ min: 500, max: YEAR })
          .prefault('24 hours')
          .describe('Time between two rehearsals of the way back.'),
      })
      .prefault({})
      .describe('Kafka stays a mirror, so that there is a way back.'),
    decommission: z
      .enum(['automatic', 'approval'])
      .default('approval')
      .describe('Whether the end of the warm period stops Kafka writes by itself or waits for approve.'),
    hooks: hooksSchema,
    audit: z
      .strictObject({
        grace: duration({ min: 100, max: HOUR })
          .prefault('1 minute')
          .describe(
            'How long a copy may take before the audit repairs it. Longer than publishers go on trying (30 s by default): Kafka cannot tell a late copy from a second one.',
          ),
        parallelism: parallelism.describe(
          "Activities that share the partitions of an audit. One already works on several partitions at a time; more of them help only as far as there are workers to run them, and each adds to the run's history.",
        ),
      })
      .prefault({})
      .describe('Proves that every intended copy is on the other leg, and repairs what is missing.'),
    lease: duration({ min: 1_000, max: 60_000 })
      .prefault('10 seconds')
      .describe(
        'How long members trust a routing state after they last read it, and last reported; how long a dead one is waited for.',
      ),
    rehearsal: z
      .boolean()
      .default(false)
      .describe(
        'Runs every step against a model: no activity is scheduled where a worker with connections could take it.',
      ),
    offsetReset: z
      .enum(['earliest', 'latest'])
      .default('earliest')
      .describe('Where a group begins on partitions on which it never committed: its own auto.offset.reset.'),
  })
  .refine(({ cutover, lease }) => cutover.window >= 2 * lease, {
    path: ['cutover', 'window'],
    message: 'must be at least twice the lease: a member that died is waited out for a lease within the window',
  })
  .refine(({ cutover }) => cutover.hours === undefined || lengthOf(cutover.hours) >= cutover.window, {
    path: ['cutover', 'hours'],
    message: 'must be at least as long as the window',
  })
  .refine(({ topics, forward }) => forward.every((topic) => topics.includes(topic)), {
    path: ['forward'],
    message: 'names a topic that is not one of topics',
    // Told together with whatever else is wrong.
    when: ({ value }) => bothAreLists(value),
  })
  .refine(({ groups, hooks }) => hooks.every((hook) => hook.groups.every((group) => groups.includes(group))), {
    path: ['hooks'],
    message: 'stands for a group that is not one of groups',
    when: ({ value }) => hasHooks(value),
  })
  .refine(({ groups, hooks }) => groups.some((group) => !hooks.some((hook) => hook.groups.includes(group))), {
    path: ['hooks'],
    message:
      'stand for every group, so that nothing would be compared: let one at least embed DualConsumer, or report to the observation endpoint, and leave it out of the hooks',
    when: ({ value }) => hasHooks(value),
  });

function lengthOf({ from, to }: CutoverHours): number {
  const minutes = (minuteOfDay(to) - minuteOfDay(from) + MINUTES_A_DAY) % MINUTES_A_DAY;
  return minutes * 60_000;
}

export const MINUTES_A_DAY = 1_440;

/** @param time as `hoursSchema` has it. */
export function minuteOfDay(time: string): number {
  const [hour = 0, minute = 0] = time.split(':').map(Number);
  return hour * 60 + minute;
}

function bothAreLists(input: unknown): boolean {
  const { topics, forward } = input as { topics?: unknown; forward?: unknown };
  return Array.isArray(topics) && Array.isArray(forward);
}

function hasHooks(input: unknown): boolean {
  const { groups, hooks } = input as { groups?: unknown; hooks?: unknown };
  return Array.isArray(groups) && groups.length > 0 && hooksSchema.safeParse(hooks).success;
}

/**
 * The input's shape as JSON Schema (2020-12), for editors. What depends on more than one field is told by
 * `parseMigrationInput` alone.
 */
export function migrationInputJsonSchema(): Record<string, unknown> {
  return inputJsonSchema(migrationInputSchema, 'Input of migrateKafkaToOwlmq');
}

/** Input as a user writes it. */
export type MigrationInput = z.input<typeof migrationInputSchema>;

/** Input with defaults filled in and durations in ms. */
export type MigrationPlan = z.output<typeof migrationInputSchema>;

/**
 * Validates the input and fills in the defaults.
 *
 * @throws {InvalidInputError} with every problem at once.
 */
export function parseMigrationInput(input: unknown): MigrationPlan {
  return parseInput(migrationInputSchema, input);
}
