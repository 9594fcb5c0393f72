import './clock/globals.js';
import { fork, type ChildProcess } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { wallClock } from './clock/globals.js';
import { plants } from './plants.js';
import { addTotals, loadSimulation, noTotals, serve, type Done, type Order, type Totals } from './runner.js';
import type { Outcome } from './run.js';

/** Seeds that a process takes at a time. */
const CHUNK = 50;
const PROGRESS_EVERY_MS = 10_000;

interface Options {
  seeds: number;
  seed: number;
  plant?: string;
  trace?: true;
  processes: number;
  untilFound?: true;
  runner?: true;
}

const program = new Command('simulate')
  .description('Runs the protocol on a simulated network and clock, seed after seed, and judges every run.')
  .option('--seeds <count>', 'how many seeds', wholeNumber, 100_000)
  .option('--seed <number>', 'the first seed', wholeNumber, 1)
  .option('--plant <name>', `a fault to plant in production code: ${plants.map(({ name }) => name).join(', ')}`)
  .option('--until-found', 'end with the first seed that breaks an invariant')
  .option('--trace', 'run one seed and tell what happens')
  .option('--processes <count>', 'processes side by side', wholeNumber, availableParallelism())
  .option('--runner', 'run seeds for another process')
  .parse();

const options = program.opts<Options>();
if (options.runner === true) await serve(options.plant);
else if (options.trace === true) process.exitCode = await trace(options);
else process.exitCode = await simulate(options);

/** One seed, told line by line. */
async function trace({ seed, plant }: Options): Promise<number> {
  const { runSeed } = await loadSimulation(plant);
  const outcome = await runSeed(seed, {
    trace: (line) => {
      console.log(line);
    },
  });
  console.log(outcome);
  return outcome.violations.length === 0 ? 0 : 1;
}

async function simulate({ seeds, seed, plant, processes, untilFound }: Options): Promise<number> {
  const begun = wallClock();
  const end = seed + seeds;
  let next = seed;
  let totals = noTotals();
  const broken: Outcome[] = [];
  let toldAt = begun;
  const chunk = untilFound === true ? 10 : CHUNK;
  const order = (): Order | undefined => {
    if (next >= end || (untilFound === true && broken.length > 0)) return undefined;
    const from = next;
    next = Math.min(end, next + chunk);
    return { from, count: next - from };
  };
  const take = (done: Done): void => {
    totals = addTotals(totals, done.totals);
    broken.push(...done.broken);
    if (untilFound !== true) for (const outcome of done.broken) tell(outcome, plant);
    if (wallClock() - toldAt < PROGRESS_EVERY_MS) return;
    toldAt = wallClock();
    console.log(`${totals.seeds} of ${seeds} seeds, ${broken.length} broken, ${rate(totals, begun)} a second`);
  };
  const running = Math.max(1, Math.min(processes, Math.ceil(seeds / chunk)));
  await Promise.all(Array.from({ length: running }, () => work(plant, order, take)));
  broken.sort((one, other) => one.seed - other.seed);
  const [first] = broken;
  if (untilFound === true && first !== undefined) tell(first, plant);
  summarise(totals, broken.length, begun);
  return broken.length === 0 ? 0 : 1;
}

/** Has a process of its own run seeds until there are no more. */
async function work(
  plant: string | undefined,
  order: () => Order | undefined,
  take: (done: Done) => void,
): Promise<void> {
  const args = ['--runner', ...(plant === undefined ? [] : ['--plant', plant])];
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), args);
  await new Promise<void>((resolve, reject) => {
    child.on('message', (message: Done | 'ready') => {
      if (message !== 'ready') take(message);
      const following = order();
      if (following === undefined) child.disconnect();
      else child.send(following);
    });
    child.on('exit', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`A process that ran seeds ended with ${code ?? 'a signal'}.`));
    });
  });
}

function tell({ seed, violations }: Outcome, plant: string | undefined): void {
  const again = `npm run simulate -- --seed ${seed}${plant === undefined ? '' : ` --plant ${plant}`} --trace`;
  console.log(`seed ${seed}: ${violations.slice(0, 3).join('\n    ')}\n    ${again}`);
}

function summarise(totals: Totals, broken: number, begun: number): void {
  const { seeds, published, acknowledged, applied, repairedLate, faults, simulatedMs, ends } = totals;
  const words = Object.entries(ends)
    .sort(([, one], [, other]) => other - one)
    .map(([end, count]) => `${end} ${count}`);
  console.log(
    [
      `${seeds} seeds in ${Math.round((wallClock() - begun) / 1_000)} s, ${rate(totals, begun)} a second: ${broken} broken`,
      `${published} messages published, ${acknowledged} acknowledged, ${applied} applied, ${repairedLate} of them out of order behind a repair (known weakness 5); ${faults} faults; ${(simulatedMs / 3_600_000).toFixed(1)} simulated hours`,
      `ended: ${words.join(', ')}`,
    ].join('\n'),
  );
}

function rate({ seeds }: Totals, begun: number): string {
  return ((1_000 * seeds) / (wallClock() - begun)).toFixed(1);
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`${text} is not a whole number from 1.`);
  return value;
}
