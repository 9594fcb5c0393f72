import type { Check, CheckReport } from './check.js';
import type { Endpoint } from './endpoint.js';
import { limits } from './requests.js';
import { Trial } from './trial.js';
import { ContractBrokenError, NoAnswerError, NotTriedError } from './verdicts.js';

export interface RunOptions {
  endpoint: Endpoint;
  checks: readonly Check[];
  /** Bound of each check. */
  checkTimeoutMs: number;
  /** Bound over all. Checks that are not begun by then are skipped. */
  timeoutMs: number;
  /** Ends the check under way and all that would follow. */
  signal: AbortSignal;
  /** Told before each check that is tried, and how many there were before it. */
  onStart?: (check: Check, before: number) => void;
}

/** What all checks found. */
export interface FoundByChecks {
  reports: CheckReport[];
  /** False when it was ended, or the time was over, before all had their turn. */
  complete: boolean;
}

/** A server that died on a request may be started again by whoever watches over it. */
const BACK_WITHIN_MS = 10_000;

/**
 * Tries the checks one after the other, in their order, and reports on every one. Never throws for what an endpoint
 * does: a check that is not kept is `broken`, and those that need it are `skipped`.
 */
export async function runChecks(options: RunOptions): Promise<FoundByChecks> {
  const { checks, signal } = options;
  const timeOver = AbortSignal.timeout(options.timeoutMs);
  const reports = new Map<string, CheckReport>();
  let gone: string | undefined;
  let complete = true;
  for (const check of checks) {
    const { name, section, expected } = check;
    const started = performance.now();
    const skipped = reasonToSkip(check, reports, { signal, timeOver, gone });
    let outcome: Outcome;
    if (skipped === undefined) {
      options.onStart?.(check, reports.size);
      outcome = await tryCheck(check, options, timeOver);
      if (outcome.noAnswer === true && !(await answersSoon(options, timeOver))) gone = name;
    } else {
      outcome = { result: 'skipped', seen: skipped };
    }
    const { result, seen } = outcome;
    if (result === 'skipped' && (signal.aborted || timeOver.aborted)) complete = false;
    reports.set(name, { name, section, expected, result, seen, ms: performance.now() - started });
  }
  return { reports: [...reports.values()], complete };
}

interface Outcome {
  result: CheckReport['result'];
  seen: string;
  noAnswer?: boolean;
}

function reasonToSkip(
  { needs }: Check,
  reports: ReadonlyMap<string, CheckReport>,
  { signal, timeOver, gone }: { signal: AbortSignal; timeOver: AbortSignal; gone: string | undefined },
): string | undefined {
  if (signal.aborted) return 'it was ended before';
  if (timeOver.aborted) return 'the time over all was over before';
  if (gone !== undefined) return `the endpoint has not answered since ${gone}`;
  const missing = needs
    .map((name) => ({ name, result: reports.get(name)?.result }))
    .find((one) => one.result !== 'kept');
  return missing === undefined ? undefined : `needs ${missing.name}, which is ${missing.result ?? 'not there'}`;
}

async function tryCheck(
  check: Check,
  { endpoint, checkTimeoutMs, signal }: RunOptions,
  timeOver: AbortSignal,
): Promise<Outcome> {
  const checkOver = check.waitsForRestart === true ? timeOver : AbortSignal.timeout(checkTimeoutMs);
  const trial = new Trial(endpoint, AbortSignal.any([signal, timeOver, checkOver]));
  try {
    return { result: 'kept', seen: await check.run(trial) };
  } catch (error) {
    if (error instanceof ContractBrokenError) return { result: 'broken', seen: error.message };
    if (error instanceof NoAnswerError) return { result: 'broken', seen: error.message, noAnswer: true };
    if (error instanceof NotTriedError) return { result: 'skipped', seen: error.message };
    if (signal.aborted) return { result: 'skipped', seen: 'it was ended meanwhile' };
    if (timeOver.aborted) return { result: 'skipped', seen: 'the time over all was over meanwhile' };
    if (checkOver.aborted) return { result: 'broken', seen: `not done within ${checkTimeoutMs / 1_000} s` };
    throw error;
  }
}

async function answersSoon({ endpoint, checkTimeoutMs, signal }: RunOptions, timeOver: AbortSignal): Promise<boolean> {
  const withinMs = Math.min(BACK_WITHIN_MS, checkTimeoutMs);
  const trial = new Trial(endpoint, AbortSignal.any([signal, timeOver, AbortSignal.timeout(withinMs)]));
  try {
    await trial.until('an answer', () => answers(trial), withinMs);
    return true;
  } catch (error) {
    if (error instanceof ContractBrokenError || trial.signal.aborted) return false;
    throw error;
  }
}

/** True when the endpoint answers at all; undefined when it does not. */
async function answers(trial: Trial): Promise<true | undefined> {
  try {
    await trial.send(limits());
    return true;
  } catch (error) {
    if (error instanceof NoAnswerError) return undefined;
    throw error;
  }
}
