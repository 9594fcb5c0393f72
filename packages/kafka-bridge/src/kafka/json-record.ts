import type { z } from 'zod';

/** Reads the JSON of a record by its schema; undefined when it is none, or of a later version. */
export function parseJsonRecord<T>(schema: z.ZodType<T>, value: Buffer | null): T | undefined {
  if (value === null) return undefined;
  try {
    return schema.safeParse(JSON.parse(value.toString())).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
