import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ForwardCheckpoint } from '../src/audit/checkpoints.js';
import type { ForwardAuditOptions } from '../src/audit/forward-audit.js';

/** What the process told after its last step. */
export interface Told {
  checkpoint: ForwardCheckpoint;
  complete: boolean;
  /** Most bytes of buffers and heap at a time. */
  peakBytes: number;
}

/**
 * Runs a forward audit in a process of its own until it is complete, or until it is killed.
 *
 * @param killAfterMs SIGKILL this long after its first step or, if it has none by then, its start.
 * @returns what it told last; undefined when it was killed before that.
 */
export async function runAudit(
  options: Omit<ForwardAuditOptions, 'owlmq'> & { owlmq: { url: string; apiKey: string }; stepMs: number },
  killAfterMs?: number,
): Promise<Told | undefined> {
  const script = fileURLToPath(new URL('./audit-process.mjs', import.meta.url));
  const child = fork(script, [JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  let told: Told | undefined;
  child.on('message', (message: Told) => {
    told = message;
  });
  const killing =
    killAfterMs === undefined
      ? undefined
      : setTimeout(() => {
          child.kill('SIGKILL');
        }, killAfterMs);
  const [code] = (await once(child, 'exit')) as [number | null];
  clearTimeout(killing);
  if (code !== 0 && killAfterMs === undefined) throw new Error(`The audit ended with ${code}.`);
  return told;
}
