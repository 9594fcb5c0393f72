import type { Trial } from './trial.js';

/** One thing that the contract says, and how it is tried. */
export interface Check {
  /** `SUBJECT.WHAT`; never changes, since people and scripts name it. */
  readonly name: string;
  /** Where openapi/owlmq.yaml says it: a heading of its description, an operation or a schema. */
  readonly section: string;
  /** What the contract asks for, in words. */
  readonly expected: string;
  /** Checks that must be kept before this one says anything. */
  readonly needs: readonly string[];
  /** Waits for more than the endpoint, so that only the bound over all holds. */
  readonly waitsForRestart?: true;
  /**
   * Tries it, and resolves with what was seen, in words.
   *
   * @throws {ContractBrokenError} when the endpoint does otherwise.
   * @throws {NotTriedError} when it cannot be tried at this endpoint.
   */
  run(trial: Trial): Promise<string>;
}

export type CheckResult = 'kept' | 'broken' | 'skipped';

/** How a check ended. */
export interface CheckReport {
  name: string;
  section: string;
  expected: string;
  result: CheckResult;
  /** What was seen; with `skipped`, why it was not tried. */
  seen: string;
  ms: number;
}
