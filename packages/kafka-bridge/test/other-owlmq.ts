import {
  decodeRecords,
  encodeRecords,
  HEADS_MEDIA_TYPE,
  RECORDS_MEDIA_TYPE,
  type Contract,
} from '../src/contract/index.js';
import type { Fault, Reply } from './broken-owlmq.js';

/**
 * A server that keeps the contract in another way than `owlmq-local`, wherever the contract leaves it open: it has fields
 * of its own, lists in an order that changes, other words for errors, reads that bring half of what there is, and no heads.
 */
export function otherOwlmq(): Fault {
  let answers = 0;
  return async (request, pass) => {
    const accept = request.headers['accept'];
    const withoutHeads = accept?.includes(HEADS_MEDIA_TYPE) === true ? { accept: RECORDS_MEDIA_TYPE } : {};
    const reply = await pass({ ...request, headers: { ...request.headers, ...withoutHeads } });
    switch (reply.headers['content-type']?.split(';', 1)[0]) {
      case 'application/json':
        return changed(reply, (json) => ({
          ...(answers++ % 2 === 0 ? reordered(json) : json),
          added: { by: 'another server' },
        }));
      case 'application/problem+json':
        return changed(reply, (json) => ({ ...json, title: 'No', detail: 'In other words.', instance: '/errors/1' }));
      case RECORDS_MEDIA_TYPE: {
        const records = decodeRecords(reply.body);
        return { ...reply, body: encodeRecords(records.slice(0, Math.ceil(records.length / 2))) };
      }
      default:
        return reply;
    }
  };
}

type Json = Record<string, unknown>;

function changed(reply: Reply, change: (json: Json) => Json): Reply {
  const type = String(reply.headers['content-type']);
  const headers = { ...reply.headers, 'content-type': `${type.split(';', 1)[0] ?? type} ; charset=UTF-8` };
  return { ...reply, headers, body: Buffer.from(JSON.stringify(change(JSON.parse(reply.body.toString()) as Json))) };
}

/** Lists that the contract gives no order. */
function reordered(json: Json): Json {
  const { assignment, groups, members, name, offsets } = json as Partial<Contract['Group'] & Contract['Membership']> & {
    groups?: string[];
  };
  return {
    ...json,
    ...(assignment === undefined ? {} : { assignment: assignment.toReversed() }),
    ...(groups === undefined ? {} : { groups: groups.toReversed() }),
    ...(members === undefined ? {} : { members: members.toReversed() }),
    // Without a name they are offsets for a time, one a partition.
    ...(offsets === undefined || name === undefined ? {} : { offsets: offsets.toReversed() }),
  };
}
