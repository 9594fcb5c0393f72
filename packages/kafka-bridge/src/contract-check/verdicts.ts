import { inspect, isDeepStrictEqual } from 'node:util';

/** The endpoint does otherwise than the contract says. The message is what was seen. */
export class ContractBrokenError extends Error {
  override readonly name = 'ContractBrokenError';
}

/** The endpoint did not answer: the connection failed or broke. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';
}

/** A check says nothing at this endpoint. The message says why. */
export class NotTriedError extends Error {
  override readonly name = 'NotTriedError';
}

const MOST_SHOWN = 240;

/** A value as it is shown in what was seen: short, whatever the endpoint sent. */
export function shown(value: unknown): string {
  const text = inspect(value, { depth: 4, breakLength: Infinity, maxArrayLength: 20, maxStringLength: MOST_SHOWN });
  return text.length <= MOST_SHOWN ? text : `${text.slice(0, MOST_SHOWN)}…`;
}

/** @throws {ContractBrokenError} unless both are equal in depth. */
export function same(what: string, seen: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(seen, expected)) {
    throw new ContractBrokenError(`${what}: ${shown(seen)}, not ${shown(expected)}`);
  }
}

/** @throws {ContractBrokenError} with `seen` unless it holds. */
export function holds(condition: boolean, seen: string): asserts condition {
  if (!condition) throw new ContractBrokenError(seen);
}
