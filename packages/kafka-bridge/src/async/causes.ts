const DEEPEST = 8;

/** An error with everything below it, from the top: causes, and what was aggregated. */
export function* withCauses(error: unknown, depth = 0): Generator<Error> {
  if (!(error instanceof Error) || depth > DEEPEST) return;
  yield error;
  yield* withCauses(error.cause, depth + 1);
  if (error instanceof AggregateError) for (const one of error.errors) yield* withCauses(one, depth + 1);
}

/** The messages at the bottom of an error, which are those that say something; each once. */
export function rootMessages(error: unknown): string[] {
  const bottom = [...withCauses(error)].filter((one) => [...withCauses(one)].length === 1);
  return [...new Set(bottom.map(({ message, name }) => (message === '' ? name : message)))];
}
