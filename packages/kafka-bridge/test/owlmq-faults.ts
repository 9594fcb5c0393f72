import {
  decodeHeads,
  decodeRecords,
  encodeRecords,
  HEADS_MEDIA_TYPE,
  RecordFramesError,
  RECORDS_MEDIA_TYPE,
  type Contract,
  type FramedRecord,
} from '../src/contract/index.js';
import type { Exchange, Fault, Reply } from './broken-owlmq.js';

/** A way to break the contract, and the checks that it breaks. Checks that need those are skipped. */
export interface PlantedFault {
  what: string;
  broken: readonly string[];
  make: (server: { restarted: boolean }) => Fault;
  /** Shows only once the server was restarted. */
  restarts?: true;
  /** Subjects to try, with what they need; all by default. Only to save time. */
  only?: string;
}

/** Records that a server loses in a restart: more than can be under way without acknowledgement. */
const LOST = 3;

export const plantedFaults: readonly PlantedFault[] = [
  {
    what: 'lets in who sends no key',
    broken: ['auth.missing-key'],
    only: 'auth,topics,groups',
    make: () => (request, pass) =>
      pass({ ...request, headers: { authorization: 'Bearer test-key', ...request.headers } }),
  },
  {
    what: 'acknowledges without writing',
    broken: ['publish.written'],
    make: () => {
      const ends = new Map<string, number>();
      return onPublish(async (records, request, pass) => {
        const probe = await pass({ ...request, body: encodeRecords([]) });
        if (probe.status !== 200) return probe;
        const results = records.map(({ partition }) => {
          const place = `${request.path} ${partition}`;
          const offset = ends.get(place) ?? 0;
          ends.set(place, offset + 1);
          return { ok: true, partition, offset, duplicate: false };
        });
        return withJson(probe, { results });
      });
    },
  },
  {
    what: 'answers with results in another order',
    broken: ['publish.results'],
    make: () =>
      onPublish(async (_records, request, pass) =>
        changeJson<Contract['PublishResults']>(await pass(request), ({ results }) => ({ results: results.reverse() })),
      ),
  },
  {
    what: 'leaves gaps in offsets',
    broken: ['publish.offsets'],
    make: () => {
      let hidden = 0;
      const publishing = onPublish(async (records, request, pass) => {
        const last = records.at(-1);
        if (last === undefined || records.length === 1) return await pass(request);
        const extra = { ...last, id: `hidden-${hidden++}-${last.id}`, key: null };
        const reply = await pass({ ...request, body: encodeRecords([...records, extra]) });
        return changeJson<Contract['PublishResults']>(reply, ({ results }) => ({ results: results.slice(0, -1) }));
      });
      return async (request, pass) =>
        changeRecords(await publishing(request, pass), (records) =>
          records.filter(({ id }) => !id.startsWith('hidden-')),
        );
    },
  },
  {
    what: 'takes bytes for UTF-8',
    broken: ['publish.bytes'],
    only: 'publish,read',
    make: () =>
      onPublish((records, request, pass) => {
        const text = (bytes: Buffer | null): Buffer | null => (bytes === null ? null : Buffer.from(bytes.toString()));
        return pass({ ...request, body: encodeRecords(records.map((one) => ({ ...one, value: text(one.value) }))) });
      }),
  },
  {
    what: 'takes tombstones for empty values',
    broken: ['publish.null-and-empty'],
    only: 'publish',
    make: () =>
      onPublish((records, request, pass) =>
        pass({
          ...request,
          body: encodeRecords(records.map((one) => ({ ...one, value: one.value ?? Buffer.alloc(0) }))),
        }),
      ),
  },
  {
    what: 'drops headers of the same name',
    broken: ['publish.repeated-headers'],
    only: 'publish,read',
    make: () =>
      onPublish((records, request, pass) => {
        const unique = records.map((one) => ({ ...one, headers: [...new Map(one.headers)] }));
        return pass({ ...request, body: encodeRecords(unique) });
      }),
  },
  {
    what: 'writes what comes before a malformed record',
    broken: ['publish.malformed'],
    only: 'publish',
    make: () => async (request, pass) => {
      const { body } = request;
      if (isPublish(request) && soundRecords(body) === undefined && body.length > 12) {
        const head = Buffer.from(body.subarray(0, 8));
        head.writeUInt32BE(1, 4);
        await pass({ ...request, body: Buffer.concat([head, body.subarray(8, 12 + body.readUInt32BE(8))]) });
      }
      return await pass(request);
    },
  },
  {
    what: 'does not block the key of a failed entry',
    broken: ['publish.key-blocked'],
    only: 'publish,limits',
    make: () =>
      onPublish(async (records, request, pass) => {
        const reply = await pass(request);
        if (reply.status !== 200) return reply;
        const { results } = jsonOf(reply) as Contract['PublishResults'];
        for (const [index, record] of records.entries()) {
          const result = results[index];
          if (result?.ok !== false || result.type !== 'key-blocked') continue;
          const again = jsonOf(await pass({ ...request, body: encodeRecords([record]) })) as Contract['PublishResults'];
          results.splice(index, 1, ...again.results);
        }
        return withJson(reply, { results });
      }),
  },
  {
    what: 'forgets ids of batches that are under way',
    broken: ['ids.concurrent'],
    only: 'publish,ids,lookup',
    make: () => {
      const underWay = new Set<string>();
      let copies = 0;
      const publishing = onPublish(async (records, request, pass) => {
        const known = records.some(({ id }) => underWay.has(id));
        const sent = known ? records.map((one) => ({ ...one, id: `${one.id}~${copies++}` })) : records;
        for (const { id } of sent) underWay.add(id);
        try {
          return await pass({ ...request, body: encodeRecords(sent) });
        } finally {
          for (const { id } of sent) underWay.delete(id);
        }
      });
      return async (request, pass) => withoutSuffix(await publishing(request, pass));
    },
  },
  {
    what: 'answers a look-up in an order of its own',
    broken: ['lookup.places'],
    only: 'lookup,ids,limits',
    make: () => async (request, pass) => {
      const reply = await pass(request);
      if (!request.path.endsWith('/lookup')) return reply;
      return changeJson<Contract['LookupResult']>(reply, ({ places }) => ({ places: places.reverse() }));
    },
  },
  {
    what: 'says that it takes one id less than it does',
    broken: ['limits.lookup-ids'],
    only: 'limits',
    make: () => async (request, pass) => {
      const reply = await pass(request);
      if (request.path !== '/v1/limits') return reply;
      return changeJson<Contract['Limits']>(reply, (limits) => ({ ...limits, maxLookupIds: limits.maxLookupIds - 1 }));
    },
  },
  {
    what: 'does not know maxRecords',
    broken: ['read.from-offset', 'read.heads'],
    only: 'read',
    make: () => (request, pass) => {
      if (isRead(request) && request.query.get('maxRecords') !== '0') request.query.delete('maxRecords');
      return pass(request);
    },
  },
  {
    what: 'answers a long poll at once',
    broken: ['read.long-poll-wakes', 'read.long-poll-ends'],
    make: () => (request, pass) => {
      if (isRead(request)) request.query.delete('waitMs');
      return pass(request);
    },
  },
  {
    what: 'reads one past the end',
    broken: ['read.past-end'],
    only: 'read',
    make: () => async (request, pass) => {
      const reply = await pass(request);
      if (!isRead(request) || reply.status !== 422) return reply;
      const { endOffset = 0 } = jsonOf(reply) as Contract['Problem'];
      if (Number(request.query.get('offset')) !== endOffset + 1) return reply;
      const headers = { 'content-type': RECORDS_MEDIA_TYPE, 'owlmq-end-offset': String(endOffset) };
      return { status: 200, headers, body: encodeRecords([]) };
    },
  },
  {
    what: 'shows a topic that begins later, and reads before its begin',
    broken: ['read.before-begin'],
    only: 'read',
    make: () => async (request, pass) => {
      const reply = await pass(request);
      if (request.path !== '/v1/topics') return reply;
      return changeJson<Contract['TopicList']>(reply, ({ topics }) => {
        const [old, ...others] = topics;
        const partitions =
          old?.partitions.map((one) => ({ ...one, beginOffset: 1, endOffset: one.endOffset + 1 })) ?? [];
        return { topics: old === undefined ? [] : [{ ...old, partitions }, ...others] };
      });
    },
  },
  {
    what: 'says in heads that keys are longer',
    broken: ['read.heads'],
    only: 'read',
    make: () => async (request, pass) => {
      const reply = await pass(request);
      if (reply.headers['content-type'] !== HEADS_MEDIA_TYPE || decodeHeads(reply.body).length === 0) return reply;
      reply.body.writeInt32BE(7, 8 + 16);
      return reply;
    },
  },
  {
    what: 'sets some of the offsets when others cannot be set',
    broken: ['groups.set-all-or-none'],
    only: 'groups,errors',
    make: () => (request, pass) =>
      request.method === 'PUT' && request.path.endsWith('/offsets') ? oneByOne(request, pass) : pass(request),
  },
  {
    what: 'sets the offsets of a group with members',
    broken: ['groups.not-empty'],
    make: () => async (request, pass) => {
      const reply = await pass(request);
      return reply.status === 409 && request.path.endsWith('/offsets') ? empty(204) : reply;
    },
  },
  {
    what: 'commits some of the offsets when others cannot be committed',
    broken: ['members.commit'],
    only: 'members.commit,members.join,errors',
    make: () => (request, pass) => (request.path.endsWith('/commit') ? oneByOne(request, pass) : pass(request)),
  },
  {
    what: 'takes commits of a generation that is over',
    broken: ['members.stale-generation'],
    make: () => async (request, pass) => {
      const reply = await pass(request);
      if (reply.status !== 409 || !request.path.endsWith('/commit')) return reply;
      return (jsonOf(reply) as Contract['Problem']).detail.startsWith('Generation') ? empty(204) : reply;
    },
  },
  {
    what: 'gives a partition to two members',
    broken: ['members.assigned-once'],
    make: () => async (request, pass) => {
      const reply = await pass(request);
      if (!request.path.endsWith('/members') || reply.status !== 200) return reply;
      return changeJson<Contract['Membership']>(reply, (membership) => {
        const [own] = membership.assignment;
        if (own?.topic.endsWith('.groups') !== true || membership.assignment.length !== 2) return membership;
        const missing = [0, 1, 2, 3].find((partition) =>
          membership.assignment.every((one) => one.partition !== partition),
        );
        return { ...membership, assignment: [...membership.assignment, { ...own, partition: missing ?? 0 }] };
      });
    },
  },
  {
    what: 'lets leases end early',
    broken: ['members.lease-ends'],
    make: () => (request, pass) => {
      if (!request.path.endsWith('/members')) return pass(request);
      const join = jsonOf(request) as Contract['Join'];
      return pass(withBody(request, { ...join, sessionTimeoutMs: Math.round(join.sessionTimeoutMs / 2) }));
    },
  },
  {
    what: 'passes over fields that it does not know',
    broken: ['errors.unknown-fields'],
    make: () => (request, pass) => {
      const body = request.body.length === 0 || isPublish(request) ? undefined : jsonOf(request);
      if (typeof body !== 'object' || body === null || !('colour' in body)) return pass(request);
      return pass(withBody(request, { ...body, colour: undefined }));
    },
  },
  {
    what: 'sends errors as plain JSON',
    broken: ['errors.form'],
    make: () => async (request, pass) => {
      const reply = await pass(request);
      return reply.status < 400
        ? reply
        : { ...reply, headers: { ...reply.headers, 'content-type': 'application/json' } };
    },
  },
  {
    what: 'throttles without saying for how long',
    broken: ['errors.retry-after'],
    only: 'lookup,limits,errors',
    make: () => {
      let throttled = false;
      return async (request, pass) => {
        if (throttled || !request.path.endsWith('/lookup')) return await pass(request);
        throttled = true;
        const problem = { type: 'throttled', title: 'Throttled', status: 429, detail: 'too much' };
        return withJson({ ...empty(429), headers: { 'content-type': 'application/problem+json' } }, problem);
      };
    },
  },
  {
    what: 'loses the last records of each partition in a restart',
    broken: ['restart.records', 'restart.acknowledged'],
    restarts: true,
    only: 'restart',
    make: (server) => async (request, pass) => {
      const reply = await pass(request);
      if (!server.restarted) return reply;
      if (/^\/v1\/topics\/[^/]+$/.test(request.path)) {
        return changeJson<Contract['Topic']>(reply, (topic) => ({
          ...topic,
          partitions: topic.partitions.map((one) => ({ ...one, endOffset: Math.max(0, one.endOffset - LOST) })),
        }));
      }
      const end = Number(reply.headers['owlmq-end-offset'] ?? 0);
      return changeRecords(reply, (records) => records.filter(({ offset = 0 }) => offset < end - LOST));
    },
  },
  {
    what: 'forgets ids in a restart',
    broken: ['restart.ids'],
    restarts: true,
    only: 'restart',
    make: (server) => {
      const publishing = onPublish((records, request, pass) => {
        const sent = server.restarted ? records.map((one) => ({ ...one, id: `${one.id}~0` })) : records;
        return pass({ ...request, body: encodeRecords(sent) });
      });
      return async (request, pass) => withoutSuffix(await publishing(request, pass));
    },
  },
  {
    what: 'forgets the offsets of groups in a restart',
    broken: ['restart.group-offsets'],
    restarts: true,
    only: 'restart',
    make: (server) => async (request, pass) => {
      const reply = await pass(request);
      if (!server.restarted || !/^\/v1\/groups\/[^/]+$/.test(request.path)) return reply;
      return changeJson<Contract['Group']>(reply, (group) => ({ ...group, offsets: [] }));
    },
  },
  {
    what: 'forgets members in a restart',
    broken: ['restart.members'],
    restarts: true,
    only: 'restart',
    make: (server) => async (request, pass) => {
      if (!server.restarted || !request.path.endsWith('/heartbeat')) return await pass(request);
      return await pass(withBody(request, { generation: 1_000_000 }));
    },
  },
];

