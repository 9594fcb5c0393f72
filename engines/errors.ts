/** One way of getting an engine that was tried, and what came of it. */
export interface Attempt {
  readonly way: string;
  readonly outcome: string;
}

/** No way of getting an engine worked. The message lists every way with its outcome, and what to install. */
export class EngineUnavailableError extends Error {
  override readonly name = 'EngineUnavailableError';

  constructor(
    readonly engine: string,
    readonly attempts: readonly Attempt[],
    readonly advice: readonly string[],
    options?: ErrorOptions,
  ) {
    super(
      [
        `${engine} is not available. Tried, in this order:`,
        ...attempts.map(({ way, outcome }, i) => `  ${i + 1}. ${way}: ${outcome}`),
        'Any one of these helps:',
        ...advice.map((line) => `  - ${line}`),
      ].join('\n'),
      options,
    );
  }
}

/** An engine was found but did not start, or did not answer in time. The message ends with the tail of its log. */
export class EngineStartError extends Error {
  override readonly name = 'EngineStartError';

  constructor(
    readonly engine: string,
    readonly reason: string,
    readonly log?: { readonly file: string; readonly tail: string },
    options?: ErrorOptions,
  ) {
    super(
      `${engine} ${reason}` +
        (log === undefined ? '' : `\nThe end of its log (${log.file}):\n${log.tail || '(the log is empty)'}`),
      options,
    );
  }
}

/** Environment variables that describe an engine contradict each other or are incomplete. The message says what to set. */
export class EngineConfigError extends Error {
  override readonly name = 'EngineConfigError';
}

/** Too little disk space to go on safely. */
export class DiskFullError extends Error {
  override readonly name = 'DiskFullError';
}

/** Another live process works in the same folder. */
export class FolderBusyError extends Error {
  override readonly name = 'FolderBusyError';
}

/** The text of anything thrown, for a line of a report. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether an error carries this Node error code, such as ENOENT. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
