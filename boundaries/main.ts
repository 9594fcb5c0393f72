#!/usr/bin/env node
import { randomInt } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { positive, runProgram, untilInterrupted, whole } from '../demo/command-line.js';
import { DiskFullError, EngineStartError, EngineUnavailableError } from '../engines/errors.js';
import { makeOwnedFolder } from '../engines/process/owned-folder.js';
import type { RunResult, RunSpec } from './boundary-run.js';
import { Harness } from './harness.js';
import { killName, planKills, planRuns, unreached, type PlannedKill } from './plan.js';
import { scenarios, type Scenario } from './scenarios.js';
import { HOLDS, rowOf, tableMarkdown, tableOf, tableText, type Finding, type Row, type Table } from './table.js';

interface BoundariesCommand {
  only?: RegExp;
  seed: number;
  jobs: number;
  json?: string;
  markdown?: string;
  list: boolean;
  keep: boolean;
  killsARun: number;
}

/** What the kills so far have shown. */
type Ran = Pick<Table, 'rows' | 'findings' | 'runs'>;

const log = (line: string): void => {
  console.log(line);
};

async function boundaries(options: BoundariesCommand, signal: AbortSignal): Promise<void> {
  const { only, seed, jobs, json, markdown } = options;
  const begun = performance.now();
  const folder = await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq-boundaries');
  let found = true;
  const harness = await Harness.start({ jobs, seed, folder, log, signal });
  try {
    log(`seed ${seed}; logs of all processes: ${folder}`);
    const recordings = await record(harness);
    const all = planKills(new Map(scenarios.map((scenario) => [scenario, recordings.get(scenario)?.passed ?? []])));
    const kills = all.filter((kill) => only === undefined || only.test(killName(kill)));
    log(`${kills.length} of ${all.length} kills`);
    if (options.list) for (const kill of kills) log(killName(kill));
    const started = { seed, unreached: unreached(recordings.values()) };
    // So that a run that is cut short leaves what it has.
    const save = async (soFar: Ran): Promise<void> => {
      const table = tableOf({ ...soFar, ...started, tookMs: performance.now() - begun });
      if (json !== undefined) await writeFile(json, `${JSON.stringify(table, null, 2)}\n`);
      if (markdown !== undefined) await writeFile(markdown, tableMarkdown(table));
    };
    const ran = await runAll(harness, options.list ? [] : kills, options.killsARun, save);
    const recorded = [...recordings].flatMap(([{ name }, { problems }]) =>
      problems.length === 0 ? [] : [{ kills: [`${name}, in which nobody dies`], problems }],
    );
    const findings = [...recorded, ...ran.findings];
    const table = tableOf({ ...ran, ...started, findings, tookMs: performance.now() - begun });
    log(tableText(table));
    await save({ ...ran, findings });
    found = findings.length > 0 || table.notReached > 0;
    if (found) process.exitCode = 1;
  } finally {
    await harness.stop();
    if ((found || options.keep) && !signal.aborted) log(`Logs are kept until the next run: ${folder}`);
    else await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/**
 * Runs all kills. Those of a run that found something are run again one by one, so that it is known whose it is; so are
 * those that did not come because an earlier one had turned the run another way. What was found stays found.
 */
async function runAll(
  harness: Harness,
  kills: readonly PlannedKill[],
  most: number,
  save: (soFar: Ran) => Promise<void>,
): Promise<Ran> {
  const rows = new Map<PlannedKill, Row>();
  const findings: Finding[] = [];
  let runs = 0;
  const soFar = (): Ran => ({ rows: kills.flatMap((kill) => rows.get(kill) ?? []), findings, runs });
  const go = async (specs: readonly RunSpec[]): Promise<void> => {
    let done = 0;
    await harness.runAll(specs, async (spec, result) => {
      runs++;
      const own = kills.filter((kill) => spec.kills.includes(kill));
      log(`${++done}/${specs.length} ${result.ended}, ${result.tookMs} ms, held ${result.heldMs} ms`);
      for (const kill of own) {
        const row = rowOf(kill, result);
        rows.set(kill, row);
        log(`    ${row.verdict}: ${killName(kill)}`);
      }
      for (const problem of result.problems) log(`    ! ${problem}`);
      if (result.problems.length > 0) findings.push({ kills: own.map(killName), problems: result.problems });
      await save(soFar());
    });
  };
  const planned = planRuns(kills, most);
  await go(planned);
  const several = new Set(planned.filter((spec) => spec.kills.length > 1).flatMap((spec) => spec.kills));
  const again = kills.filter((kill) => several.has(kill) && rows.get(kill)?.verdict !== HOLDS);
  if (again.length > 0) log(`${again.length} kills again, one a run`);
  await go(again.map((kill) => ({ scenario: kill.scenario, kills: [kill] })));
  return soFar();
}

/** One run of each scenario in which nobody dies: what it passes is the list. */
async function record(harness: Harness): Promise<Map<Scenario, RunResult>> {
  const recordings = new Map<Scenario, RunResult>();
  const specs = scenarios.map((scenario) => ({ scenario, kills: [] }));
  await harness.runAll(specs, ({ scenario }, result) => {
    recordings.set(scenario, result);
    log(
      `recorded ${scenario.name}, ${scenario.title}: ${result.ended}, ${result.passed.length} passages, ${result.tookMs} ms`,
    );
    for (const problem of result.problems) log(`    ${problem}`);
  });
  return recordings;
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError(String(error));
  }
}

const signal = untilInterrupted(log);
const program = new Command('boundaries')
  .description('Migrations in which a process is killed at every step, one in each, on engines of its own.')
  .option('--only <regex>', 'only kills whose name (scenario, phase, boundary, moment, victim) matches', pattern)
  .option('--seed <n>', 'seed of messages', whole, randomInt(1_000_000))
  .option('--jobs <n>', 'runs at a time', positive, 2)
  .option('--kills-a-run <n>', 'kills of one run at the most', positive, 6)
  .option('--keep', 'keep all logs also when nothing was found', false)
  .option('--list', 'record, and show the kills that there are', false)
  .addOption(new Option('--json <file>', 'write the table to a file'))
  .addOption(new Option('--markdown <file>', 'the same for docs'))
  .action((options: BoundariesCommand) => boundaries(options, signal));

await runProgram(program, { signal, expected: [EngineUnavailableError, EngineStartError, DiskFullError], log });
