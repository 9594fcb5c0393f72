import { setInterval, clearInterval } from 'node:timers';

/** Where lines for the person at the terminal go. */
export type Log = (line: string) => void;

/**
 * Says how long running work has taken so far: on a terminal in one line that is rewritten every second, elsewhere as a
 * line every 15 seconds. Work that ends within 2 seconds is not mentioned.
 */
export class Progress {
  private readonly running = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;
  private shown = false;
  private sinceLine = 0;

  private readonly terminal: NodeJS.WriteStream | undefined;

  /** Without `out` nothing is shown anywhere. */
  constructor(private readonly out: Log | undefined) {
    this.terminal = out !== undefined && process.stderr.isTTY ? process.stderr : undefined;
  }

  /** Prints a line without tearing the one that is being rewritten. */
  readonly log: Log = (line) => {
    this.clear();
    this.out?.(line);
    this.render();
  };

  /** Shows `what` for as long as `work` runs. */
  async during<T>(what: string, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    this.running.set(what, started);
    this.timer ??= setInterval(() => {
      this.tick();
    }, 1_000).unref();
    try {
      const result = await work();
      const took = performance.now() - started;
      this.forget(what);
      if (took >= 2_000) this.log(`${what}: done in ${elapsed(took)}`);
      return result;
    } finally {
      this.forget(what);
    }
  }

  private forget(what: string): void {
    this.clear();
    this.running.delete(what);
    if (this.running.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private tick(): void {
    if (this.terminal !== undefined) {
      this.clear();
      this.render();
      return;
    }
    if (++this.sinceLine % 15 === 0) this.out?.(this.line());
  }

  private render(): void {
    if (this.terminal === undefined || this.line() === '') return;
    this.terminal.write(this.line().slice(0, Math.max(20, this.terminal.columns - 1)));
    this.shown = true;
  }

  private clear(): void {
    if (this.shown) this.terminal?.write('\r\x1b[K');
    this.shown = false;
  }

  private line(): string {
    const now = performance.now();
    return [...this.running]
      .filter(([, started]) => now - started >= 2_000)
      .map(([what, started]) => `${what} … ${elapsed(now - started)}`)
      .join('  |  ');
  }
}

function elapsed(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}
