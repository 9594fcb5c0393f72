import { constants } from 'node:os';
import { InvalidArgumentError, type Command } from 'commander';

export function positive(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('must be a number above 0.');
  return value;
}

export function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('must be a whole number from 0.');
  return value;
}

/** The person asked to stop. */
class Interrupted extends Error {
  override readonly name = 'Interrupted';
  constructor(readonly signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP') {
    super(`ended by ${signal}`);
  }
}

/** A signal that is aborted when a person, or the system, asks this process to end. */
export function untilInterrupted(log: (line: string) => void): AbortSignal {
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // A terminal sends its Ctrl-C to npm too, which passes it on: it may come twice.
    process.on(signal, () => {
      if (!abort.signal.aborted) log('Ending everything that was started …');
      abort.abort(new Interrupted(signal));
    });
  }
  return abort.signal;
}

export interface RunOptions {
  /** From {@link untilInterrupted}. */
  readonly signal: AbortSignal;
  /** Errors that need no stack to be understood. */
  readonly expected: readonly (abstract new (...args: never[]) => Error)[];
  readonly log: (line: string) => void;
}

/** Runs a program to its end; the exit code says how it ended. */
export async function runProgram(program: Command, { signal, expected, log }: RunOptions): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    // What was asked for is the reason, whichever wait it cut short.
    const reason: unknown = signal.aborted ? signal.reason : error;
    if (!(reason instanceof Interrupted)) {
      const known = expected.some((type) => reason instanceof type);
      log(
        `\n${reason instanceof Error ? ((known ? reason.message : reason.stack) ?? reason.message) : String(reason)}`,
      );
    }
    process.exitCode = reason instanceof Interrupted ? 128 + constants.signals[reason.signal] : 1;
  }
  if (signal.aborted) log('Nothing is left running.');
}
