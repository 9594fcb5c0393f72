import { z } from 'zod';
import { answerShown, jsonOf, mediaTypeOf, type Answer } from './answers.js';
import type { Endpoint } from './endpoint.js';
import { limits, listGroups, listTopics, type Request } from './requests.js';
import { NoAnswerError } from './verdicts.js';

/** What is at the address cannot be examined. The message says what is there, and what to do. */
export class NoOwlmqError extends Error {
  override readonly name = 'NoOwlmqError';
}

/** Names that the checks would use are taken already. */
export class PrefixTakenError extends Error {
  override readonly name = 'PrefixTakenError';
}

const LIMIT = 'maxBatchRecords';
const PROBES = 5;
const LIST_WITHIN_MS = 10_000;
/** Either list, as far as names go. */
const listSchema = z.object({
  topics: z.array(z.object({ name: z.string() })).optional(),
  groups: z.array(z.string()).optional(),
});
/** A lease that is let end is at least as long as so many requests. */
const LEASE_ROUND_TRIPS = 25;
const MOST_LEASE_MS = 10_000;

/**
 * Proves that there is an OwlMQ that lets us in, whatever of the contract it keeps, and suits the leases of the
 * examination to the way there.
 *
 * @param withinMs how long it may take to answer.
 * @throws {NoOwlmqError}
 * @throws the reason of the signal when it aborts.
 */
export async function recogniseOwlmq(endpoint: Endpoint, withinMs: number, signal: AbortSignal): Promise<void> {
  const { href } = endpoint.url;
  const ended = AbortSignal.any([signal, AbortSignal.timeout(withinMs)]);
  try {
    const times: number[] = [];
    for (let probe = 0; probe < PROBES; probe++) {
      const answer = await endpoint.send(limits(), ended);
      refuseOthers(href, answer);
      times.push(answer.ms);
    }
    if (endpoint.leaseIsGiven) return;
    const median = times.sort((a, b) => a - b)[Math.floor(PROBES / 2)] ?? 0;
    endpoint.leaseMs = Math.min(MOST_LEASE_MS, Math.max(endpoint.leaseMs, Math.ceil(LEASE_ROUND_TRIPS * median)));
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof NoOwlmqError) throw error;
    if (ended.aborted) {
      const message =
        endpoint.refusals.count > 0
          ? `${href} said for ${withinMs / 1_000} s that it cannot answer now (429 or 503). Try again later.`
          : `${href} did not answer within ${withinMs / 1_000} s. Is the address right, and the way open?`;
      throw new NoOwlmqError(message, { cause: error });
    }
    if (!(error instanceof NoAnswerError)) throw error;
    throw new NoOwlmqError(`Nothing that speaks HTTP answers at ${href}: ${error.message}`, { cause: error });
  }
}

/** @throws {PrefixTakenError} when topics or groups with the prefix exist. */
export async function refuseTakenPrefix(endpoint: Endpoint, signal: AbortSignal): Promise<void> {
  const { prefix } = endpoint;
  const names = [
    ...(await namesOf(endpoint, listTopics(), signal)),
    ...(await namesOf(endpoint, listGroups(), signal)),
  ];
  const taken = names.filter((name) => name.startsWith(`${prefix}.`));
  if (taken.length === 0) return;
  throw new PrefixTakenError(
    `${taken.length} topics and groups with the prefix ${prefix} exist already, ${taken[0] ?? ''} for one: give another --prefix`,
  );
}

function refuseOthers(href: string, answer: Answer): void {
  const { status, headers } = answer;
  const what = `${href} answered GET /v1/limits with ${answerShown(answer)}`;
  if (status === 401 || status === 403) {
    throw new NoOwlmqError(`${what}. Check OWLMQ_API_KEY, and what the key may do.`);
  }
  if (status >= 300 && status < 400) {
    throw new NoOwlmqError(`${what}: it sends to ${String(headers['location'])}. Give the address of OwlMQ itself.`);
  }
  if (status === 429 || status >= 500) throw new NoOwlmqError(`${what}. It may be an OwlMQ that is not well.`);
  const json = jsonOf(answer);
  const known = typeof json === 'object' && json !== null && LIMIT in json;
  if (status !== 200 || !known) {
    const type = mediaTypeOf(headers);
    throw new NoOwlmqError(
      `${what}. That is no OwlMQ${type === 'text/html' ? ', but a page for people' : ''}: is the address right, its path too?`,
    );
  }
}

/** Names in a list; none where the endpoint does not answer with one: then a check says so. */
async function namesOf(endpoint: Endpoint, list: Request, signal: AbortSignal): Promise<string[]> {
  const ended = AbortSignal.any([signal, AbortSignal.timeout(LIST_WITHIN_MS)]);
  let json: unknown;
  try {
    json = jsonOf(await endpoint.send(list, ended));
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof NoAnswerError || ended.aborted) return [];
    throw error;
  }
  const { topics, groups } = listSchema.safeParse(json).data ?? {};
  return [...(topics ?? []).map(({ name }) => name), ...(groups ?? [])];
}
