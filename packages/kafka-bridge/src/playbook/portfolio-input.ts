import { z } from 'zod';
import { inputJsonSchema, parseInput } from './input-file.js';
import { migrationInputSchema } from './migration-input.js';

/** What a workflow of a portfolio carries in its input, and may not take more than a payload's 2 MB of. */
const MOST_MIGRATIONS = 1_000;

const portfolioInputSchema = z
  .strictObject({
    waves: z
      .array(
        z.strictObject({
          migrations: z
            .array(
              z.strictObject({
                id: z
                  .string()
                  .regex(/^[A-Za-z0-9._-]{1,249}$/, 'must be 1 to 249 letters, digits, ".", "_" or "-"')
                  .describe('Workflow id of the migration, and with it the name that its services are given.'),
                input: migrationInputSchema.describe('Input of migrateKafkaToOwlmq.'),
              }),
            )
            .min(1, 'name at least one migration'),
        }),
      )
      .min(1, 'name at least one wave')
      .describe('One after the other: a wave begins once every migration of those before it is far enough.'),
    limit: z
      .number()
      .int()
      .min(1)
      .max(100)
      .default(3)
      .describe('How many migrations of a wave may be under way at a time, those that are far enough not counted.'),
    until: z
      .enum(['warm', 'completed'])
      .default('warm')
      .describe('When a migration is far enough for another to begin: kept warm after its cutover, or completed.'),
  })
  .refine((input) => overlaps(input).length === 0, {
    path: ['waves'],
    error: ({ input }) => overlaps(input).join('; '),
    // Told together with whatever else is wrong.
    when: () => true,
  });

/** Input of a portfolio as a user writes it. */
export type PortfolioInput = z.input<typeof portfolioInputSchema>;

/** The same with defaults filled in and durations in ms. */
export type PortfolioPlan = z.output<typeof portfolioInputSchema>;

/** The shape of a portfolio's input as JSON Schema (2020-12), for editors. */
export function portfolioInputJsonSchema(): Record<string, unknown> {
  return inputJsonSchema(portfolioInputSchema, 'Input of migratePortfolio');
}

/**
 * Validates the input of a portfolio and of all its migrations, and fills in the defaults.
 *
 * @throws {InvalidInputError} with every problem at once.
 */
export function parsePortfolioInput(input: unknown): PortfolioPlan {
  return parseInput(portfolioInputSchema, input);
}

/** What two migrations must not share: one fleet can obey only one of them. */
function overlaps(input: unknown): string[] {
  const problems: string[] = [];
  const owners = new Map<string, string>();
  const migrations = listOf(input, 'waves').flatMap((wave) => listOf(wave, 'migrations'));
  if (migrations.length > MOST_MIGRATIONS)
    problems.push(`name ${migrations.length} migrations, not ${MOST_MIGRATIONS} or fewer`);
  const claim = (what: string, name: unknown, by: string): void => {
    if (typeof name !== 'string') return;
    const owner = owners.get(`${what} ${name}`);
    if (owner === undefined) owners.set(`${what} ${name}`, by);
    else if (what === 'id') problems.push(`two migrations have the id ${name}`);
    else if (owner !== by) problems.push(`${what} ${name} is part of ${owner} and of ${by}`);
  };
  for (const migration of migrations) {
    const id = fieldOf(migration, 'id');
    const by = typeof id === 'string' ? id : 'a migration without id';
    claim('id', id, by);
    const of = fieldOf(migration, 'input');
    for (const topic of listOf(of, 'topics')) claim('topic', topic, by);
    for (const group of listOf(of, 'groups')) claim('group', group, by);
  }
  return problems;
}

/** Of what may not be valid. */
function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function listOf(value: unknown, name: string): unknown[] {
  const list = fieldOf(value, name);
  return Array.isArray(list) ? list : [];
}
