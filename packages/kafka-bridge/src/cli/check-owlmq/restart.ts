import { spawn } from 'node:child_process';
import { ContractBrokenError, NotTriedError } from '../../contract-check/verdicts.js';
import type { CliIo } from '../cli-io.js';

/** How the endpoint can be restarted; undefined where it is not to be. */
export function restartBy(
  { command, person }: { command: string | undefined; person: boolean },
  io: CliIo,
): ((signal: AbortSignal) => Promise<void>) | undefined {
  if (command !== undefined) return (signal) => runCommand(command, signal, io);
  const { ask } = io;
  if (!person || ask === undefined) return undefined;
  return async (signal) => {
    const answer = await ask('Restart OwlMQ now, best by SIGKILL. Type "done" once that is done: ', signal);
    signal.throwIfAborted();
    // Ctrl-C answers with nothing.
    if (answer.trim() !== 'done') throw new NotTriedError('the answer was not "done"');
  };
}

/** What the command writes goes to standard error. It may leave processes behind, as the start of a server does. */
async function runCommand(command: string, signal: AbortSignal, io: CliIo): Promise<void> {
  io.err(`Restarting: ${command}\n`);
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', process.stderr, process.stderr], signal });
  const how = await new Promise<string | undefined>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, killedBy) => {
      resolve(code === 0 ? undefined : (killedBy ?? `exit code ${String(code)}`));
    });
  });
  if (how !== undefined) throw new ContractBrokenError(`the command that restarts it failed: ${how}`);
}
