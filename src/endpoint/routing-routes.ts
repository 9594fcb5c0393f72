import type { RoutingState } from '@owlmq/kafka-bridge/operations';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { freshState, type EndpointContext } from './context.js';
import { inTime } from './in-time.js';
import { checked, readPath } from './parameters.js';

const MAX_WAIT_SECONDS = 60;

const querySchema = z.strictObject({
  after: z.coerce.number().int().nonnegative().optional(),
  wait: z.coerce.number().min(0).max(MAX_WAIT_SECONDS).default(0),
});

/** Time on this worker's clock as it was set when the process started, Unix ms: it never goes back, and leases are counted on it. */
export function workerTime(): number {
  return performance.timeOrigin + performance.now();
}

/**
 * What a consumer needs to know of a routing state.
 *
 * @param asOf when the request came in: the state was read from Kafka after that.
 */
export function routingAnswer(state: RoutingState, asOf: number): Record<string, unknown> {
  const { migration, epoch, topics, groups, live, mirror, shadow, shadowFrom, ratio, forward, drain, leaseMs } = state;
  return { migration, epoch, asOf, leaseMs, topics, groups, live, mirror, shadow, shadowFrom, ratio, forward, drain };
}

/** `GET /v1/migrations/{migration}/routing` */
export function routingRoutes(app: FastifyInstance, context: EndpointContext): void {
  app.get('/v1/migrations/:migration/routing', async (request, reply) => {
    const asOf = workerTime();
    const { migration } = readPath(request.params);
    const { after, wait } = checked(querySchema, request.query, 'The query cannot be read.');
    const state = await inTime(() => freshState(context, migration));
    if (after === undefined || state.epoch > after || wait === 0) return routingAnswer(state, asOf);
    const gone = new AbortController();
    reply.raw.once('close', () => {
      gone.abort();
    });
    // Not so long that the answer would be too old to report by.
    const ms = Math.min(wait * 1_000, state.leaseMs / 2);
    await context.board.waitBeyond(migration, after, ms, AbortSignal.any([gone.signal, context.closing]));
    return routingAnswer(await inTime(() => freshState(context, migration)), asOf);
  });
}
