import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseRetryAfter } from '@owlmq/kafka-bridge/operations';
import { ApplicationFailure, Context } from '@temporalio/activity';
import { Webhook } from 'standardwebhooks';
import type { WebhookTarget } from '../webhook-targets.js';
import type { Dependencies } from './dependencies.js';
import { withHeartbeat } from './heartbeat.js';
import type { CallHookRequest, HookAnswer, MigrationActivities } from './migration-activities.js';

/** Longest time of one attempt: a receiver that needs longer answers with 202. */
const ATTEMPT_MS = 15_000;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;
/** Of a body that says why; no more of it is read or shown. */
const READ_BYTES = 4_096;
const SHOWN_CHARACTERS = 300;

/** What came of one attempt. */
type Attempt =
  { is: 'done' | 'accepted'; status: number } | { is: 'refused' | 'again'; why: string; waitMs?: number | undefined };

/** The step that calls a webhook. */
export function hookActivities({ webhooks }: Pick<Dependencies, 'webhooks'>): Pick<MigrationActivities, 'callHook'> {
  return {
    callHook: (request) =>
      withHeartbeat<HookAnswer, string>(async ({ signal, record }) => {
        const target = webhooks?.get(request.hook);
        // Another worker may know it.
        if (target === undefined) throw new Error(`This worker's HOOKS_FILE has no webhook ${request.hook}.`);
        const deadline = performance.now() + timeLeftMs(request.timeoutMs);
        const id = webhookId(request);
        const body = bodyOf(id, request);
        for (let attempts = 1, pauseMs = FIRST_PAUSE_MS; ; attempts += 1) {
          const limitMs = Math.max(1, Math.min(ATTEMPT_MS, deadline - performance.now()));
          const attempt = await post(target, id, body, limitMs, signal);
          signal.throwIfAborted();
          if ('status' in attempt) {
            return { accepted: attempt.is === 'accepted', status: attempt.status, attempts };
          }
          if (attempt.is === 'refused') throw failure('HookRefused', attempt.why);
          // Shown in the UI with the pending activity.
          record(`attempt ${attempts}: ${attempt.why}`);
          // So that receivers that were down together are not called together.
          const waitMs = attempt.waitMs ?? pauseMs * (0.75 + Math.random() / 2);
          if (performance.now() + waitMs >= deadline) {
            throw failure('HookTimedOut', `no success in time, ${attempts} attempts; the last: ${attempt.why}`);
          }
          await sleep(waitMs, undefined, { signal });
          pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
        }
      }),
  };
}

/** Counted from when the call was asked for, over all attempts, by a clock that may not be the server's. */
function timeLeftMs(timeoutMs: number): number {
  const left = Context.current().info.scheduledTimestampMs + timeoutMs - Date.now();
  return Math.max(Math.min(left, timeoutMs), Math.min(timeoutMs, 500));
}

/** The same for every attempt at a call, whichever worker makes it, and for no other call. */
function webhookId({ migration, epoch, attempt, event, hook }: CallHookRequest): string {
  const of = JSON.stringify([migration, epoch, attempt, event, hook]);
  return `hook_${createHash('sha256').update(of).digest('hex').slice(0, 40)}`;
}

function bodyOf(id: string, { timeoutMs: _, ...request }: CallHookRequest): string {
  return JSON.stringify({ type: 'migration.hook', id, ...request });
}

async function post(
  target: WebhookTarget,
  id: string,
  body: string,
  limitMs: number,
  signal: AbortSignal,
): Promise<Attempt> {
  const at = new Date();
  const late = AbortSignal.timeout(Math.ceil(limitMs));
  try {
    const response = await fetch(target.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'kafka-to-owlmq',
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
        'webhook-signature': target.secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(' '),
      },
      body,
      // What is signed is for this receiver alone.
      redirect: 'manual',
      signal: AbortSignal.any([signal, late]),
    });
    const { status } = response;
    if (response.ok) {
      await response.body?.cancel();
      return { is: status === 202 ? 'accepted' : 'done', status };
    }
    const said = await startOf(response, target);
    const why = `HTTP ${status}${said === '' ? '' : `: ${said}`}`;
    if (status >= 300 && status < 400) return { is: 'refused', why: `HTTP ${status}: redirects are not followed` };
    if (status !== 408 && status !== 429 && status < 500) return { is: 'refused', why };
    return { is: 'again', why, waitMs: parseRetryAfter(response.headers.get('retry-after')) };
  } catch (error) {
    if (late.aborted) return { is: 'again', why: `no answer within ${Math.round(limitMs)} ms` };
    // Its text may have the address in it.
    return { is: 'again', why: `not reached (${codeOf(error)})` };
  }
}

/** The start of a body, for a person: in one line, without the address and the secrets. */
async function startOf(response: Response, { url, secrets }: WebhookTarget): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    bytes += chunk.length;
    // Leaving cancels the rest.
    if (bytes >= READ_BYTES) break;
  }
  let text = Buffer.concat(chunks).subarray(0, READ_BYTES).toString();
  for (const hidden of [...secrets, ...secrets.map((secret) => secret.replace('whsec_', '')), url]) {
    text = text.replaceAll(hidden, '***');
  }
  return text
    .replaceAll(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, SHOWN_CHARACTERS);
}

function codeOf(error: unknown): string {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string') return at.code;
  }
  return error instanceof Error ? error.name : 'unknown error';
}

function failure(type: 'HookRefused' | 'HookTimedOut', message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, type);
}
