import { createInterface } from 'node:readline/promises';

/** What a command sees of the world around it besides Kafka and OwlMQ. */
export interface CliIo {
  /** Results, on standard output. */
  out: (text: string) => void;
  /** Notes, warnings and failures, on standard error. */
  err: (text: string) => void;
  /** Width of the terminal that results go to; undefined when they go elsewhere. */
  readonly columns: number | undefined;
  /** Height of that terminal. */
  readonly rows?: number | undefined;
  /** Asks a person and resolves with the answer, empty once the signal is aborted; undefined when there is nobody to ask. */
  readonly ask: ((question: string, signal?: AbortSignal) => Promise<string>) | undefined;
  /** Calls the listener at each Ctrl-C. Returns a function that ends it. */
  onInterrupt: (listener: () => void) => () => void;
  /** How long to wait for a Kafka that does not answer at once, ms (default: half a minute). */
  readonly reachWithinMs?: number;
}

/** The process's own. */
export function processIo(): CliIo {
  const { stdin, stdout, stderr } = process;
  return {
    out: (text) => {
      stdout.write(text);
    },
    err: (text) => {
      stderr.write(text);
    },
    get columns() {
      return stdout.isTTY ? stdout.columns : undefined;
    },
    get rows() {
      return stdout.isTTY ? stdout.rows : undefined;
    },
    ask: stdin.isTTY && stderr.isTTY ? askOnTerminal : undefined,
    onInterrupt: (listener) => {
      process.on('SIGINT', listener);
      process.on('SIGTERM', listener);
      return () => {
        process.off('SIGINT', listener);
        process.off('SIGTERM', listener);
      };
    },
  };
}

/** Ctrl-C and Ctrl-D answer with nothing. */
async function askOnTerminal(question: string, signal?: AbortSignal): Promise<string> {
  const ended = new AbortController();
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const close = (): void => {
    terminal.close();
  };
  terminal.once('close', () => {
    ended.abort();
  });
  signal?.addEventListener('abort', close);
  try {
    return await terminal.question(question, { signal: ended.signal });
  } catch (error) {
    if (!ended.signal.aborted) throw error;
    process.stderr.write('\n');
    return '';
  } finally {
    signal?.removeEventListener('abort', close);
    terminal.close();
  }
}
