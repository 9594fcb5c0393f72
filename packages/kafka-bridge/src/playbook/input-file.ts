import { z } from 'zod';

/** What a file may say to people and editors: JSON has no comments. */
const COMMENTS = ['$schema', '$comment'];

/** All that is wrong with an input, a line each with the path of the field. */
export class InvalidInputError extends Error {
  override readonly name = 'InvalidInputError';
  constructor(readonly problems: readonly string[]) {
    super(`The input is not valid:\n${problems.map((problem) => `- ${problem}`).join('\n')}`);
  }
}

/**
 * Validates an input, without what its file says to people and editors, and fills in the defaults.
 *
 * @throws {InvalidInputError} with every problem at once.
 */
export function parseInput<T extends z.ZodType>(schema: T, input: unknown): z.output<T> {
  const parsed = schema.safeParse(withoutComments(input ?? {}));
  if (parsed.success) return parsed.data;
  throw new InvalidInputError(
    parsed.error.issues.map((issue) => {
      const path = issue.path.join('.');
      return path === '' ? issue.message : `${path}: ${issue.message}`;
    }),
  );
}

function withoutComments(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutComments);
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(([key]) => !COMMENTS.includes(key));
  return Object.fromEntries(kept.map(([key, of]) => [key, withoutComments(of)]));
}

/** The shape of an input as JSON Schema (2020-12), for editors. */
export function inputJsonSchema(of: z.ZodType, title: string): Record<string, unknown> {
  const schema = z.toJSONSchema(of, {
    io: 'input',
    override: ({ jsonSchema }) => {
      // Every object may have a comment; the whole names its schema.
      if (jsonSchema.properties !== undefined) jsonSchema.properties['$comment'] = { type: 'string' };
    },
  });
  const { properties = {} } = schema;
  properties['$schema'] = { type: 'string' };
  return { ...schema, title };
}
