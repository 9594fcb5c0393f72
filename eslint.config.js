import importX from 'eslint-plugin-import-x';
import { createTypeScriptImportResolver } from 'eslint-import-resolver-typescript';
import tseslint from 'typescript-eslint';

/** Node's built-ins do not exist in the workflow sandbox. */
const nodeBuiltins = {
  group: ['node:*'],
  message: 'Workflow code runs in a sandbox without Node; do this in an activity.',
};

/** Rooms and what they may know of; see docs/architecture.md. */
function layer(files, patterns) {
  return { files, rules: { '@typescript-eslint/no-restricted-imports': ['error', { patterns }] } };
}

export default tseslint.config(
  { ignores: ['**/dist/**', 'node_modules/**', '.engines/**', 'packages/kafka-bridge/src/contract/owlmq.gen.ts'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    plugins: { 'import-x': importX },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    settings: { 'import-x/resolver-next': [createTypeScriptImportResolver()] },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': ['error', { ignoreVoid: false }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
      'import-x/no-cycle': ['error', { ignoreExternal: true }],
      'no-console': 'error',
    },
  },
  layer(
    ['src/workflows/**/*.ts'],
    [
      nodeBuiltins,
      {
        group: ['**/activities/**'],
        allowTypeImports: true,
        message: 'Import only types of activities: their values drag Kafka clients into the sandbox.',
      },
      {
        regex: '^@owlmq/(?!kafka-bridge/playbook$)',
        allowTypeImports: true,
        message: 'The bridge talks to real systems; workflows decide, activities act.',
      },
    ],
  ),
  layer(
    ['packages/kafka-bridge/**/*.ts'],
    [
      {
        group: ['@temporalio/*', '**/src/workflows/**', '**/src/activities/**'],
        message: 'A service that publishes must not install Temporal.',
      },
    ],
  ),
  layer(
    ['packages/kafka-bridge/src/playbook/**/*.ts'],
    [nodeBuiltins, { group: ['../*'], message: 'Workflow code takes the playbook with it: it must stay pure.' }],
  ),
  layer(
    ['packages/owlmq-local/src/**/*.ts'],
    [
      {
        regex: '^(@temporalio/.*|@owlmq/kafka-bridge(/operations)?)$',
        message: 'owlmq-local knows the contract and nothing else: import @owlmq/kafka-bridge/contract.',
      },
    ],
  ),
  layer(
    ['page/**/*.ts'],
    [
      nodeBuiltins,
      { regex: '^@owlmq/', allowTypeImports: true, message: 'A browser is given the files of this folder alone.' },
    ],
  ),
  layer(
    ['engines/**/*.ts'],
    [{ group: ['**/src/**', '@owlmq/*'], message: 'Engines know nothing of what runs on them.' }],
  ),
  {
    files: [
      'demo/**/*.ts',
      'engines/cli.ts',
      'battery/**/*.ts',
      'bench/**/*.ts',
      'boundaries/**/*.ts',
      'chaos/**/*.ts',
      'simulation/main.ts',
      'rehearsal/{main,evidence,replay}.ts',
      '**/cli.ts',
      '**/cli/**/*.ts',
    ],
    rules: { 'no-console': 'off' },
  },
  // Figures that a test measures, for the record.
  { files: ['**/test/**/*.ts'], rules: { 'no-console': ['error', { allow: ['info'] }] } },
  { files: ['**/*.js', '**/*.mjs'], extends: [tseslint.configs.disableTypeChecked] },
);
