import { childPointer, httpMember } from '@owlmq/kafka-bridge/operations';
import { z } from 'zod';
import { ProblemError, type RequestProblem } from './problem.js';

const MAX_NAME = 500;

/** Non-negative and exact as a double. */
export const wholeNumber = z.number().int().nonnegative();
export const nameSchema = z.string().min(1).max(MAX_NAME);
/** `TOPIC/PARTITION`. */
export const partitionName = z.string().regex(/^.+\/(0|[1-9]\d{0,8})$/su, 'must be TOPIC/PARTITION');

const pathSchema = z.object({
  migration: nameSchema,
  instance: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,200}$/, 'must be 1 to 200 letters, digits, dots, hyphens and underscores')
    .optional(),
});

/**
 * The names in a path.
 *
 * @throws {ProblemError} `invalid-request`
 */
export function readPath(params: unknown): { migration: string; member: string } {
  const { migration, instance = '' } = checked(pathSchema, params, 'The path names something that cannot be.');
  return { migration, member: httpMember(instance) };
}

/**
 * What a schema makes of a value.
 *
 * @throws {ProblemError} `invalid-request`, with everything that is wrong.
 */
export function checked<T>(schema: z.ZodType<T>, value: unknown, detail: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ProblemError('invalid-request', detail, parsed.error.issues.map(asRequestProblem));
}

/** A problem that a schema has found, as it is told. */
export function asRequestProblem({ path, message }: z.core.$ZodIssue): RequestProblem {
  return { at: pointerOf(path), problem: message };
}

/** The JSON pointer of a path. */
export function pointerOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((pointer, token) => childPointer(pointer, String(token)), '');
}
