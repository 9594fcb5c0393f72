import type { z } from 'zod';
import { rootMessages } from '../../async/causes.js';
import {
  liveProblemSchema,
  liveViewSchema,
  migrationListSchema,
  type LiveView,
  type MigrationList,
} from '../../live-view.js';
import { CliError } from '../cli-error.js';
import { EXIT } from '../exit-codes.js';

const ANSWER_WITHIN_MS = 20_000;

/** The page, or what is before it, is away: it may come again. */
export class PageAwayError extends CliError {}

/** Asks the live page of a worker. Its errors are `CliError`s that say what to do. */
export class PageClient {
  readonly #url: string;
  readonly #token: string;

  constructor({ url, token }: { url: string; token: string }) {
    this.#url = url.replace(/\/+$/, '');
    this.#token = token;
  }

  async list(signal: AbortSignal): Promise<MigrationList> {
    return await this.#get('/api/migrations', migrationListSchema, signal);
  }

  async view(migration: string, signal: AbortSignal): Promise<LiveView> {
    return await this.#get(`/api/migrations/${encodeURIComponent(migration)}`, liveViewSchema, signal);
  }

  async #get<T>(path: string, schema: z.ZodType<T>, signal: AbortSignal): Promise<T> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${this.#url}${path}`, {
        headers: { authorization: `Bearer ${this.#token}` },
        // The token is for this address alone.
        redirect: 'error',
        signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]),
      });
      text = await response.text();
    } catch (error) {
      throw new PageAwayError(
        EXIT.unreachable,
        `The worker's live page at ${this.#url} does not answer (${rootMessages(error).join('; ')}). Does the worker run, with PAGE_ADDRESS, and is this its address? With no worker: temporal workflow query --type status, and kafka-bridge routing show.`,
        { cause: error },
      );
    }
    const answer = parsed(text);
    if (!response.ok) throw this.#refusal(response.status, answer);
    const { data, error } = schema.safeParse(answer);
    if (data !== undefined) return data;
    throw new CliError(
      EXIT.unreachable,
      `${this.#url} is no live page that this version understands: is it the address of the worker's page?`,
      { cause: error },
    );
  }

  #refusal(status: number, answer: unknown): CliError {
    const { data: problem } = liveProblemSchema.safeParse(answer);
    if (status === 401) {
      return new CliError(
        EXIT.unreachable,
        `The live page at ${this.#url} does not take the token: give the worker's PAGE_TOKEN, or its file as PAGE_TOKEN_FILE.`,
      );
    }
    const detail = problem?.detail ?? `HTTP ${status} without a reason: is this the address of the worker's page?`;
    const unknown = problem?.type === 'unknown-migration';
    const Kind = status >= 500 ? PageAwayError : CliError;
    return new Kind(
      unknown ? EXIT.refused : EXIT.unreachable,
      unknown ? `${detail} kafka-bridge status lists all.` : `${this.#url}: ${detail}`,
    );
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined; // Some other server: told as such.
  }
}
