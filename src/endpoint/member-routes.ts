import {
  parsePartitionName,
  ReportNotTakenError,
  RosterUnavailableError,
  type ConsumerReport,
  type MemberReport,
  type RoutingState,
} from '@owlmq/kafka-bridge/operations';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { freshState, stateFrom, type EndpointContext } from './context.js';
import { inTime } from './in-time.js';
import { checked, nameSchema, partitionName, pointerOf, readPath, wholeNumber } from './parameters.js';
import { ProblemError, type RequestProblem } from './problem.js';
import { routingAnswer, workerTime } from './routing-routes.js';

const MAX_BODY_BYTES = 512 * 1024;
const READ_WITHIN_MS = 5_000;
const MAX_PARTITIONS = 2_000;
/** Between the clocks of two workers. */
const CLOCK_SKEW_MS = 1_000;
/** Instances whose last report is remembered, so that an older one does not come behind it. */
const MAX_REMEMBERED = 10_000;

const byPartition = z
  .record(partitionName, wholeNumber)
  .refine((of) => Object.keys(of).length <= MAX_PARTITIONS, `must name at most ${MAX_PARTITIONS} partitions`);

const reportSchema = z
  .strictObject({
    group: nameSchema,
    epoch: wholeNumber,
    state: z.enum(['live-kafka', 'live-owlmq', 'drained', 'idle', 'lease-lost']),
    only: z.enum(['live', 'shadow']).optional(),
    shadow: z.boolean(),
    positions: byPartition.default({}),
    watermarks: z
      .strictObject({ live: byPartition.default({}), shadow: byPartition.default({}) })
      .default({ live: {}, shadow: {} }),
    applied: wholeNumber,
    failed: wholeNumber,
    known: z.strictObject({ asOf: z.number().nonnegative(), agoMs: z.number().nonnegative() }),
  })
  .refine(({ only, shadow }) => only !== 'live' || !shadow, {
    path: ['shadow'],
    message: 'must be false of an instance that has the live side alone',
  })
  .refine(
    ({ only, state, positions }) =>
      only !== 'shadow' || ((state === 'idle' || state === 'lease-lost') && Object.keys(positions).length === 0),
    {
      path: ['only'],
      message: 'an instance that has the shadow alone is idle or lease-lost, and has no positions',
    },
  );
type ReportBody = z.infer<typeof reportSchema>;

/** `PUT` and `DELETE /v1/migrations/{migration}/members/{instance}` */
export function memberRoutes(app: FastifyInstance, context: EndpointContext): void {
  /** When the last report of each was sent, on this worker's clock. */
  const lastSent = new Map<string, number>();

  app.put('/v1/migrations/:migration/members/:instance', { bodyLimit: MAX_BODY_BYTES }, (request) =>
    inTime(() => report(request)),
  );
  app.delete('/v1/migrations/:migration/members/:instance', async (request, reply) => {
    await inTime(() => leave(request));
    return await reply.code(204).send();
  });

  async function report(request: FastifyRequest): Promise<Record<string, unknown>> {
    const receivedAt = workerTime();
    const { migration, member } = readPath(request.params);
    const body = checked(reportSchema, request.body, 'The report cannot be read: nothing was reported.');
    const state = await stateFrom(context, migration, body.epoch);
    checkCovered(body, state);
    await checkPartitions(context, body);
    const sentAt = sentTime(body, receivedAt, state.leaseMs);
    const key = `${migration}/${member}`;
    if (sentAt < (lastSent.get(key) ?? 0)) {
      throw new ProblemError('stale-report', `A later report of ${member} has come already: report what is so now.`);
    }
    remember(lastSent, key, sentAt);
    await written(context, () => {
      const leaseMs = Math.floor(state.leaseMs - Math.max(0, workerTime() - sentAt));
      return leaseMs <= 0 ? undefined : reportOf(body, { migration, member, sentAt, leaseMs });
    });
    return routingAnswer(await freshState(context, migration), receivedAt);
  }

  async function leave(request: FastifyRequest): Promise<void> {
    const { migration, member } = readPath(request.params);
    await freshState(context, migration);
    const known = await lastReport(context, migration, member);
    if (known?.role !== 'consumer') {
      throw new ProblemError('not-found', `${member} has not reported to ${migration}: there is nothing to leave.`);
    }
    if (known.state !== 'left') {
      remember(lastSent, `${migration}/${member}`, workerTime());
      await written(context, () => ({
        ...known,
        ...{ state: 'left', shadow: false, at: new Date().toISOString(), live: {} },
        watermarks: { live: {}, shadow: {} },
      }));
    }
  }
}

async function lastReport(
  { roster }: EndpointContext,
  migration: string,
  member: string,
): Promise<MemberReport | undefined> {
  try {
    await roster.readToEnd({ timeoutMs: READ_WITHIN_MS });
  } catch (error) {
    if (!(error instanceof RosterUnavailableError)) throw error;
    throw new ProblemError('unavailable', `${error.message} Send the request again.`, [], { cause: error });
  }
  return roster.members(migration).find(({ report }) => report.instance === member)?.report;
}

