// Writes the JSON Schemas of the workflows' inputs into schemas/, from the code that checks them (as built: `npm run
// build` comes first).
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { migrationInputJsonSchema, portfolioInputJsonSchema } from '../packages/kafka-bridge/dist/playbook/index.js';
import { writeGenerated } from './write-generated.mjs';

const folder = join(fileURLToPath(new URL('..', import.meta.url)), 'schemas');
for (const [name, schema] of [
  ['migration-input', migrationInputJsonSchema()],
  ['portfolio-input', portfolioInputJsonSchema()],
]) {
  const target = join(folder, `${name}.schema.json`);
  const options = { ...(await resolveConfig(target)), parser: 'json' };
  await writeGenerated(target, await format(JSON.stringify(schema), options));
}
