// Writes packages/kafka-bridge/src/contract/owlmq.gen.ts from openapi/owlmq.yaml: the types of the contract, and the
// JSON schemas that a server checks request bodies with.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import openapiTS, { astToString } from 'openapi-typescript';
import { format, resolveConfig } from 'prettier';
import { writeGenerated } from './write-generated.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'openapi/owlmq.yaml');
const target = join(root, 'packages/kafka-bridge/src/contract/owlmq.gen.ts');
const redocly = join(root, 'node_modules/@redocly/cli/bin/cli.js');

/** Schemas of JSON request bodies and of what a request names in its path. */
const requestSchemas = [
  'TopicName',
  'GroupName',
  'MemberId',
  'Offset',
  'CreateTopic',
  'Lookup',
  'GroupOffsets',
  'Join',
  'Heartbeat',
  'Fetch',
  'Commit',
];

/** The contract as JSON with every reference resolved. */
async function dereferenced() {
  const folder = await mkdtemp(join(tmpdir(), 'owlmq-contract-'));
  try {
    const output = join(folder, 'owlmq.json');
    await promisify(execFile)(process.execPath, [redocly, 'bundle', source, '--dereferenced', '--output', output], {
      cwd: root,
      env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
    });
    return JSON.parse(await readFile(output, 'utf8'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

// Shapes only: paths and operations are for clients that are generated, and nothing here is.
const declarations = await openapiTS(new URL(`file://${source}`), { defaultNonNullable: false });
const types = astToString(declarations.filter((declaration) => declaration.name?.text === 'components'));
const { components } = await dereferenced();
const schemas = Object.fromEntries(requestSchemas.map((name) => [name, components.schemas[name]]));
const text = await format(
  `// Generated from openapi/owlmq.yaml by scripts/generate-contract-types.mjs. Do not edit.\n\n${types}\n` +
    `/** JSON schemas of what requests carry, with references resolved. */\nexport const requestSchemas = ${JSON.stringify(schemas)} as const;\n`,
  { ...(await resolveConfig(target)), parser: 'typescript' },
);

await writeGenerated(target, text);
