import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const READY_TIMEOUT_MS = 120_000;

/** Processes of members that a benchmark starts, from a script of this folder, until it stops them. */
export class MemberProcesses<Told extends { type: string }> {
  readonly #script: string;
  readonly #onTold: (told: Told) => void;
  readonly #children: ChildProcess[] = [];

  constructor(script: string, onTold: (told: Told) => void) {
    this.#script = fileURLToPath(new URL(script, import.meta.url));
    this.#onTold = onTold;
  }

  /** Resolves once the process has told that it is `ready`. */
  async start(request: object, env: Readonly<Record<string, string>>): Promise<void> {
    const child = fork(this.#script, [JSON.stringify(request)], { env: { ...process.env, ...env } });
    this.#children.push(child);
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error('A member was not ready in time.'));
      }, READY_TIMEOUT_MS);
      child.once('exit', () => {
        reject(new Error('A member has ended.'));
      });
      child.on('message', (told: Told) => {
        this.#onTold(told);
        if (told.type !== 'ready') return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null) return;
        const exited = once(child, 'exit');
        child.send('stop');
        const late = setTimeout(() => child.kill('SIGKILL'), 30_000);
        await exited;
        clearTimeout(late);
      }),
    );
  }
}
