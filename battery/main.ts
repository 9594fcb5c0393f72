#!/usr/bin/env node
import { randomInt } from 'node:crypto';
import { Command } from 'commander';
import { positive, runProgram, untilInterrupted, whole } from '../demo/command-line.js';
import { DiskFullError, EngineStartError, EngineUnavailableError } from '../engines/errors.js';
import { runIdentical } from './identical-run.js';
import { runKills } from './kill-run.js';
import { runMutations, type MutationOutcome } from './mutation-run.js';
import { BatteryError } from './rig.js';

const log = (line: string): void => {
  console.error(line);
};
const signal = untilInterrupted(log);

function row(...cells: (string | number)[]): void {
  console.log(`| ${cells.join(' | ')} |`);
}

function verdict(ok: boolean): void {
  console.log(`\n${ok ? 'ok' : 'NOT OK'}`);
  if (!ok) process.exitCode = 1;
}

async function showMutations({ lateness, rate }: { lateness: number; rate: number }): Promise<void> {
  const { found, equivalent, ok } = await runMutations({ latenessMs: lateness * 1_000, rate, signal, log });
  row('mutation', 'what', 'found after', 'verdict', 'fields');
  row('---', '---', '---', '---', '---');
  const show = ({ mutation, foundAfterMs, verdict: told = '', fields = [], compared }: MutationOutcome): void => {
    const after = foundAfterMs === undefined ? `not in ${compared}` : `${Math.round(foundAfterMs)} ms`;
    row(mutation.name, mutation.what, after, told, fields.join(' '));
  };
  found.forEach(show);
  equivalent.forEach(show);
  const times = found.map(({ foundAfterMs }) => foundAfterMs ?? Infinity).sort((a, b) => a - b);
  const [median, last] = [times[Math.floor(times.length / 2)] ?? 0, times.at(-1) ?? 0];
  console.log(
    `\n${found.length} mutations, lateness ${lateness} s: median ${Math.round(median)} ms, longest ${Math.round(last)} ms`,
  );
  verdict(ok);
}

async function showIdentical({ messages }: { messages: number }): Promise<void> {
  const { counts, seconds, ok } = await runIdentical({ messages, signal, log });
  row('messages', ...Object.keys(counts), 'seconds');
  row('---', ...Object.keys(counts).map(() => '---'), '---');
  row(messages, ...Object.values(counts), Math.round(seconds));
  verdict(ok);
}

async function showKills(options: { minutes: number; rate: number; seed: number }): Promise<void> {
  log(`seed ${options.seed}`);
  const { expected, counted, kills, published, ok } = await runKills({ ...options, signal, log });
  row('verdict', 'expected', 'counted');
  row('---', '---', '---');
  for (const name of Object.keys(expected) as (keyof typeof expected)[]) row(name, expected[name], counted[name]);
  const killed = Object.entries(kills).map(([name, count]) => `${count} of the ${name}`);
  console.log(`\n${published} messages; SIGKILLs: ${killed.join(', ')}; redeliveries ${counted.duplicates}`);
  verdict(ok);
}

const program = new Command('battery').description(
  'Shadows and their comparison on engines of its own: are faults found, is nothing found where there is none, and does it hold under kill -9?',
);
program
  .command('mutations')
  .description('Handlers with planted faults as shadows of the right one, all at once: how soon is each found?')
  .option('--lateness <seconds>', 'lateness bound of the comparison', positive, 5)
  .option('--rate <n>', 'orders a second', positive, 100)
  .action(showMutations);
program
  .command('identical')
  .description('The same handler on both sides: is anything found?')
  .option('--messages <n>', 'how many', positive, 1_000_000)
  .action(showIdentical);
program
  .command('kills')
  .description('Consumers and the comparator under SIGKILL: do the counts match what was published?')
  .option('--minutes <n>', 'how long', positive, 3)
  .option('--rate <n>', 'orders a second', positive, 300)
  .option('--seed <n>', 'seed of who is killed when', whole, randomInt(1_000_000))
  .action(showKills);

const expected = [EngineUnavailableError, EngineStartError, DiskFullError, BatteryError];
await runProgram(program, { signal, expected, log });
