import type { RunEvent } from './run-log.js';

/** Where there is no terminal, a line of progress this often. */
const LINE_EVERY_MS = 30_000;

/** Shows how a run goes: in one line that changes on a terminal, a line now and then elsewhere. */
export class ChaosDisplay {
  #shown = false;
  #lineAt = 0;

  progress(elapsedMs: number, parts: readonly string[]): void {
    const line = [`${(elapsedMs / 1_000).toFixed(0).padStart(5)} s`, ...parts].join('  ');
    if (process.stdout.isTTY) {
      process.stdout.write(`\r\x1b[2K${line.slice(0, process.stdout.columns - 1)}`);
      this.#shown = true;
    } else if (elapsedMs >= this.#lineAt) {
      this.#lineAt = elapsedMs + LINE_EVERY_MS;
      this.line(line);
    }
  }

  event({ at, what, ...details }: RunEvent): void {
    this.line(`${Math.round(at)} ${what} ${JSON.stringify(details)}`);
  }

  /** A line of its own. */
  line(text: string): void {
    process.stdout.write(`${this.#shown ? '\r\x1b[2K' : ''}${text}\n`);
    this.#shown = false;
  }
}
