import { asError } from '../async/bounded.js';
import { packFields } from './field-digests.js';
import type { Observation } from './observation.js';
import type { OutputDigester } from './output-digest.js';

/** What an observation says of how a handler ended. */
export type Told = Pick<Observation, 'version' | 'output' | 'error'>;

const MAX_ERROR_NAME_CHARS = 200;

/** Tells of an error of the handler. */
export function tellError(digester: OutputDigester, error: { name: string; message: string }): Told {
  return { version: 2, error: digestOf(digester, error) };
}

/**
 * Tells of an output.
 *
 * @param output gives what is to be digested.
 * @param onUncomparable told why it cannot be. That must not stop the service: the observation says so then.
 */
export function tellOutput(
  digester: OutputDigester,
  output: () => unknown,
  onUncomparable: (error: Error) => void,
): Told {
  try {
    const { fields, ...digest } = digester.digest(output());
    return { version: 2, output: { ...digest, fields: packFields(fields) } };
  } catch (error) {
    const told = asError(error);
    onUncomparable(told);
    return { version: 2, error: { ...digestOf(digester, told), uncomparable: true } };
  }
}

function digestOf(
  digester: OutputDigester,
  { name, message }: { name: string; message: string },
): { name: string; digest: string } {
  return { name: name.slice(0, MAX_ERROR_NAME_CHARS), digest: digester.short(message) };
}
