import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

const root = path.join(import.meta.dirname, '..');

/** A command that a document tells people to type, without its comment. */
export interface DocumentedCommand {
  /** Where it stands, from the root of the checkout. */
  file: string;
  text: string;
}

/** The commands of every shell block of every document, in order; one that stands in several is there once. */
export async function documentedCommands(): Promise<DocumentedCommand[]> {
  const folders = ['.', 'docs', 'packages/kafka-bridge', 'packages/owlmq-local'];
  const files = await Promise.all(
    folders.map(async (folder) => (await readdir(path.join(root, folder))).map((name) => path.join(folder, name))),
  );
  const commands: DocumentedCommand[] = [];
  for (const file of files.flat().filter((name) => name.endsWith('.md'))) {
    const text = await readFile(path.join(root, file), 'utf8');
    for (const [, block = ''] of text.matchAll(/^ *```sh\n([\s\S]*?)^ *```$/gm)) {
      commands.push(...commandsOf(block).map((command) => ({ file, text: command })));
    }
  }
  return commands.filter(({ text }, index) => commands.findIndex((first) => first.text === text) === index);
}

/** One a line, but for lines that end in the middle of a command: by a backslash, a pipe, or within quotes. */
function commandsOf(block: string): string[] {
  const commands: string[] = [];
  let begun = '';
  for (const line of block.split('\n')) {
    begun = begun === '' ? line.trim() : `${begun}\n${line.trim()}`;
    if (/[\\|]$/.test(begun) || openQuote(begun)) continue;
    const command = withoutComment(begun);
    if (command !== '') commands.push(command);
    begun = '';
  }
  return commands;
}

function openQuote(text: string): boolean {
  return (withoutComment(text).match(/'/g) ?? []).length % 2 === 1;
}

function withoutComment(text: string): string {
  return text.replace(/(^|\s)#\s.*$/, '').trim();
}
