import type { CliIo } from '../cli-io.js';
import { LiveText } from '../live-text.js';

/** How often progress is told where nothing can be shown in place. */
const TELL_EVERY_MS = 10_000;
const SHOW_EVERY_MS = 100;

/** Where a long step is: in place on a terminal, elsewhere a line now and then. */
export class Progress {
  readonly #io: CliIo;
  readonly #screen: LiveText;
  #shownAt = -Infinity;
  #toldAt = performance.now();

  constructor(io: CliIo) {
    this.#io = io;
    this.#screen = new LiveText(io);
  }

  show(line: string): void {
    const now = performance.now();
    if (this.#io.columns !== undefined) {
      if (now - this.#shownAt < SHOW_EVERY_MS) return;
      this.#shownAt = now;
      this.#screen.show([line]);
    } else if (now - this.#toldAt >= TELL_EVERY_MS) {
      this.#toldAt = now;
      this.#io.err(`${line}\n`);
    }
  }

  clear(): void {
    this.#screen.clear();
  }
}
