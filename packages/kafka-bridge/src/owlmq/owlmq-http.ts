import { setTimeout as sleep } from 'node:timers/promises';
import { Pool, type Dispatcher } from 'undici';
import type { Contract } from '../contract/index.js';
import type { CallOptions } from './owlmq-api.js';
import {
  OwlmqConfigError,
  OwlmqProtocolError,
  OwlmqThrottledError,
  OwlmqUnreachableError,
  problemError,
} from './owlmq-errors.js';
import { parseRetryAfter } from './retry-after.js';

/** One call: what is sent, and how it is named in errors. */
export interface HttpCall {
  /** For errors, for example `publish orders.created`. */
  operation: string;
  method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  path: string;
  /** Sent as JSON unless it is bytes. */
  body?: unknown;
  mediaType?: string;
  /** Media types of the answer, where several can be asked for. */
  accept?: string;
  /** How long the server may hold the request on purpose. Long polls have connections of their own. */
  waitMs?: number;
  options: CallOptions | undefined;
}

export interface HttpAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

export interface HttpOptions {
  url: URL;
  apiKey: string;
  /** Connections for calls that are answered at once. */
  connections: number;
  /** Connections for long polls. */
  pollConnections: number;
}

export const DEFAULT_TIMEOUT_MS = 10_000;
export const DEFAULT_ATTEMPTS = 6;
const FIRST_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 2_000;

/**
 * Requests to one OwlMQ endpoint: keep-alive connections, one deadline over all attempts of a call, retries after
 * 429, 5xx and broken connections with jittered backoff that honours `Retry-After`.
 */
export class OwlmqHttp {
  readonly #authorization: string;
  readonly #basePath: string;
  readonly #calls: Pool;
  readonly #polls: Pool;

  constructor({ url, apiKey, connections, pollConnections }: HttpOptions) {
    this.#authorization = `Bearer ${apiKey}`;
    this.#basePath = url.pathname.replace(/\/+$/, '');
    // The deadline of a call is its only timeout; undici's own would end long polls.
    const pool = (size: number): Pool =>
      new Pool(url.origin, { connections: size, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
    this.#calls = pool(connections);
    this.#polls = pool(pollConnections);
  }

  /**
   * Sends a call until it is answered with 2xx or an error that a repetition does not mend.
   *
   * @throws {OwlmqError} by what went wrong
   * @throws the reason of `options.signal` when it aborts
   */
  async send(call: HttpCall): Promise<HttpAnswer> {
    const timeoutMs = call.options?.timeoutMs ?? DEFAULT_TIMEOUT_MS + (call.waitMs ?? 0);
    const attempts = Math.max(1, call.options?.attempts ?? DEFAULT_ATTEMPTS);
    const signal = call.options?.signal;
    const ends = performance.now() + timeoutMs;
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted();
      const outcome = await this.#attempt(call, ends - performance.now(), timeoutMs);
      if ('answer' in outcome) return outcome.answer;
      const pause = backoffMs(attempt, outcome.retryAfterMs);
      if (!outcome.retriable || attempt >= attempts || performance.now() + pause >= ends) throw outcome.error;
      await sleep(pause, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
        signal?.throwIfAborted();
        throw error;
      });
    }
  }

  /** Ends all calls under way and closes the connections. */
  async close(): Promise<void> {
    const closed = new OwlmqConfigError('The OwlMQ client is closed');
    await Promise.all([this.#calls.destroy(closed), this.#polls.destroy(closed)]);
  }

  async #attempt(call: HttpCall, remainingMs: number, timeoutMs: number): Promise<Outcome> {
    const signal = call.options?.signal;
    const controller = new AbortController();
    const abort = (): void => {
      controller.abort();
    };
    const timer = setTimeout(abort, Math.max(0, remainingMs));
    signal?.addEventListener('abort', abort);
    try {
      const answer = await this.#request(call, controller.signal);
      return answer.status >= 200 && answer.status < 300 ? { answer } : refused(call, answer);
    } catch (error) {
      signal?.throwIfAborted();
      if (controller.signal.aborted) {
        const message = `${call.operation}: no answer from OwlMQ within ${Math.round(timeoutMs)} ms`;
        return { error: new OwlmqUnreachableError(message, 'timeout', { cause: error }), retriable: false };
      }
      if (error instanceof OwlmqConfigError) return { error, retriable: false };
      const message = `${call.operation}: the connection to OwlMQ failed: ${reasonOf(error)}`;
      return { error: new OwlmqUnreachableError(message, 'connection', { cause: error }), retriable: true };
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  async #request(call: HttpCall, signal: AbortSignal): Promise<HttpAnswer> {
    const headers: Record<string, string> = { authorization: this.#authorization };
    const request: Dispatcher.RequestOptions = {
      method: call.method,
      path: this.#basePath + call.path,
      headers,
      signal,
    };
    if (call.accept !== undefined) headers['accept'] = call.accept;
    if (call.body !== undefined) {
      request.body = Buffer.isBuffer(call.body) ? call.body : JSON.stringify(call.body);
      headers['content-type'] = call.mediaType ?? 'application/json';
    }
    const pool = call.waitMs === undefined || call.waitMs === 0 ? this.#calls : this.#polls;
    const response = await pool.request(request);
    return {
      status: response.statusCode,
      headers: response.headers,
      body: Buffer.from(await response.body.arrayBuffer()),
    };
  }
}

type Outcome = { answer: HttpAnswer } | { error: Error; retriable: boolean; retryAfterMs?: number | undefined };

function refused(call: HttpCall, answer: HttpAnswer): Outcome {
  const retryAfterMs = parseRetryAfter(answer.headers['retry-after']);
  const retriable = answer.status === 429 || answer.status >= 500;
  const error = problemError(problemOf(answer), call.operation, retryAfterMs);
  return { error, retriable, retryAfterMs: error instanceof OwlmqThrottledError ? retryAfterMs : undefined };
}

/** The problem of an answer, or one made from its status where a proxy or another server answered. */
function problemOf({ status, headers, body }: HttpAnswer): Contract['Problem'] {
  const text = body.toString('utf8');
  if (String(headers['content-type']).startsWith('application/problem+json')) {
    try {
      const problem = JSON.parse(text) as Partial<Contract['Problem']>;
      if (typeof problem.type === 'string' && typeof problem.detail === 'string') {
        return { ...problem, type: problem.type, title: problem.title ?? problem.type, status, detail: problem.detail };
      }
    } catch {
      // Told below as what it is: an answer that is no problem of the contract.
    }
  }
  const detail = `HTTP ${status} without a problem of the contract: ${text.slice(0, 200)}`;
  return {
    type: status === 429 ? 'throttled' : status === 503 ? 'unavailable' : 'internal',
    title: 'Unknown answer',
    status,
    detail,
  };
}

/** Reads a JSON answer. Its shape is the contract's: `kafka-bridge check-owlmq` proves it, not every call. */
export function json(call: string, answer: HttpAnswer): unknown {
  try {
    return JSON.parse(answer.body.toString('utf8')) as unknown;
  } catch (error) {
    throw new OwlmqProtocolError(`${call}: the answer is not JSON`, { cause: error });
  }
}

/** Full jitter, but never before the server said. */
function backoffMs(attempt: number, retryAfterMs: number | undefined): number {
  const ceiling = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (attempt - 1));
  return (retryAfterMs ?? 0) + ceiling * (0.5 + Math.random() / 2);
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as NodeJS.ErrnoException).code;
  return error.message === '' ? (code ?? error.name) : error.message;
}
