import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { isLoopback } from './settings.js';

/** Where a webhook is called, and the secrets that sign it: one, or an old and a new one while they are changed. */
export interface WebhookTarget {
  url: string;
  /** As Standard Webhooks writes them: `whsec_` and base64 of the bytes. */
  secrets: string[];
}

/** By the name under which the input of a migration has them. */
export type WebhookTargets = ReadonlyMap<string, WebhookTarget>;

/** Shorter ones can be guessed, and longer ones are hashed by HMAC: the bounds of Standard Webhooks. */
const SECRET_BYTES = { min: 24, max: 64 };
const SECRET_HINT = `must be whsec_ and base64 of ${SECRET_BYTES.min} to ${SECRET_BYTES.max} bytes, as of: echo "whsec_$(openssl rand -base64 32)"`;

const targetSchema = z
  .strictObject({
    url: z.string().refine(isSafeUrl, 'must be https://…, or http://… on the loopback, without a user in it'),
    secretFile: z.string().min(1).optional(),
    secretVariable: z.string().min(1).optional(),
  })
  .refine(({ secretFile, secretVariable }) => (secretFile === undefined) !== (secretVariable === undefined), {
    message: 'needs its secret in either secretFile or secretVariable',
  });

const fileSchema = z.record(z.string(), targetSchema);

/**
 * Reads which webhooks a worker can call: `{"NAME": {"url": "https://…", "secretFile": "…"}}`, or `secretVariable` with
 * the name of an environment variable. A relative `secretFile` lies beside the file.
 *
 * @param add told of everything that is wrong, without a URL or a secret.
 */
export function readWebhookTargets(
  file: string,
  environment: NodeJS.ProcessEnv,
  add: (problem: string) => void,
): WebhookTargets {
  const targets = new Map<string, WebhookTarget>();
  const fail = (problem: string): void => {
    add(`HOOKS_FILE: ${problem}`);
  };
  let given: unknown;
  try {
    given = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    // The text of a syntax error quotes the file.
    fail(`${file} ${error instanceof SyntaxError ? 'is no JSON' : `cannot be read (${codeOf(error)})`}`);
    return targets;
  }
  const parsed = fileSchema.safeParse(given);
  for (const { path: field, message } of parsed.error?.issues ?? []) fail(`${field.join('.')} ${message}`);
  for (const [name, { url, secretFile, secretVariable }] of Object.entries(parsed.data ?? {})) {
    let text: string | undefined;
    try {
      text =
        secretFile === undefined
          ? environment[secretVariable ?? '']
          : readFileSync(path.resolve(path.dirname(file), secretFile), 'utf8');
    } catch (error) {
      fail(`${name}.secretFile cannot be read (${codeOf(error)})`);
      continue;
    }
    const secrets = (text ?? '').split(/[\s,]+/).filter(Boolean);
    if (secrets.length === 0) fail(`${name}: there is no secret in ${secretFile ?? secretVariable ?? ''}`);
    else if (!secrets.every(isSecret)) fail(`${name}: the secret ${SECRET_HINT}`);
    else targets.set(name, { url, secrets });
  }
  return targets;
}

function isSafeUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname.replace(/^\[(.*)\]$/, '$1')));
}

function isSecret(text: string): boolean {
  const [, base64] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  if (base64 === undefined) return false;
  const bytes = Buffer.from(base64, 'base64');
  // Exactly as it would be written: other text is taken for something else by whoever is strict.
  return bytes.toString('base64') === base64 && bytes.length >= SECRET_BYTES.min && bytes.length <= SECRET_BYTES.max;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}
