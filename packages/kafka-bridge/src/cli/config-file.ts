import { readFileSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { CliError } from './cli-error.js';
import type { CliIo } from './cli-io.js';
import { EXIT } from './exit-codes.js';
import { didYouMean } from './near-names.js';

/** Long names of flags whose value nobody should read. */
const SECRETS = ['owlmq-api-key'];

/** What is wrong with the file, by the command that runs; told with everything else that is wrong with the input. */
const problemsOf = new WeakMap<Command, string[]>();

/**
 * Lets every command below take flags from a file: `--config FILE`, YAML or JSON, keys are the flags' long names. A flag
 * on the command line goes first, then the environment, then the file. `${NAME}` stands for a variable.
 *
 * Only flags that have a variable may be in it: the others say what is changed in a live system, which is to be seen on
 * the command line.
 */
export function withConfigFile(program: Command, io: CliIo): Command {
  const flag = new Option('--config <file>', 'flags by their long names, YAML or JSON; ${NAME} is a variable');
  return program.addOption(flag.env('KAFKA_BRIDGE_CONFIG')).hook('preAction', async (_, command) => {
    const { config } = program.opts<{ config?: string }>();
    if (config !== undefined && config !== '') await apply(config, program, command, io);
  });
}

/** What was wrong with the file for this command; told once. */
export function takeConfigProblems(command: Command): string[] {
  const problems = problemsOf.get(command) ?? [];
  problemsOf.delete(command);
  return problems;
}

async function apply(file: string, program: Command, command: Command, io: CliIo): Promise<void> {
  const problems: string[] = [];
  const known = new Set(program.commands.flatMap(flagsBelow));
  for (const [key, value] of Object.entries(await read(file))) {
    const option = command.options.find(({ long }) => long === `--${key}`);
    if (option === undefined) {
      // One file may serve several commands.
      if (!known.has(key)) problems.push(`${file}: there is no flag --${key}.${didYouMean(key, [...known])}`);
      continue;
    }
    if (option.envVar === undefined) {
      problems.push(`${file}: ${commandPath(command)} takes --${key} from the command line alone`);
      continue;
    }
    const literal = typeof value === 'string' && !value.includes('${');
    if (SECRETS.includes(key) && literal) {
      io.err(
        `Warning: ${file} holds a secret, ${key}, as it is: whoever reads the file has it. Write \${${option.envVar}} in its place, or ${key}-file.\n`,
      );
    }
    const taken = textOf(value, (problem) => problems.push(`${file}: ${key} ${problem}`));
    if (taken === undefined) continue;
    const given = command.getOptionValueSource(option.attributeName());
    if (given !== undefined && given !== 'default') continue;
    const text = taken.join(',');
    command.setOptionValueWithSource(option.attributeName(), option.variadic ? taken : text, 'config');
  }
  problemsOf.set(command, problems);
}

/** @throws {CliError} when the file has no keys and values: then nothing else can be told of the input. */
async function read(file: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new CliError(EXIT.input, `--config: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const { LineCounter, parseDocument } = await import('yaml');
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    // Its message may show a part of the file, and so a secret.
    throw new CliError(EXIT.input, `--config: ${file} is no YAML at line ${line}, column ${col} (${error.code}).`);
  }
  let value: unknown;
  try {
    value = document.toJS();
  } catch (thrown) {
    // Likewise: it is of aliases, and names them.
    throw new CliError(
      EXIT.input,
      `--config: ${file} has aliases that name nothing, or too many. Write texts with * in quotes.`,
      { cause: thrown },
    );
  }
  if (value === null || value === undefined) return {};
  if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new CliError(
    EXIT.input,
    `--config: ${file} must have flags by their names, as in "kafka-brokers: kafka:9092".`,
  );
}

/** A value as it would be given on the command line, in parts. */
function textOf(value: unknown, tell: (problem: string) => void): string[] | undefined {
  const parts = Array.isArray(value) ? (value as unknown[]) : [value];
  const texts: string[] = [];
  const unset: string[] = [];
  for (const part of parts) {
    if (typeof part !== 'string' && typeof part !== 'number' && typeof part !== 'boolean') {
      tell('must be a text, a number, true or false, or a list of them');
      return undefined;
    }
    texts.push(
      String(part).replace(/\$\{([^}]*)\}/g, (_, name: string) => {
        const set = /^[A-Za-z_]\w*$/.test(name) ? process.env[name] : undefined;
        if (set !== undefined && set !== '') return set;
        unset.push(name);
        return '';
      }),
    );
  }
  for (const name of unset) tell(`needs the variable ${name}, which is not set`);
  return unset.length === 0 ? texts : undefined;
}

function flagsBelow(command: Command): string[] {
  const own = command.options.flatMap(({ long }) => (long === undefined ? [] : [long.slice(2)]));
  return [...own, ...command.commands.flatMap(flagsBelow)];
}

function commandPath(command: Command): string {
  return command.parent === null ? command.name() : `${commandPath(command.parent)} ${command.name()}`;
}
