import type { LiveAction, LiveProblem, MigrationList } from '@owlmq/kafka-bridge/live-view';

/** What the worker did not do, in words for a person. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  constructor(
    readonly status: number,
    readonly detail: string,
  ) {
    super(detail);
  }
}

/** This page's word, which pages from elsewhere cannot read. */
let csrf: string | undefined;

/** Whether somebody is logged in; learns the page's word. */
export async function isLoggedIn(): Promise<boolean> {
  try {
    csrf = (await send<{ csrf: string }>('GET', '/api/session')).csrf;
    return true;
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) return false;
    throw error;
  }
}

export async function login(token: string): Promise<void> {
  csrf = (await send<{ csrf: string }>('POST', '/api/login', { token })).csrf;
}

export async function logout(): Promise<void> {
  await send('POST', '/api/logout');
}

export async function listMigrations(): Promise<MigrationList> {
  return await send<MigrationList>('GET', '/api/migrations');
}

/** Asks for something, and returns what the migration answers. */
export async function ask(
  migration: string,
  request: { action: LiveAction; by: string; reason: string; phase?: string },
): Promise<string> {
  return (await send<{ answer: string }>('POST', `${apiPath(migration)}/requests`, request)).answer;
}

export function apiPath(migration: string): string {
  return `/api/migrations/${encodeURIComponent(migration)}`;
}

const ANSWER_WITHIN_MS = 30_000;

/** @throws {Refusal} */
async function send<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(method === 'POST' && csrf !== undefined ? { 'x-csrf-token': csrf } : {}),
      },
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    throw new Refusal(0, `The worker does not answer: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (response.status === 204) return undefined as T;
  const answer = (await response.json().catch(() => undefined)) as unknown;
  if (response.ok) return answer as T;
  const { detail = `HTTP ${response.status}` } = (answer ?? {}) as Partial<LiveProblem>;
  throw new Refusal(response.status, detail);
}