/**
 * When a report was sent, on this worker's clock; never before it was. The client measures from when it sent an earlier
 * request, and the worker knows when it received that one.
 *
 * @throws {ProblemError} `stale-report` when the member has no lease by what it knows: it may be long gone.
 */
function sentTime({ known }: ReportBody, receivedAt: number, leaseMs: number): number {
  const knownForMs = receivedAt - known.asOf;
  if (knownForMs > leaseMs) {
    throw new ProblemError(
      'stale-report',
      `The answer named by known.asOf came in ${Math.round(knownForMs)} ms ago, longer than the lease of ${leaseMs} ms: get the routing, then report by that answer. Until then nothing may be applied.`,
    );
  }
  if (knownForMs < -CLOCK_SKEW_MS) {
    throw new ProblemError(
      'stale-report',
      'known.asOf lies ahead of the clock of this worker: it is not of an answer, or the clocks of the workers differ by more than a second. Get the routing, then report by that answer.',
    );
  }
  return Math.min(receivedAt, known.asOf + known.agoMs);
}

/** @throws {ProblemError} `not-covered`, with everything that the state does not name. */
function checkCovered(body: ReportBody, state: RoutingState): void {
  const { groups, topics } = state;
  const problems = namedPartitions(body)
    .filter(({ name }) => !topics.includes(parsePartitionName(name).topic))
    .map(({ at }): RequestProblem => ({ at, problem: `is of none of the topics ${topics.join(', ')}` }));
  if (!groups.includes(body.group)) problems.unshift({ at: '/group', problem: `is none of ${groups.join(', ')}` });
  if (problems.length === 0) return;
  throw new ProblemError(
    'not-covered',
    `Epoch ${state.epoch} of ${state.migration} does not name all of what is reported: start the migration with it, or report to another one.`,
    problems,
  );
}

/** @throws {ProblemError} `not-covered`, with the partitions that do not exist. */
async function checkPartitions(context: EndpointContext, body: ReportBody): Promise<void> {
  const problems = await context.partitions.problems(
    namedPartitions(body).map(({ at, name }) => ({ at, ...parsePartitionName(name) })),
  );
  if (problems.length > 0) {
    throw new ProblemError('not-covered', 'A partition does not exist: nothing was reported.', problems);
  }
}

/** Every partition in a report, and where. */
function namedPartitions({ positions, watermarks: { live, shadow } }: ReportBody): { at: string; name: string }[] {
  return Object.entries({ positions, 'watermarks/live': live, 'watermarks/shadow': shadow }).flatMap(([place, of]) =>
    Object.keys(of).map((name) => ({ at: `/${place}${pointerOf([name])}`, name })),
  );
}

function reportOf(
  body: ReportBody,
  of: { migration: string; member: string; sentAt: number; leaseMs: number },
): ConsumerReport {
  const { group, epoch, state, only, shadow, applied, failed, watermarks } = body;
  const live: ConsumerReport['live'] = {};
  for (const [name, offset] of Object.entries(body.positions)) {
    const { topic, partition } = parsePartitionName(name);
    (live[topic] ??= []).push([partition, offset]);
  }
  // As the clock is set now, which watermarks are about; leases do not follow when it is set.
  const sentAt = Math.floor(Date.now() - (workerTime() - of.sentAt));
  // A clock ahead of this one must not promise what is still to come.
  const known = (times: Record<string, number>): Record<string, number> =>
    Object.fromEntries(Object.entries(times).map(([name, time]) => [name, Math.min(time, sentAt)]));
  return {
    version: 1,
    migration: of.migration,
    instance: of.member,
    epoch,
    // What is left of it: whoever reads the report counts from when it was written.
    leaseMs: of.leaseMs,
    at: new Date(sentAt).toISOString(),
    role: 'consumer',
    group,
    state,
    ...(only === undefined ? {} : { only }),
    shadow,
    live,
    watermarks: { live: known(watermarks.live), shadow: known(watermarks.shadow) },
    applied,
    failed,
  };
}

async function written(context: EndpointContext, report: () => ConsumerReport | undefined): Promise<void> {
  try {
    await context.relay.write(report);
  } catch (error) {
    if (!(error instanceof ReportNotTakenError)) throw error;
    throw new ProblemError('unavailable', `${error.message} Report again, with what is so then.`, [], { cause: error });
  }
}

function remember(lastSent: Map<string, number>, key: string, sentAt: number): void {
  // Set anew at the end: the map stays in the order of the reports.
  lastSent.delete(key);
  lastSent.set(key, sentAt);
  for (const oldest of lastSent.keys()) {
    if (lastSent.size <= MAX_REMEMBERED) break;
    lastSent.delete(oldest);
  }
}
