import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const bin = fileURLToPath(new URL('../bin/owlmq-local.js', import.meta.url));

/** An owlmq-local in a process of its own, so that it can be killed. */
export class ServerProcess {
  private constructor(
    readonly url: string,
    private readonly child: ChildProcess,
    /** Exit code and signal, once it has ended. */
    readonly exited: Promise<unknown[]>,
  ) {}

  /** @param maxFileBlocks size limit of its files, in blocks of 1 KiB: a disk that gets full. */
  static async start(data: string, apiKey: string, maxFileBlocks?: number): Promise<ServerProcess> {
    const child = runBin(
      ['--port', '0', '--data', data, '--log-level', 'silent'],
      { OWLMQ_API_KEY: apiKey },
      maxFileBlocks,
    );
    const exited = once(child, 'exit');
    const stdout = child.stdout;
    if (stdout === null) throw new Error('no standard output');
    const line = once(createInterface({ input: stdout }), 'line').then(([text]) => String(text));
    const first = await Promise.race([line, exited.then(([code]) => `exited with ${String(code)}`)]);
    if (!first.startsWith('{')) throw new Error(`owlmq-local did not start: ${first}`);
    return new ServerProcess((JSON.parse(first) as { url: string }).url, child, exited);
  }

  /** Resolves with exit code and signal. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<unknown[]> {
    this.child.kill(signal);
    return this.exited;
  }
}

export function runBin(args: string[], env: Record<string, string>, maxFileBlocks?: number): ChildProcess {
  const limit = `ulimit -f ${maxFileBlocks ?? 'unlimited'}; exec "$0" "$@"`;
  return spawn('bash', ['-c', limit, process.execPath, bin, ...args], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}
