import { setMaxListeners } from 'node:events';
import { Readable } from 'node:stream';
import { Pool, type Dispatcher } from 'undici';
import { asError, pause } from '../async/bounded.js';
import { rootMessages } from '../async/causes.js';
import type { Contract } from '../contract/index.js';
import { answerShown, jsonOf, mediaTypeOf, problemSchema, problemStatus, type Answer } from './answers.js';
import { leaveGroup, type Request } from './requests.js';
import { NoAnswerError } from './verdicts.js';

export interface EndpointOptions {
  url: URL;
  apiKey: string;
  /** Begins the names of all topics, groups and members that are made. */
  prefix: string;
  /** Length of the leases that are let end, ms; by default it suits how long requests take. */
  leaseMs?: number | undefined;
  /** Restarts the endpoint, and resolves once that was done; undefined where it may not be. */
  restart?: ((signal: AbortSignal) => Promise<void>) | undefined;
}

const LEASE_MS = 1_000;
const CONNECTIONS = 16;
const CONNECT_TIMEOUT_MS = 10_000;
/** Requests that are refused for now are repeated this often, and then left as they are. */
const MAX_ATTEMPTS = 6;
const MAX_RETRY_AFTER_MS = 5_000;
const MAX_NOTED = 5;
/** Enough for an answer to a head that says too much. */
const BODY_LATER_MS = 200;
const CLEAN_UP_MS = 2_000;

/**
 * An endpoint under examination: raw HTTP to it, what was noticed in all of its answers, and what was made there.
 */
export class Endpoint {
  readonly url: URL;
  readonly prefix: string;
  /** Length of the leases that are let end, ms. A slow way to the endpoint needs longer ones. */
  leaseMs: number;
  readonly leaseIsGiven: boolean;
  readonly restart: EndpointOptions['restart'];
  /** What was made, and stays behind. */
  readonly topics = new Set<string>();
  readonly groups = new Set<string>();
  /** What errors were wrong in form, the first few. */
  readonly malformedErrors: string[] = [];
  /** Errors whose form was looked at. */
  errors = 0;
  /** Answers of 429 and 503, and those among them without a sound `Retry-After`. */
  readonly refusals = { count: 0, without: [] as string[] };
  /** Set by the check that reads them. */
  limits: Contract['Limits'] | undefined;
  /** What checks share, by name. */
  readonly shared = new Map<string, Promise<unknown>>();
  readonly #apiKey: string;
  readonly #basePath: string;
  readonly #pool: Pool;
  readonly #members = new Map<string, { group: string; memberId: string }>();
  #names = 0;

