/** Longest text that people may send, so that the state, which is handed over whole, stays small. */
const MAX_TEXT = 1_000;

/** What is wrong with those fields of an input that have to be text. */
export function textProblems(given: Record<string, unknown>, names: readonly string[]): string[] {
  return names
    .filter((name) => !isText(given[name]))
    .map((name) => `${name} must be text of 1 to ${MAX_TEXT} characters`);
}

export function isText(value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== '' && value.length <= MAX_TEXT;
}