function isPublish({ method, path }: Exchange): boolean {
  return method === 'POST' && path.endsWith('/records');
}

function isRead({ method, path }: Exchange): boolean {
  return method === 'GET' && path.endsWith('/records');
}

/** A fault in sound publish requests; all others pass. */
function onPublish(
  publish: (records: FramedRecord[], request: Exchange, pass: (request: Exchange) => Promise<Reply>) => Promise<Reply>,
): Fault {
  return async (request, pass) => {
    const sound = isPublish(request) && request.headers['content-type'] === RECORDS_MEDIA_TYPE;
    const records = sound ? soundRecords(request.body) : undefined;
    return records === undefined ? await pass(request) : await publish(records, request, pass);
  };
}

function soundRecords(body: Buffer): FramedRecord[] | undefined {
  try {
    return decodeRecords(body);
  } catch (error) {
    if (error instanceof RecordFramesError) return undefined;
    throw error;
  }
}

function changeRecords(reply: Reply, change: (records: FramedRecord[]) => FramedRecord[]): Reply {
  if (reply.status !== 200 || reply.headers['content-type'] !== RECORDS_MEDIA_TYPE) return reply;
  return { ...reply, body: encodeRecords(change(decodeRecords(reply.body))) };
}

function withoutSuffix(reply: Reply): Reply {
  return changeRecords(reply, (records) => records.map((one) => ({ ...one, id: one.id.replace(/~\d+$/, '') })));
}

/** Hands the offsets of a request on one by one, until one is refused. */
async function oneByOne(request: Exchange, pass: (request: Exchange) => Promise<Reply>): Promise<Reply> {
  const body = jsonOf(request) as Contract['GroupOffsets'];
  if (body.offsets.length === 0) return await pass(request);
  let reply = empty(204);
  for (const offset of body.offsets) {
    reply = await pass(withBody(request, { ...body, offsets: [offset] }));
    if (reply.status !== 204) return reply;
  }
  return reply;
}

function jsonOf({ body }: { body: Buffer }): unknown {
  try {
    return JSON.parse(body.toString()) as unknown;
  } catch {
    return undefined;
  }
}

function withBody(request: Exchange, json: unknown): Exchange {
  return { ...request, body: Buffer.from(JSON.stringify(json)) };
}

function withJson(reply: Reply, json: unknown): Reply {
  return { ...reply, body: Buffer.from(JSON.stringify(json)) };
}

function changeJson<T>(reply: Reply, change: (json: T) => T): Reply {
  return reply.status < 300 ? withJson(reply, change(jsonOf(reply) as T)) : reply;
}

function empty(status: number): Reply {
  return { status, headers: {}, body: Buffer.alloc(0) };
}
