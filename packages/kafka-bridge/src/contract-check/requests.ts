import {
  encodeRecords,
  HEADS_MEDIA_TYPE,
  RECORDS_MEDIA_TYPE,
  type Contract,
  type RecordToFrame,
} from '../contract/index.js';

/** One HTTP request of the contract, or one that breaks it on purpose. */
export interface Request {
  /** For what is seen, for example `publish`. */
  operation: string;
  method: 'GET' | 'PUT' | 'POST' | 'DELETE' | 'PATCH';
  path: string;
  /** Bytes or text are sent as they are, anything else as JSON. */
  body?: unknown;
  mediaType?: string;
  accept?: string;
  /** Sends the body a little behind the head, for an answer that comes before it: it may be lost with the connection. */
  bodyLater?: true;
  /** In place of the endpoint's key; null sends none. */
  apiKey?: string | null;
  /** What stays behind when it succeeds. */
  creates?: { topic: string } | { group: string; memberId?: string };
}

type Query = Record<string, string | number | undefined>;

export interface ReadQuery extends Query {
  maxRecords?: number;
  maxBytes?: number;
  waitMs?: number;
  header?: string;
}

export const ACCEPT_HEADS = `${HEADS_MEDIA_TYPE}, ${RECORDS_MEDIA_TYPE};q=0.1`;

export function limits(): Request {
  return { operation: 'getLimits', method: 'GET', path: '/v1/limits' };
}

export function createTopic(topic: string, body: unknown): Request {
  return { operation: 'createTopic', method: 'PUT', path: topicPath(topic), body, creates: { topic } };
}

export function describeTopic(topic: string): Request {
  return { operation: 'describeTopic', method: 'GET', path: topicPath(topic) };
}

export function listTopics(): Request {
  return { operation: 'listTopics', method: 'GET', path: '/v1/topics' };
}

export function publish(topic: string, records: readonly RecordToFrame[]): Request {
  return publishBody(topic, encodeRecords(records));
}

/** As `publish`, with a body that need not be sound. */
export function publishBody(topic: string, body: unknown, mediaType = RECORDS_MEDIA_TYPE): Request {
  return { operation: 'publish', method: 'POST', path: `${topicPath(topic)}/records`, body, mediaType };
}

export function lookup(topic: string, ids: readonly string[]): Request {
  return { operation: 'lookup', method: 'POST', path: `${topicPath(topic)}/lookup`, body: { ids } };
}

export function readRecords(
  topic: string,
  partition: number,
  query: Query,
  accept: string = RECORDS_MEDIA_TYPE,
): Request {
  const path = `${topicPath(topic)}/partitions/${partition}/records${queryText(query)}`;
  return { operation: 'readRecords', method: 'GET', path, accept };
}

export function offsetsForTime(topic: string, time: number | undefined): Request {
  return { operation: 'offsetsForTime', method: 'GET', path: `${topicPath(topic)}/offsets${queryText({ time })}` };
}

export function listGroups(): Request {
  return { operation: 'listGroups', method: 'GET', path: '/v1/groups' };
}

export function describeGroup(group: string): Request {
  return { operation: 'describeGroup', method: 'GET', path: groupPath(group) };
}

export function setGroupOffsets(group: string, offsets: readonly Contract['GroupOffset'][], extra = {}): Request {
  const body = { offsets, ...extra };
  return { operation: 'setGroupOffsets', method: 'PUT', path: `${groupPath(group)}/offsets`, body, creates: { group } };
}

export function joinGroup(group: string, join: Contract['Join'], extra = {}): Request {
  const { memberId } = join;
  const creates = { group, ...(memberId === undefined ? {} : { memberId }) };
  return {
    ...{ operation: 'joinGroup', method: 'POST', path: `${groupPath(group)}/members` },
    ...{ body: { ...join, ...extra }, creates },
  };
}

export function leaveGroup(group: string, memberId: string): Request {
  return { operation: 'leaveGroup', method: 'DELETE', path: memberPath(group, memberId) };
}

export function heartbeat(group: string, memberId: string, generation: number, extra = {}): Request {
  const path = `${memberPath(group, memberId)}/heartbeat`;
  return { operation: 'heartbeat', method: 'POST', path, body: { generation, ...extra } };
}

export function fetchRecords(group: string, memberId: string, fetch: Contract['Fetch'], extra = {}): Request {
  const path = `${memberPath(group, memberId)}/fetch`;
  return { operation: 'fetch', method: 'POST', path, body: { ...fetch, ...extra } };
}

export function commit(
  group: string,
  memberId: string,
  generation: number,
  offsets: readonly Contract['GroupOffset'][],
  extra = {},
): Request {
  const path = `${memberPath(group, memberId)}/commit`;
  return { operation: 'commit', method: 'POST', path, body: { generation, offsets, ...extra } };
}

function topicPath(topic: string): string {
  return `/v1/topics/${encodeURIComponent(topic)}`;
}

function groupPath(group: string): string {
  return `/v1/groups/${encodeURIComponent(group)}`;
}

function memberPath(group: string, memberId: string): string {
  return `${groupPath(group)}/members/${encodeURIComponent(memberId)}`;
}

function queryText(query: Query): string {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) text.set(name, String(value));
  return text.size === 0 ? '' : `?${text.toString()}`;
}
