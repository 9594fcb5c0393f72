import { UncomparableOutputError } from '@owlmq/kafka-bridge/operations';
import { parse } from 'lossless-json';

/** Of a longer one nobody can say that it is a number that somebody counts with. */
const MAX_INTEGER_DIGITS = 1_000;
/** As many as `toExponential` shows. */
const MAX_DIGITS = 101;
/** Any number with as many characters, and no exponent, is told from any other by its double. */
const SURE_CHARS = 15;

/** Where a text has none of it, every number is told from any other by its double, and the platform's parser will do. */
const MAY_BE_INEXACT = /[\d.]{16}|\d[eE][-+]?\d{2}/;

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
 * Reads JSON without changing the value of any number: an integer that is a double, and another number that is how a
 * double is written, with few digits or many, is a `number`; another integer a `bigint`; anything else an `InexactNumber`, which has no canonical form. Of a name that comes twice the last counts, as ever.
 *
 * @throws {SyntaxError} when it is no JSON.
 */
export function parseExactly(text: string): unknown {
  if (!MAY_BE_INEXACT.test(text)) return JSON.parse(text) as unknown;
  try {
    return parse(text, undefined, { parseNumber: exactNumber, onDuplicateKey: ({ newValue }) => newValue });
  } catch (error) {
    // The parser calls itself for each level.
    if (error instanceof RangeError) throw new SyntaxError('It nests too deep.', { cause: error });
    throw error;
  }
}

function exactNumber(text: string): unknown {
  const value = Number(text);
  if (!/^-?\d+$/.test(text)) return isSpellingOf(text, value) ? value : new InexactNumber(text);
  if (Number.isSafeInteger(value)) return value;
  if (text.length > MAX_INTEGER_DIGITS) return new InexactNumber(text);
  const integer = BigInt(text);
  return Number.isFinite(value) && BigInt(value) === integer ? value : integer;
}

/** Whether a text is what the double is when it is written with as many digits: its shortest form, or a longer one. */
function isSpellingOf(text: string, value: number): boolean {
  if (!Number.isFinite(value)) return false;
  if (text.length <= SURE_CHARS && !/[eE]/.test(text)) return true;
  const digits = significantDigits(text);
  if (digits === '') return true;
  if (digits.length > MAX_DIGITS) return false;
  return [String(value), value.toExponential(digits.length - 1), roundedDown(value, digits.length)].some(
    (spelt) => significantDigits(spelt) === digits,
  );
}

/** With so many digits, where what follows them is a half: other languages round it to even, and not up. */
function roundedDown(value: number, digits: number): string {
  const [exact = ''] = value.toExponential(MAX_DIGITS - 1).split('e', 1);
  const all = exact.replace(/[-.]/g, '');
  return /^50*$/.test(all.slice(digits)) ? all.slice(0, digits) : '';
}

/** Without sign, point, exponent, and zeros at either end. */
function significantDigits(text: string): string {
  const [mantissa = ''] = text.split(/[eE]/, 1);
  return mantissa.replace(/[-.]/g, '').replace(/^0+/, '').replace(/0+$/, '');
}
