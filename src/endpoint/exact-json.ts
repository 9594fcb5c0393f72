import { UncomparableOutputError } from '@owlmq/kafka-bridge/operations';
import { parse } from 'lossless-json';

/** Of a longer one nobody can say that it is a number that somebody counts with. */
const MAX_INTEGER_DIGITS = 1_000;
/** As many as `toExponential` shows. */
const MAX_DIGITS = 101;
/** Any number with as many characters, and no exponent, is told from any other by its double. */
const SURE_CHARS = 15;

/** A number of a JSON text that no double and no integer stands for. As a part of an output it makes it uncomparable. */
class InexactNumber {
  constructor(readonly text: string) {}

  toJSON(): never {
    throw new UncomparableOutputError(
      `The number ${this.text.slice(0, 40)} has more digits, or is larger or smaller, than a double can hold: send it as text.`,
    );
  }
}

/**
 * Reads JSON without changing the value of any number: one that is a double is a `number`; another integer a `bigint`;
 * anything else an `InexactNumber`, which has no canonical form.
 *
 * @throws {SyntaxError} when it is no JSON, or an object has a name twice.
 */
export function parseExactly(text: string): unknown {
  try {
    return parse(text, undefined, exactNumber);
  } catch (error) {
    // The parser calls itself for each level.
    if (error instanceof RangeError) throw new SyntaxError('It nests too deep.', { cause: error });
    throw error;
  }
}

function exactNumber(text: string): unknown {
  const value = Number(text);
  if (isSpellingOf(text, value)) return value;
  return /^-?\d+$/.test(text) && text.length <= MAX_INTEGER_DIGITS ? BigInt(text) : new InexactNumber(text);
}

/** Whether a text is what the double is when it is written with as many digits: its shortest form, or a longer one. */
function isSpellingOf(text: string, value: number): boolean {
  if (!Number.isFinite(value)) return false;
  if (text.length <= SURE_CHARS && !/[eE]/.test(text)) return true;
  const digits = significantDigits(text);
  if (digits === '') return true;
  if (digits.length > MAX_DIGITS) return false;
  return significantDigits(value.toExponential(digits.length - 1)) === digits;
}

/** Without sign, point, exponent, and zeros at either end. */
function significantDigits(text: string): string {
  const [mantissa = ''] = text.split(/[eE]/, 1);
  return mantissa.replace(/[-.]/g, '').replace(/^0+/, '').replace(/0+$/, '');
}
