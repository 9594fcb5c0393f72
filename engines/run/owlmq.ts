import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { checkoutRoot } from '../checkout.js';
import { hasCode } from '../errors.js';
import type { ServerPlan } from './server-plan.js';

/** The checkout's own OwlMQ server, run as a program: this room imports nothing of it. */
export function owlmqPlan(apiKey: string, folder: string): ServerPlan<'http'> {
  return {
    id: 'owlmq',
    title: 'OwlMQ',
    folder,
    preferredPorts: { http: 8085 },
    fingerprint: '',
    readyWithinMs: 30_000,
    graceMs: 10_000,
    command: ({ http }) => {
      const program = join(checkoutRoot, 'packages', 'owlmq-local', 'bin', 'owlmq-local.js');
      const listen = ['--host', '127.0.0.1', '--port', String(http), '--data', join(folder, 'data')];
      return Promise.resolve({
        file: process.execPath,
        args: [program, ...listen],
        env: { OWLMQ_API_KEY: apiKey },
        cwd: folder,
      });
    },
    probe: async ({ http }) => {
      const answer = await fetch(`http://127.0.0.1:${http}/healthz`, { signal: AbortSignal.timeout(5_000) });
      await answer.arrayBuffer();
      if (!answer.ok) throw new Error(`/healthz answered ${answer.status}`);
    },
  };
}

/** The data folder's API key; made on first use and readable by its owner alone. */
export async function keptApiKey(folder: string): Promise<string> {
  const file = join(folder, 'api-key');
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
  await mkdir(dirname(file), { recursive: true });
  const key = `owlmq_local_${randomBytes(24).toString('base64url')}`;
  await writeFile(`${file}.next`, `${key}\n`, { mode: 0o600 });
  await rename(`${file}.next`, file);
  return key;
}