  constructor({ url, apiKey, prefix, leaseMs, restart }: EndpointOptions) {
    this.url = url;
    this.prefix = prefix;
    this.restart = restart;
    this.leaseMs = leaseMs ?? LEASE_MS;
    this.leaseIsGiven = leaseMs !== undefined;
    this.#apiKey = apiKey;
    this.#basePath = url.pathname.replace(/\/+$/, '');
    // A check's bound is the only timeout: undici's own would end long polls.
    this.#pool = new Pool(url.origin, {
      ...{ connections: CONNECTIONS, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 },
      connect: { timeout: CONNECT_TIMEOUT_MS },
    });
  }

  /** Another number each time. */
  next(): number {
    return this.#names++;
  }

  /**
   * Sends a request, again where the endpoint says that it cannot answer now.
   *
   * @throws {NoAnswerError} when the connection fails.
   * @throws the reason of the signal when it aborts.
   */
  async send(request: Request, signal: AbortSignal): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.sendOnce(request, signal);
      const { status } = answer;
      if ((status !== 429 && status !== 503) || attempt === MAX_ATTEMPTS) return answer;
      await pause(Math.min(MAX_RETRY_AFTER_MS, retryAfterMs(answer) ?? 1_000), signal);
    }
  }

  /** As `send`, without repetition. */
  async sendOnce(request: Request, signal: AbortSignal): Promise<Answer> {
    signal.throwIfAborted();
    const started = performance.now();
    try {
      const { statusCode, headers, body } = await this.#pool.request({ ...this.#toSend(request, signal), signal });
      const bytes = Buffer.from(await body.arrayBuffer());
      const ms = performance.now() - started;
      const answer = { operation: request.operation, status: statusCode, headers, body: bytes, ms };
      this.#note(request, answer);
      return answer;
    } catch (error) {
      signal.throwIfAborted();
      const message = `${request.operation}: no answer: ${reasonOf(error)}`;
      throw new NoAnswerError(message, { cause: error });
    }
  }

  /** Lets the members go that are left, as far as that is quick, and closes the connections. */
  async close(): Promise<void> {
    const signal = AbortSignal.timeout(CLEAN_UP_MS);
    setMaxListeners(0, signal);
    const leaving = [...this.#members.values()].map(({ group, memberId }) =>
      this.sendOnce(leaveGroup(group, memberId), signal),
    );
    // Those that stay are removed when their leases end.
    await Promise.allSettled(leaving);
    await this.#pool.destroy();
  }

  #toSend(
    { method, path, body, mediaType, accept, apiKey, bodyLater }: Request,
    signal: AbortSignal,
  ): Dispatcher.RequestOptions {
    const headers: Record<string, string> = {};
    if (apiKey !== null) headers['authorization'] = `Bearer ${apiKey ?? this.#apiKey}`;
    if (accept !== undefined) headers['accept'] = accept;
    if (body !== undefined) headers['content-type'] = mediaType ?? 'application/json';
    const options = { method, path: this.#basePath + path, headers };
    if (body === undefined) return options;
    const sent = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    if (bodyLater !== true) return { ...options, body: sent };
    headers['content-length'] = String(Buffer.byteLength(sent));
    return { ...options, body: Readable.from(later(sent, signal)) };
  }

  #note(request: Request, answer: Answer): void {
    const { status } = answer;
    const { creates } = request;
    if (status < 300 && creates !== undefined) {
      if ('topic' in creates) this.topics.add(creates.topic);
      else this.#noteMember(creates, answer);
    }
    if (status === 429 || status === 503) {
      this.refusals.count += 1;
      if (retryAfterMs(answer) === undefined) noteFirst(this.refusals.without, answer);
    }
    if (status < 400) return;
    this.errors += 1;
    const wrong = wrongWithError(answer);
    if (wrong !== undefined) noteFirst(this.malformedErrors, answer, wrong);
  }

  #noteMember({ group, memberId }: { group: string; memberId?: string }, answer: Answer): void {
    this.groups.add(group);
    if (answer.operation !== 'joinGroup') return;
    const told = jsonOf(answer) as { memberId?: unknown } | null | undefined;
    const id = memberId ?? told?.memberId;
    if (typeof id === 'string') this.#members.set(`${group}/${id}`, { group, memberId: id });
  }
}

async function* later(body: string | Buffer, signal: AbortSignal): AsyncGenerator<string | Buffer> {
  await pause(BODY_LATER_MS, signal);
  yield body;
}

/** What is wrong with an error in form; undefined when it is a problem of the contract. */
function wrongWithError(answer: Answer): string | undefined {
  if (mediaTypeOf(answer.headers) !== 'application/problem+json') return 'is not application/problem+json';
  const parsed = problemSchema.safeParse(jsonOf(answer));
  if (!parsed.success) return 'lacks a type, title, status or detail of the right kind';
  const { type, status } = parsed.data;
  if (!Object.hasOwn(problemStatus, type)) return `has the type ${type}, which the contract does not know`;
  const expected = problemStatus[type as Contract['ProblemType']];
  if (status !== answer.status) return `says status ${status}`;
  return expected === status ? undefined : `has the type ${type}, which belongs to status ${expected ?? '(none)'}`;
}

function noteFirst(notes: string[], answer: Answer, wrong?: string): void {
  if (notes.length >= MAX_NOTED) return;
  notes.push(`${answer.operation}: ${answerShown(answer)}${wrong === undefined ? '' : `; it ${wrong}`}`);
}

/** Only whole seconds: the contract has no dates. */
function retryAfterMs({ headers }: Answer): number | undefined {
  const header = headers['retry-after'];
  return typeof header === 'string' && /^\d+$/.test(header) ? Number(header) * 1_000 : undefined;
}

/** Why a request was not answered, as the bottom of the error says it. */
function reasonOf(error: unknown): string {
  const { code } = asError(error) as NodeJS.ErrnoException;
  const said = rootMessages(error).join('; ');
  return said === '' ? (code ?? 'the connection failed') : said;
}
