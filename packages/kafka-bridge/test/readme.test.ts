import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const folder = resolve(import.meta.dirname, '..');

/** The TypeScript of a document, each with the line where it begins. */
function snippets(markdown: string): { line: number; code: string }[] {
  return [...markdown.matchAll(/^```ts\n(.*?)^```$/gms)].map(({ index, 1: code = '' }) => ({
    line: markdown.slice(0, index).split('\n').length + 1,
    code,
  }));
}

/** What the compiler says of texts as if they were modules in a folder, at their lines of a document. */
function problems(parts: readonly { line: number; code: string }[]): string[] {
  const config = join(folder, '..', '..', 'tsconfig.base.json');
  const { options, errors } = ts.convertCompilerOptionsFromJson(
    (ts.readConfigFile(config, (name) => ts.sys.readFile(name)).config as { compilerOptions: unknown }).compilerOptions,
    dirname(config),
  );
  expect(errors).toEqual([]);
  const texts = new Map(parts.map(({ line, code }) => [join(folder, `readme-${line}.ts`), { line, code }]));
  const host = ts.createCompilerHost(options);
  host.fileExists = (name) => texts.has(name) || ts.sys.fileExists(name);
  host.readFile = (name) => texts.get(name)?.code ?? ts.sys.readFile(name);
  const program = ts.createProgram([...texts.keys()], { ...options, noEmit: true, noUnusedLocals: false }, host);
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
    const from = texts.get(file?.fileName ?? '')?.line ?? 0;
    const line = from + (file?.getLineAndCharacterOfPosition(start).line ?? 0);
    return `line ${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

describe('README', () => {
  it('has TypeScript that compiles against the built package', async () => {
    const found = snippets(await readFile(join(folder, 'README.md'), 'utf8'));
    expect(found.length).toBeGreaterThanOrEqual(4);
    expect(problems(found)).toEqual([]);
  });

  it('would be found out', () => {
    const code = `import { DualPublisher } from '@owlmq/kafka-bridge';\nnew DualPublisher({ brokers: 'kafka:9092' });\n`;
    expect(problems([{ line: 7, code }])).toEqual([expect.stringMatching(/^line 8: .*brokers/s)]);
  });

  it('names every error with its code', async () => {
    const readme = await readFile(join(folder, 'README.md'), 'utf8');
    const source = await readFile(join(folder, 'src', 'publisher', 'publisher-errors.ts'), 'utf8');
    const codes = [...source.matchAll(/readonly code = '(.*)'/g)].map(([, code]) => code);
    expect(codes.length).toBeGreaterThan(8);
    for (const code of [...codes, 'routing-unavailable', 'kafka-connect'])
      expect(readme).toContain(`\`${code ?? ''}\``);
  });
});
