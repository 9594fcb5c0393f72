import { CliError } from './cli-error.js';
import { EXIT } from './exit-codes.js';

/** Reads what a person gave, and keeps all that is wrong with it, so that it is told at once. */
export class Inputs {
  readonly #problems: string[] = [];

  add(problem: string): void {
    this.#problems.push(problem);
  }

  number(
    name: string,
    text: string | undefined,
    { min, max, whole = false }: { min: number; max: number; whole?: boolean },
  ): number | undefined {
    if (text === undefined) return undefined;
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (value >= min && value <= max && (!whole || Number.isInteger(value))) return value;
    this.add(`${name} must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}; "${text}" is none`);
    return undefined;
  }

  choice<T extends string>(name: string, text: string | undefined, choices: readonly T[]): T | undefined {
    const found = choices.find((choice) => choice === text);
    if (text !== undefined && found === undefined) {
      this.add(`${name} must be one of ${choices.join(', ')}; "${text}" is none of them`);
    }
    return found;
  }

  /** Whether a flag is on that a variable may give, too: "true", or "false" and nothing. */
  on(name: string, text: string | undefined): boolean {
    return this.choice(name, text === '' ? undefined : text, ['true', 'false']) === 'true';
  }

  list(text: string | undefined): string[] {
    const items = (text ?? '').split(',').map((item) => item.trim());
    return [...new Set(items.filter((item) => item !== ''))];
  }

  /** @throws {CliError} with everything that is wrong. */
  settle(): void {
    if (this.#problems.length === 0) return;
    const lines = this.#problems.map((problem) => `  - ${problem}`);
    throw new CliError(EXIT.input, ['Nothing was done, since this must be put right first:', ...lines].join('\n'));
  }
}
