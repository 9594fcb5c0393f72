import { randomUUID } from 'node:crypto';
import { bodyHead, encodeFetch, FETCH_MEDIA_TYPE, requestSchemas, type Contract } from '@owlmq/kafka-bridge/contract';
import type { Group } from '../groups/group.js';
import { groupEvent } from '../groups/group-registry.js';
import { partitionEvent } from '../store/topic-log.js';
import type { Context, Routes } from './context.js';
import { goneSignal, nameParameter } from './parameters.js';
import { ProblemError } from './problem.js';

const DEFAULT_JOIN_WAIT_MS = 5000;

/** Groups, their offsets, and the life of a member. Nothing is told of a group that is not on disk. */
export const groupRoutes: Routes = (app, context) => {
  const { groups } = context;

  app.get('/v1/groups', (): Contract['GroupList'] => ({ groups: groups.names() }));

  app.get('/v1/groups/:group', async ({ params }): Promise<Contract['Group']> => {
    const name = nameParameter(params, 'group');
    await groups.durable(name);
    const group = groups.find(name);
    if (group?.exists !== true) throw new ProblemError('unknown-group', `There is no group ${name}`);
    return group.describe();
  });

  app.put(
    '/v1/groups/:group/offsets',
    { schema: { body: requestSchemas.GroupOffsets } },
    async ({ params, body }, reply) => {
      const name = nameParameter(params, 'group');
      groups.get(name).setOffsets((body as Contract['GroupOffsets']).offsets);
      await groups.durable(name);
      return reply.code(204).send();
    },
  );

  app.post('/v1/groups/:group/members', { schema: { body: requestSchemas.Join } }, ({ params, body }, reply) => {
    return join(context, nameParameter(params, 'group'), body as Contract['Join'], goneSignal(reply));
  });

  app.delete('/v1/groups/:group/members/:memberId', async ({ params }, reply) => {
    const name = nameParameter(params, 'group');
    groups.find(name)?.leave(nameParameter(params, 'memberId'), performance.now());
    await groups.durable(name);
    return reply.code(204).send();
  });

  app.post(
    '/v1/groups/:group/members/:memberId/heartbeat',
    { schema: { body: requestSchemas.Heartbeat } },
    async ({ params, body }) => {
      const name = nameParameter(params, 'group');
      const memberId = nameParameter(params, 'memberId');
      const { generation } = body as Contract['Heartbeat'];
      const membership = groups.get(name).heartbeat(memberId, generation, performance.now());
      await groups.durable(name);
      return membership;
    },
  );

  app.post(
    '/v1/groups/:group/members/:memberId/commit',
    { schema: { body: requestSchemas.Commit } },
    async ({ params, body }, reply) => {
      const name = nameParameter(params, 'group');
      const { generation, offsets } = body as Contract['Commit'];
      groups.get(name).commit(nameParameter(params, 'memberId'), generation, offsets, performance.now());
      await groups.durable(name);
      return reply.code(204).send();
    },
  );

  app.post(
    '/v1/groups/:group/members/:memberId/fetch',
    { schema: { body: requestSchemas.Fetch } },
    async ({ params, body }, reply) => {
      const name = nameParameter(params, 'group');
      const memberId = nameParameter(params, 'memberId');
      const answer = await fetchRecords(context, name, memberId, body as Contract['Fetch'], goneSignal(reply));
      return reply.type(FETCH_MEDIA_TYPE).send(answer);
    },
  );
};

async function join(
  { groups, notifier, limits }: Context,
  name: string,
  request: Contract['Join'],
  gone: AbortSignal,
): Promise<Contract['Membership']> {
  const memberId = request.memberId ?? randomUUID();
  const started = performance.now();
  groups.get(name).join(memberId, request, started);
  const group = groups.get(name);
  const waitEnds =
    started + Math.min(request.waitMs ?? DEFAULT_JOIN_WAIT_MS, limits.maxWaitMs, group.longestWait(memberId));
  for (;;) {
    const now = performance.now();
    group.expire(now);
    const membership = group.membership(memberId, now);
    if (membership.state === 'stable' || now >= waitEnds || gone.aborted || notifier.closed) {
      await groups.durable(name);
      return membership;
    }
    await notifier.wait([groupEvent(name)], waitEnds - now, gone);
  }
}

async function fetchRecords(
  context: Context,
  name: string,
  memberId: string,
  request: Contract['Fetch'],
  gone: AbortSignal,
): Promise<Buffer> {
  const { groups, notifier, limits } = context;
  const { generation, positions } = request;
  const group = groups.get(name);
  const started = performance.now();
  group.heartbeat(memberId, generation, started);
  const waitEnds = started + Math.min(request.waitMs ?? 0, limits.maxWaitMs, group.longestWait(memberId));
  const events = [groupEvent(name), ...positions.map(({ topic, partition }) => partitionEvent(topic, partition))];
  for (;;) {
    const now = performance.now();
    group.expire(now);
    const membership = group.heartbeat(memberId, generation, now);
    if (membership.state === 'rebalancing') {
      await groups.durable(name);
      return encodeFetch({ membership, partitions: [] } satisfies Contract['FetchHead'], [bodyHead(0)]);
    }
    group.checkOwned(memberId, generation, positions);
    const gathered = gather(context, request, group);
    if (gathered.count > 0 || now >= waitEnds || gone.aborted || notifier.closed) {
      await groups.durable(name);
      const head: Contract['FetchHead'] = { membership, partitions: gathered.partitions };
      return encodeFetch(head, [bodyHead(gathered.count), ...gathered.slices]);
    }
    await notifier.wait(events, waitEnds - now, gone);
  }
}

/** Reads the wanted partitions up to the request's limits, each time from another one on, so that none starves. */
function gather(
  { log, limits }: Context,
  request: Contract['Fetch'],
  group: Group,
): { count: number; slices: Buffer[]; partitions: Contract['FetchedPartition'][] } {
  const { positions } = request;
  let records = request.maxRecords ?? 1000;
  let bytes = Math.min(request.maxBytes ?? 1024 * 1024, limits.maxFetchBytes);
  const first = positions.length === 0 ? 0 : group.nextTurn() % positions.length;
  const slices: Buffer[] = [];
  const partitions: Contract['FetchedPartition'][] = [];
  let count = 0;
  for (const { topic, partition, offset } of [...positions.slice(first), ...positions.slice(0, first)]) {
    log.checkOffset(topic, partition, offset);
    const full = records <= 0 || bytes <= 0;
    const run = full ? { count: 0, bytes: 0, slices: [] } : log.read(topic, partition, offset, records, bytes);
    records -= run.count;
    bytes -= run.bytes;
    count += run.count;
    slices.push(...run.slices);
    partitions.push({ topic, partition, count: run.count, endOffset: log.endOffset(topic, partition) });
  }
  return { count, slices, partitions };
}
