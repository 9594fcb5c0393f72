import type { CliIo } from './cli-io.js';

/** Lines on a terminal that later ones replace. Elsewhere nothing is shown. */
export class LiveText {
  readonly #io: CliIo;
  #lines = 0;

  constructor(io: CliIo) {
    this.#io = io;
  }

  show(lines: readonly string[]): void {
    const { columns, rows = Number.POSITIVE_INFINITY } = this.#io;
    if (columns === undefined) return;
    // What is above the screen cannot be replaced. The cursor has a line of its own.
    const fitting = lines.length < rows ? lines : [...lines.slice(0, rows - 2), '… more than this screen holds'];
    // A line that wraps would take two, and the next text would begin too low.
    const cut = fitting.map((line) => (line.length < columns ? line : line.slice(0, columns - 1)));
    this.#io.out(`${this.#up()}${cut.map((line) => `${line}\n`).join('')}`);
    this.#lines = cut.length;
  }

  clear(): void {
    this.#io.out(this.#up());
    this.#lines = 0;
  }

  #up(): string {
    return this.#lines === 0 ? '' : `\x1b[${this.#lines}A\x1b[J`;
  }
}
