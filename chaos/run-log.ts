import { clockMs, EventLog } from '../demo/event-log.js';

/** What the harness itself did, in the order of time: states, fences, faults. */
export interface RunEvent {
  /** ms on the machine's monotonic clock. */
  at: number;
  what: string;
  [detail: string]: unknown;
}

/** Writes down what the harness does, in a file beside the outcomes, and tells who listens. */
export class RunLog {
  readonly #file: EventLog<RunEvent>;
  readonly #tell: (event: RunEvent) => void;

  constructor(path: string, tell: (event: RunEvent) => void) {
    this.#file = new EventLog(path);
    this.#tell = tell;
  }

  write(what: string, details: Readonly<Record<string, unknown>> = {}): void {
    const event = { at: clockMs(), what, ...details };
    this.#file.write(event);
    this.#tell(event);
  }

  close(): void {
    this.#file.close();
  }
}
