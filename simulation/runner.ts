import './clock/globals.js';
import { register } from 'node:module';
import { plants } from './plants.js';
import type { Outcome, runSeed } from './run.js';

type RunSeed = typeof runSeed;

/** A process that runs seeds for `main.ts`: started with the name of a plant, or nothing. */

/** Seeds to run, one after the other. */
export interface Order {
  from: number;
  count: number;
}

export interface Done {
  order: Order;
  /** Those that broke an invariant. */
  broken: Outcome[];
  totals: Totals;
}

/** Sums over seeds. */
export interface Totals {
  seeds: number;
  published: number;
  acknowledged: number;
  applied: number;
  repairedLate: number;
  faults: number;
  simulatedMs: number;
  ends: Record<string, number>;
}

export function noTotals(): Totals {
  return { seeds: 0, published: 0, acknowledged: 0, applied: 0, repairedLate: 0, faults: 0, simulatedMs: 0, ends: {} };
}

export function addTotals(one: Totals, other: Totals): Totals {
  const ends = { ...one.ends };
  for (const [end, count] of Object.entries(other.ends)) ends[end] = (ends[end] ?? 0) + count;
  return {
    seeds: one.seeds + other.seeds,
    published: one.published + other.published,
    acknowledged: one.acknowledged + other.acknowledged,
    applied: one.applied + other.applied,
    repairedLate: one.repairedLate + other.repairedLate,
    faults: one.faults + other.faults,
    simulatedMs: one.simulatedMs + other.simulatedMs,
    ends,
  };
}

/** What runs a seed, with a fault planted in production code where one is named. To be called once in a process. */
export async function loadSimulation(plant: string | undefined): Promise<{ runSeed: RunSeed }> {
  if (plant !== undefined) {
    const planted = plants.find(({ name }) => name === plant);
    if (planted === undefined) throw new Error(`There is no plant ${plant}.`);
    register('./plant-loader.js', { parentURL: import.meta.url, data: planted.edits });
  }
  return await import('./run.js');
}

/** Answers orders from the parent process until it goes. */
export async function serve(plant: string | undefined): Promise<void> {
  const simulation = await loadSimulation(plant);
  process.on('message', (order: Order) => {
    runAll(simulation.runSeed, order).then(
      (done) => process.send?.(done),
      (error: unknown) => {
        throw error;
      },
    );
  });
  process.send?.('ready');
}

async function runAll(run: RunSeed, order: Order): Promise<Done> {
  const broken: Outcome[] = [];
  let totals = noTotals();
  for (let seed = order.from; seed < order.from + order.count; seed++) {
    const outcome = await run(seed);
    if (outcome.violations.length > 0) broken.push(outcome);
    totals = addTotals(totals, { ...outcome, seeds: 1, ends: { [outcome.end]: 1 } });
  }
  return { order, broken, totals };
}
