// Writes schemas/migration-input.schema.json, the JSON Schema of the workflow's input, from the code that checks it (as
// built: `npm run build` comes first).
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { migrationInputJsonSchema } from '../packages/kafka-bridge/dist/playbook/index.js';
import { writeGenerated } from './write-generated.mjs';

const target = join(fileURLToPath(new URL('..', import.meta.url)), 'schemas/migration-input.schema.json');
const options = { ...(await resolveConfig(target)), parser: 'json' };
await writeGenerated(target, await format(JSON.stringify(migrationInputJsonSchema()), options));
